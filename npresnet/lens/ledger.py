"""The gradient ledger: what comes into every block, where it goes, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.passes import (
    Progress,
    Visit,
    batch_note,
    describe,
    dot,
    forward_pass,
    has_shortcut,
    norm,
    relative_error,
)
from npresnet.lens.result import Result, column
from npresnet.nn import Gradient, Module, replaying

if TYPE_CHECKING:
    from npresnet.plots import Course
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LedgerRow:
    """The books of one block; every norm is Euclidean, over the whole batch.

    Attributes
    ----------
    name : str
        Path in the model, as in ``layer1.0``.
    grad_output_norm : float
        Of the gradient by the block's output, which comes from above.
    masked_fraction : float
        Share of the elements at which the ReLU after the addition is closed.
    stopped_share : float
        Share of the norm that this ReLU takes away:
        ``1 - grad_sum_norm / grad_output_norm``; 0 where nothing came.
    grad_sum_norm : float
        Of the gradient by the sum, which goes both ways.
    grad_shortcut_norm : float or None
        Of what comes out of the shortcut; None in a plain block.
    grad_branch_norm : float
        Of what comes out of the branch.
    cosine : float or None
        Of the angle between the two; None in a plain block, or where one is zero.
    grad_input_norm : float
        Of what the block hands on.
    identity_error : float
        ``grad_input - (grad_shortcut + grad_branch)``, relative to the sum. The two
        were computed one by one and `grad_input` by the block itself: 0, or a few
        roundings, says that its backward pass adds what a fork has to add.
    """

    name: str = column("block")
    grad_output_norm: float = column("|grad_output|", ".3e")
    masked_fraction: float = column("masked", ".1%")
    stopped_share: float = column("stopped", ".1%")
    grad_sum_norm: float = column("|grad_sum|", ".3e")
    grad_shortcut_norm: float | None = column("|grad_shortcut|", ".3e")
    grad_branch_norm: float = column("|grad_branch|", ".3e")
    cosine: float | None = column("cosine", ".3f")
    grad_input_norm: float = column("|grad_input|", ".3e")
    identity_error: float = column("identity error", ".1e")


@dataclass(frozen=True, repr=False)
class Ledger(Result):
    """The gradient's way from the loss to the images, block by block.

    Attributes
    ----------
    rows : tuple of LedgerRow
        From the first block to the last, as the forward pass meets them.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    loss : float
        Mean cross entropy, in nats.
    grad_logits_norm, grad_images_norm : float
        Where the gradient begins, and where it ends.
    """

    rows: tuple[LedgerRow, ...]
    network: str
    images: int
    training: bool
    loss: float
    grad_logits_norm: float
    grad_images_norm: float

    def summary(self) -> str:
        """Say where the gradient begins and ends, and what the rows rest on."""
        first, last = self.rows[0], self.rows[-1]
        growth = ""
        if last.grad_output_norm:
            factor = first.grad_input_norm / last.grad_output_norm
            growth = f"; through the blocks x{factor:.3g}"
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: loss "
            f"{self.loss:.4f} nats\n"
            f"norms: by the logits {self.grad_logits_norm:.3e}, by the images "
            f"{self.grad_images_norm:.3e}{growth}"
        )

    def plot(
        self,
        beside: Ledger | Sequence[Ledger] = (),
        scale: Literal["linear", "log"] | None = None,
    ) -> Figure:
        """Draw the gradient as a river.

        Parameters
        ----------
        beside : Ledger or sequence of Ledger
            Others to draw to the right of this one, on the same scale: that of the
            plain twin, for instance.
        scale : {"linear", "log"}, optional
            Of the widths; chosen by the range of the norms where it is not given.
        """
        from npresnet.plots import river

        others = [beside] if isinstance(beside, Ledger) else beside
        ledgers = [self, *others]
        notes = {batch_note(one.images, one.training) for one in ledgers}
        note = f"Measured on {notes.pop()}." if len(notes) == 1 else ""
        return river([one._course() for one in ledgers], scale, note)

    def _course(self) -> Course:
        from npresnet.plots import Course

        rows = self.rows
        return Course(
            self.network,
            [row.name for row in rows],
            [row.grad_output_norm for row in rows],
            [row.grad_sum_norm for row in rows],
            [row.grad_shortcut_norm for row in rows],
            [row.grad_branch_norm for row in rows],
            [row.grad_input_norm for row in rows],
            self.grad_logits_norm,
            self.grad_images_norm,
        )


def ledger(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    progress: Progress | None = None,
) -> Ledger:
    """Follow the gradient through every residual block, and keep the books.

    At each block the gradient by the output meets the ReLU after the addition, which
    stops it where it is closed. What passes goes both ways; what comes out of the
    shortcut and of the branch adds up to what the block hands on::

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
    rows: list[LedgerRow] = []
    with forward_pass(model, x, y) as step:
        blocks = len(step.visits)

        def note(row: LedgerRow) -> None:
            rows.append(row)
            if progress is not None:
                progress(len(rows), blocks)

        for visit in step.visits:
            visit.block.backward = _audited(visit, note)  # type: ignore[method-assign]
        grad_images = model.backward(step.grad_logits)
    return Ledger(
        tuple(reversed(rows)),
        describe(model),
        len(x),
        model.training,
        step.loss,
        norm(step.grad_logits),
        norm(grad_images),
    )


def _audited(
    visit: Visit, note: Callable[[LedgerRow], None]
) -> Callable[..., Gradient]:
    """Return the block's own backward pass, which notes a row as well."""
    name, block, output = visit
    own_backward = block.backward

    def backward(grad_output: Array, input_grad: bool = True) -> Gradient:
        grad_shortcut = None
        with replaying(block):
            grad_sum = block.relu.backward(grad_output)
            total = grad_branch = block.branch_backward(grad_sum)
            if has_shortcut(block):
                grad_shortcut = block.shortcut_backward(grad_sum)
                total = grad_branch + grad_shortcut
        grad_input = own_backward(grad_output)
        incoming, passed = norm(grad_output), norm(grad_sum)
        note(
            LedgerRow(
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
        )
        return grad_input

    return backward


def _cosine(one: Array | None, other: Array) -> float | None:
    if one is None:
        return None
    sizes = norm(one) * norm(other)
    return dot(one, other) / sizes if sizes else None
