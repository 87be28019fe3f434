"""The gradient ledger: what comes into every block, where it goes, what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.ledger.result import Ledger, LedgerRow
from npresnet.lens.shared.passes import (
    Progress,
    Visit,
    describe,
    dot,
    forward_pass,
    has_shortcut,
    norm,
    relative_error,
)
from npresnet.nn import Module, replaying, watching

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def ledger(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    progress: Progress | None = None,
) -> Ledger:
    """Follow the gradient through every residual block, and keep the books.

    At each block the gradient with respect to the output meets the ReLU after the
    addition, which stops it where it is closed. What passes goes both ways; what comes
    out of the shortcut and of the branch adds up to what the block hands on::

        grad_sum   = grad_output * (output > 0)
        grad_input = shortcut_backward(grad_sum) + branch_backward(grad_sum)

    Parameters
    ----------
    model : Module
        A network with residual or plain blocks, in the mode it is to be looked at in.
        It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    y : ndarray of int of shape (N,)
        Labels.
    progress : callable, optional
        Called with the blocks that are done and that there are.

    Returns
    -------
    Ledger
        With ``.rows``, and ``.plot()``: the gradient as a river.

    Raises
    ------
    TypeError, ValueError
        If the model has no residual blocks, or the batch does not suit it.

    Notes
    -----
    The loss is the mean cross entropy, so norms do not grow with the batch, but
    those of different batch sizes are not the same quantity. Blocks of different
    shapes have different numbers of elements under their norms.

    References
    ----------
    He et al., arXiv 1512.03385, section 3.2; He et al., arXiv 1603.05027, section 2
    (equation 5: the two terms of the gradient).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((4, 3, 8, 8), dtype=np.float32)
    >>> book = ledger(nr.models.resnet8(), x, np.array([0, 1, 2, 3]))
    >>> [row.name for row in book.rows]
    ['layer1.0', 'layer2.0', 'layer3.0']
    >>> max(row.identity_error for row in book.rows) < 1e-6
    True
    """
    with forward_pass(model, x, y) as step:
        calls: dict[Module, list[Visit]] = {}
        for visit in step.visits:
            calls.setdefault(visit.block, []).append(visit)
        passed: list[tuple[Module, Array, Array]] = []  # block, grad_output, grad_input

        def note(module: Module, grad_outputs: Any, grad_inputs: Any) -> None:
            if module in calls:
                passed.append((module, grad_outputs[0], grad_inputs[0]))

        with replaying(model), watching(backward=note):
            grad_images = model.backward(step.grad_logits)
        # The caches are back. Each block goes backward once more, in parts, and takes
        # its caches: below them lie those of the call before, if it was called twice.
        rows: list[LedgerRow] = []
        with replaying(model):
            for block, grad_output, grad_input in passed:
                rows.append(_row(calls[block].pop(), grad_output, grad_input))
                if progress is not None:
                    progress(len(rows), len(step.visits))
    return Ledger(
        tuple(reversed(rows)),
        describe(model),
        len(x),
        model.training,
        step.loss,
        norm(step.grad_logits),
        norm(grad_images),
    )


def _row(visit: Visit, grad_output: Array, grad_input: Array) -> LedgerRow:
    """Go backward through a block's parts, and hold their sum against the block's."""
    name, block, output = visit
    grad_sum = block.relu.backward(grad_output)
    total = grad_branch = block.branch_backward(grad_sum)
    grad_shortcut = None
    if has_shortcut(block):
        grad_shortcut = block.shortcut_backward(grad_sum)
        total = grad_branch + grad_shortcut
    incoming, passed = norm(grad_output), norm(grad_sum)
    return LedgerRow(
        name,
        incoming,
        1 - np.count_nonzero(output) / output.size,
        1 - passed / incoming if incoming else 0.0,
        passed,
        None if grad_shortcut is None else norm(grad_shortcut),
        norm(grad_branch),
        _cosine(grad_shortcut, grad_branch),
        norm(grad_input),
        relative_error(grad_input, total),
    )


def _cosine(one: Array | None, other: Array) -> float | None:
    if one is None:
        return None
    sizes = norm(one) * norm(other)
    return dot(one, other) / sizes if sizes else None
