"""The path-length spectrum: the gradient, split by how many branches it crossed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import (
    Progress,
    Step,
    describe,
    dot,
    forward_pass,
    has_shortcut,
    norm,
    relative_error,
)
from npresnet.lens.shared.stand_ins import exchange
from npresnet.lens.spectrum.result import Spectrum, SpectrumRow
from npresnet.models import ResidualBlock
from npresnet.nn import Gradient, Module, replaying, watching

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def spectrum(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    progress: Progress | None = None,
) -> Spectrum:
    """Split the images' gradient by the number of branches that it crossed.

    A network of L residual blocks has 2**L paths from the loss to the images: at each
    block along the shortcut or through the branch. Once the forward pass is done,
    the backward pass is linear in the gradient that comes in, so the gradient is
    exactly the sum over all paths. Paths of equal length are carried together: with
    ``m[k]`` the part that has crossed k branches, behind the block's ReLU, ::

        new[k]     += shortcut_backward(m[k])
        new[k + 1] += branch_backward(m[k])

    at each block from the last to the first. Then all parts go through the layers
    before the first block.

    Parameters
    ----------
    model : Module
        A network whose residual (or plain) blocks follow one another directly, in
        the mode it is to be looked at in. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    y : ndarray of int of shape (N,)
        Labels.
    progress : callable, optional
        Called with the passes that are done and that there are, L*(L+1)/2 of them
        if every block has a shortcut.

    Returns
    -------
    Spectrum
        With ``.norms[k]``, ``.paths[k]``, ``.shares[k]`` and ``.total_error``.

    Raises
    ------
    TypeError, ValueError
        If the model has no residual blocks, or something stands between them, or
        the batch does not suit it.

    Notes
    -----
    Veit et al. sampled paths and took the mean of their norms; here the sum over all
    paths of a length is exact, and its norm is that of the sum. In training mode
    batch norm's backward pass is linear, too, but mixes the images of a batch: every
    part is sent back as one whole batch.

    A shortcut with a projection counts as a shortcut.

    References
    ----------
    Veit, Wilber and Belongie, arXiv 1605.06431, sections 3 (paths) and 5 (gradients).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((4, 3, 8, 8))
    >>> model = nr.models.resnet8(dtype=np.float64)
    >>> result = spectrum(model, x, np.array([0, 1, 2, 3]))
    >>> result.paths
    (1, 3, 3, 1)
    >>> result.total_error < 1e-10
    True
    """
    split = split_gradient(model, x, y, progress=progress)
    size = dot(split.gradient, split.gradient)
    total = np.zeros(x.shape, np.float64)
    rows = []
    for k, (part, paths) in enumerate(zip(split.parts, split.paths, strict=True)):
        if part is None:
            rows.append(SpectrumRow(k, 0, 0.0, 0.0))
            continue
        total += part
        share = dot(part, split.gradient) / size if size else 0.0
        rows.append(SpectrumRow(k, paths, norm(part), share))
    return Spectrum(
        tuple(rows),
        describe(model),
        len(x),
        model.training,
        split.loss,
        norm(split.gradient),
        relative_error(total, split.gradient),
    )


class Split(NamedTuple):
    """The gradient with respect to the images, and the parts that it is the sum of."""

    loss: float
    gradient: Array  # (N, C, H, W): by the ordinary backward pass
    parts: list[Array | None]  # k: what crossed k branches; None where no path does
    paths: list[int]  # k: how many paths do


def split_gradient(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    progress: Progress | None = None,
) -> Split:
    """Return the parts themselves; see `spectrum` for everything else."""
    with forward_pass(model, x, y) as step:
        blocks = [visit.block for visit in step.visits]
        grad_last_output, gradient = _ordinary_pass(model, step, blocks)
        parts: list[Array | None] = [grad_last_output]
        paths = [1]
        advance = _Counter(blocks, progress)
        for block in reversed(blocks):
            parts = _through_block(block, parts, advance)
            paths = _count_paths(block, paths)
        parts = _through_stem(model, step, blocks, parts)
    return Split(step.loss, gradient, parts, paths)


def _ordinary_pass(
    model: Module, step: Step, blocks: list[ResidualBlock]
) -> tuple[Array, Array]:
    """Go backward as always: return the gradients of the last block and the images."""
    if len(set(blocks)) < len(blocks):
        raise ValueError("model: expected every block to be called once a forward pass")
    passed: list[tuple[Module, Array, Array]] = []  # block, grad in, grad out

    def note(module: Module, grad_outputs: Any, grad_inputs: Any) -> None:
        if module not in blocks:
            return
        if passed and grad_outputs[0] is not passed[-1][2]:
            raise ValueError(
                "model: expected blocks that follow one another directly; "
                "something changes the gradient between them"
            )
        passed.append((module, grad_outputs[0], grad_inputs[0]))

    with replaying(model), watching(backward=note):
        grad_images = model.backward(step.grad_logits)
    if [block for block, _, _ in passed] != blocks[::-1]:
        raise ValueError("model: expected the backward pass to meet every block once")
    return passed[0][1], grad_images


def _through_block(
    block: ResidualBlock, parts: list[Array | None], advance: Callable[[], None]
) -> list[Array | None]:
    """Send each part through a block both ways; None stands for no path at all."""
    new: list[Array | None] = [None] * (len(parts) + 1)
    for k, part in enumerate(parts):
        if part is None:
            continue
        parts[k] = None  # spares the memory
        with replaying(block):
            grad_sum = block.relu.backward(part)
            new[k + 1] = block.branch_backward(grad_sum)  # no one was here before
            if has_shortcut(block):
                grad_shortcut = block.shortcut_backward(grad_sum)
                crossed = new[k]  # from the part with one branch less
                new[k] = grad_shortcut if crossed is None else crossed + grad_shortcut
        advance()
    return new


def _count_paths(block: ResidualBlock, paths: list[int]) -> list[int]:
    """Count as the parts are added: Pascal's triangle where all have shortcuts."""
    through = [0, *paths]
    around = [*paths, 0] if has_shortcut(block) else [0] * len(through)
    return [a + b for a, b in zip(through, around, strict=True)]


class _HandsOn(Module):
    """Stands in a block's place, and hands on what it is told to."""

    part: Array | None = None  # None: what comes

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go around the block."""
        return grad_output if self.part is None else self.part


def _through_stem(
    model: Module, step: Step, blocks: list[ResidualBlock], parts: list[Array | None]
) -> list[Array | None]:
    """Send all parts through what comes before the first block.

    The model's own backward pass does it: that works for any stem. Modules stand in
    the blocks' places, of which the first hands on the part, whatever comes.
    """
    stand_ins = {block: _HandsOn() for block in blocks}
    exchange(model, stand_ins)  # `forward_pass` puts the blocks back
    images: list[Array | None] = []
    for part in parts:
        if part is None:
            images.append(None)
            continue
        stand_ins[blocks[0]].part = part
        with replaying(model):
            images.append(model.backward(step.grad_logits))
    return images


class _Counter:
    """Counts passes, and tells who wants to know."""

    def __init__(self, blocks: list[ResidualBlock], progress: Progress | None) -> None:
        self.done, self.progress, self.total = 0, progress, 0
        paths = [1]
        for block in reversed(blocks):
            self.total += sum(count > 0 for count in paths)
            paths = _count_paths(block, paths)

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
