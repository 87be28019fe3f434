"""A network as a chain: stem, blocks, head, to be put together differently.

What is cut out of a chain, or changes its place, is not touched itself: blocks are
called in another order, and a block without its branch hands on its shortcut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import zero_pad_shortcut_forward
from npresnet.lens.shared.passes import block_names, has_shortcut
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shared.stand_ins import exchange, like
from npresnet.models import ResidualBlock
from npresnet.nn import Module, no_grad, watching

Array = NDArray[np.floating[Any]]

# What is left of a block whose branch is gone.
IDENTITY, ZERO_PADDING, PROJECTION = "identity", "zero padding", "projection"


class Chain:
    """Runs a model's blocks in any order, each with its branch or without.

    Use `taken_apart`, which puts the model together again.

    Parameters
    ----------
    model : Module
        Residual or plain blocks that follow one another directly, between a stem and
        a head of any kind.
    x : ndarray of shape (N, C, H, W)
        An image or two of the kind that is going to be looked at.

    Attributes
    ----------
    names : list of str
        Paths of the blocks, in the order of the forward pass.
    kinds : list of str
        What is left of each block without its branch: ``"identity"``, ``"zero
        padding"`` or ``"projection"``.
    shapes : list of (tuple of int, tuple of int)
        What each block takes and gives, ``(C, H, W)``.

    Raises
    ------
    ValueError
        If the model has no such blocks, calls one twice, or something stands between
        two of them.
    """

    def __init__(self, model: Module, x: Array) -> None:
        names = block_names(model)
        visits: list[tuple[ResidualBlock, Array, Array]] = []

        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(module, ResidualBlock) and module in names:
                if visits and inputs[0] is not visits[-1][2]:
                    raise ValueError(
                        "model: expected blocks that follow one another directly; "
                        f"something stands before {names[module]}"
                    )
                visits.append((module, inputs[0], output))

        with watching(note):
            model(x)
        self._sample = x
        self._blocks = [block for block, _, _ in visits]
        if len(self._blocks) != len(names) or len(set(self._blocks)) != len(names):
            raise ValueError(
                "model: expected every block to be called once a forward pass"
            )
        self.names = [names[block] for block in self._blocks]
        self.shapes = [
            (before.shape[1:], after.shape[1:]) for _, before, after in visits
        ]
        self.kinds = [
            _what_stays(block, *shapes)
            for block, shapes in zip(self._blocks, self.shapes, strict=True)
        ]
        gaps = [_Gap() for _ in self._blocks]
        self._first, self._last = gaps[0], gaps[-1]
        self._bare: dict[int, tuple[ResidualBlock, list[bool]]] = {}
        self._last.handed = visits[-1][2]  # what the head gets
        self._model = exchange(model, dict(zip(self._blocks, gaps, strict=True)))

    def __len__(self) -> int:
        return len(self._blocks)

    def stem(self, x: Array) -> Array:
        """Run what comes before the first block."""
        self._model(x)
        assert self._first.met is not None
        return self._first.met

    def head(self, features: Array) -> Array:
        """Run what comes after the last block: (N, classes)."""
        self._last.handed = features
        # The stem's work is thrown away: the sample is enough for it.
        logits: Array = self._model(self._sample)
        self._last.handed = features[: len(self._sample)]
        return logits

    def block(self, place: int, x: Array) -> Array:
        """Run the block that is at a place in the model."""
        output: Array = self._blocks[place](x)
        return output

    def without_branch(self, place: int, x: Array) -> Array:
        """Run the block at a place with nothing but its shortcut.

        The ReLU after the addition stays. A plain block has no shortcut: where its
        shapes agree, the identity stands in for its branch, and where they do not,
        the zero padding that its residual twin would have there.
        """
        if place not in self._bare:
            self._bare[place] = _bare(self._blocks[place], *self.shapes[place])
        block, calls = self._bare[place]
        calls.clear()
        output: Array = block(x)
        if not calls:
            raise ValueError(
                f"model: expected {self.names[place]} to compute its branch with "
                "branch_forward(x)"
            )
        return output

    def run(self, plan: Sequence[int], x: Array) -> Array:
        """Run some of the blocks one after the other.

        Parameters
        ----------
        plan : sequence of int
            Places of blocks; ``~place`` for the block without its branch.
        x : ndarray of shape (N, C, H, W)
            What the first of them gets.
        """
        for place in plan:
            if place < 0:
                x = self.without_branch(~place, x)
            else:
                x = self.block(place, x)
        return x


class _Gap(Module):
    """Stands in a block's place, where the model runs its stem and its head only."""

    def __init__(self) -> None:
        super().__init__()
        self.met: Array | None = None  # what came last
        self.handed: Array | None = None  # what goes on; None: what came

    def forward(self, x: Array) -> Array:
        """Note what comes, and hand on what is to go on."""
        self.met = x
        return x if self.handed is None else self.handed


@contextmanager
def taken_apart(model: Module, x: Array) -> Iterator[Chain]:
    """Take a model apart within a ``with`` block; afterwards it is as it was.

    Parameters
    ----------
    model : Module
        In the mode that it is to be looked at in.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of which the first one or two are used.
    """
    with preserve_state(model), no_grad():
        yield Chain(model, x[:2])


def _bare(
    block: ResidualBlock, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[ResidualBlock, list[bool]]:
    """Make a block like another, without its branch; and a list of that one's calls.

    Parameters
    ----------
    block : ResidualBlock
        The block.
    before, after : tuple of int
        What it takes and gives, ``(C, H, W)``.
    """
    (C, H, W), (K, OH, OW) = before, after
    calls: list[bool] = []

    def stand_in(this: ResidualBlock, x: Array) -> Any:
        calls.append(True)
        if has_shortcut(this):
            return 0.0  # nothing is added to the shortcut
        if (C, H, W) == (K, OH, OW):
            return x
        stride = max(-(-H // OH), -(-W // OW))
        return zero_pad_shortcut_forward(x, K, stride)[0]

    return like(block, branch_forward=stand_in), calls


def _what_stays(
    block: ResidualBlock, before: tuple[int, ...], after: tuple[int, ...]
) -> str:
    if any(True for _ in block.downsample.parameters()):
        return PROJECTION
    return IDENTITY if before == after else ZERO_PADDING
