"""The path-length spectrum: the gradient, split by how many branches it crossed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.passes import (
    Progress,
    Step,
    batch_note,
    describe,
    dot,
    forward_pass,
    has_shortcut,
    norm,
    relative_error,
)
from npresnet.lens.result import Result, column
from npresnet.models import ResidualBlock
from npresnet.nn import Gradient, Module, replaying

if TYPE_CHECKING:
    from npresnet.plots import PathLengths
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SpectrumRow:
    """The part of the gradient that crossed k residual branches.

    Attributes
    ----------
    branches : int
        k.
    paths : int
        Ways through the network that cross so many: L over k for L blocks.
    norm : float
        Euclidean norm of the part: of the sum over all these paths.
    share : float
        What the part contributes to the whole gradient g: ``<part, g> / <g, g>``.
        Shares add up to 1; one is negative where a part points the other way.
    """

    branches: int = column("branches")
    paths: int = column("paths")
    norm: float = column("norm", ".3e")
    share: float = column("share", "z.2%")


@dataclass(frozen=True, repr=False)
class Spectrum(Result):
    """The gradient by the images, as a sum over path lengths.

    Attributes
    ----------
    rows : tuple of SpectrumRow
        One for every k from 0 to the number of blocks.
    network : str
        What was looked at, as in ``"Residual net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    loss : float
        Mean cross entropy, in nats.
    gradient_norm : float
        Of the ordinary gradient by the images.
    total_error : float
        How far the parts' sum is from the ordinary gradient, relative to its norm.
    """

    rows: tuple[SpectrumRow, ...]
    network: str
    images: int
    training: bool
    loss: float
    gradient_norm: float
    total_error: float

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norm of the part that crossed k branches, at index k."""
        return np.array([row.norm for row in self.rows])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of that part in the whole gradient; they add up to 1."""
        return np.array([row.share for row in self.rows])

    @property
    def paths(self) -> tuple[int, ...]:
        """How many paths cross k branches, at index k."""
        return tuple(row.paths for row in self.rows)

    @property
    def shortcut_share(self) -> float:
        """Share of the one path that crosses no branch."""
        return self.rows[0].share

    @property
    def mean_branches(self) -> float:
        """Branches crossed on average, each path length weighed by its share."""
        return float(self.shares @ np.arange(len(self.rows)))

    @property
    def mean_branches_of_paths(self) -> float:
        """Branches crossed on average, if all paths counted alike."""
        crossed = sum(row.branches * row.paths for row in self.rows)
        return crossed / sum(self.paths)

    def summary(self) -> str:
        """Say how long the paths are that matter, and whether the sum is right."""
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: the gradient "
            f"(norm {self.gradient_norm:.3e}) crossed {self.mean_branches:.2f} "
            f"branches on average,\nwhere the average path crosses "
            f"{self.mean_branches_of_paths:.2f}; the shortcuts alone carry "
            f"{self.shortcut_share:z.2%}; the parts' sum is off by "
            f"{self.total_error:.1e}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the mean lengths, as plain data."""
        means = {
            "mean_branches": self.mean_branches,
            "mean_branches_of_paths": self.mean_branches_of_paths,
        }
        return {**super().to_dict(), **means}

    def plot(
        self, beside: Spectrum | Sequence[Spectrum] = (), names: Sequence[str] = ()
    ) -> Figure:
        """Draw shares and norms over the number of branches crossed.

        Parameters
        ----------
        beside : Spectrum or sequence of Spectrum
            Others to draw to the right of this one: after training, for instance.
        names : sequence of str
            What to call each of them; by default `network`.
        """
        from npresnet.plots import path_lengths

        others = [beside] if isinstance(beside, Spectrum) else beside
        spectra = [self, *others]
        names = names or [one.network for one in spectra]
        return path_lengths(
            [one._lengths(name) for one, name in zip(spectra, names, strict=True)]
        )

    def _lengths(self, name: str) -> PathLengths:
        from npresnet.plots import PathLengths

        subject = f"{name}, {batch_note(self.images, self.training)}"
        return PathLengths(self.paths, self.norms, self.shares, subject)


def spectrum(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    progress: Progress | None = None,
) -> Spectrum:
    """Split the gradient by the images by the number of branches that it crossed.

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
    """The gradient by the images, and the parts that it is the sum of."""

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
        parts = [
            None if part is None else _through_stem(model, step, blocks, part)
            for part in parts
        ]
    return Split(step.loss, gradient, parts, paths)


def _ordinary_pass(
    model: Module, step: Step, blocks: list[ResidualBlock]
) -> tuple[Array, Array]:
    """Go backward as always: gradients by the last block's output, by the images."""
    if len(set(blocks)) < len(blocks):
        raise ValueError("model: expected every block to be called once a forward pass")
    passed: list[tuple[ResidualBlock, Array, Array]] = []  # block, grad in, grad out

    def noting(block: ResidualBlock) -> Callable[..., Gradient]:
        own_backward = block.backward

        def backward(grad_output: Array, input_grad: bool = True) -> Gradient:
            if passed and grad_output is not passed[-1][2]:
                raise ValueError(
                    "model: expected blocks that follow one another directly; "
                    "something changes the gradient between them"
                )
            grad_input = own_backward(grad_output)
            passed.append((block, grad_output, grad_input))
            return grad_input

        return backward

    with _backward_methods(blocks, noting), replaying(model):
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


def _through_stem(
    model: Module, step: Step, blocks: list[ResidualBlock], part: Array
) -> Array:
    """Send a part through what comes before the first block.

    The model's own backward pass does it, with blocks that hand on what they are
    told to: that works for any stem.
    """

    def handing_on(block: ResidualBlock) -> Callable[..., Gradient]:
        def backward(grad_output: Array, input_grad: bool = True) -> Gradient:
            return part if block is blocks[0] else grad_output

        return backward

    with _backward_methods(blocks, handing_on), replaying(model):
        grad_images: Array = model.backward(step.grad_logits)
    return grad_images


@contextmanager
def _backward_methods(
    blocks: list[ResidualBlock],
    make: Callable[[ResidualBlock], Callable[..., Gradient]],
) -> Iterator[None]:
    """Give every block another backward method within a ``with`` block."""
    before = [dict(vars(block)) for block in blocks]
    for block in blocks:
        block.backward = make(block)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block, attributes in zip(blocks, before, strict=True):
            vars(block).clear()
            vars(block).update(attributes)


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
