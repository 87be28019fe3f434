"""A network as a chain: stem, blocks, head, to be put together differently.

What is cut out of a chain, or changes its place, is not touched itself: blocks are
called in another order, and a block without its branch hands on its shortcut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import zero_pad_shortcut_forward
from npresnet.lens.passes import block_names, has_shortcut
from npresnet.lens.untouched import untouched
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
        self._model, self._sample = model, x
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
        self._whole = [block.forward for block in self._blocks]
        self._met: Array = visits[0][1]  # what the stem gave last
        self._handed: Array = visits[-1][2]  # what the head gets
        for place, block in enumerate(self._blocks):
            block.forward = self._intercepted(place)  # type: ignore[method-assign]

    def __len__(self) -> int:
        return len(self._blocks)

    def stem(self, x: Array) -> Array:
        """Run what comes before the first block."""
        self._model(x)
        return self._met

    def head(self, features: Array) -> Array:
        """Run what comes after the last block: (N, classes)."""
        self._handed = features
        # The stem's work is thrown away: the sample is enough for it.
        logits: Array = self._model(self._sample)
        self._handed = features[: len(self._sample)]
        return logits

    def block(self, place: int, x: Array) -> Array:
        """Run the block that is at a place in the model."""
        return self._whole[place](x)

    def without_branch(self, place: int, x: Array) -> Array:
        """Run the block at a place with nothing but its shortcut.

        The ReLU after the addition stays. A plain block has no shortcut: where its
        shapes agree, the identity stands in for its branch, and where they do not,
        the zero padding that its residual twin would have there.
        """
        block, called = self._blocks[place], False
        (C, H, W), (K, OH, OW) = self.shapes[place]

        def stand_in(x: Array) -> Any:
            nonlocal called
            called = True
            if has_shortcut(block):
                return 0.0  # nothing is added to the shortcut
            if (C, H, W) == (K, OH, OW):
                return x
            stride = max(-(-H // OH), -(-W // OW))
            return zero_pad_shortcut_forward(x, K, stride)[0]

        with _branch(block, stand_in):
            output = self._whole[place](x)
        if not called:
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

    def _intercepted(self, place: int) -> Callable[..., Array]:
        """Return a forward pass with which the model runs its stem and head only."""

        def forward(x: Array) -> Array:
            if place == 0:
                self._met = x
            return self._handed if place == len(self._blocks) - 1 else x

        return forward


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
    with untouched(model), no_grad():
        yield Chain(model, x[:2])


def _what_stays(
    block: ResidualBlock, before: tuple[int, ...], after: tuple[int, ...]
) -> str:
    if any(True for _ in block.downsample.parameters()):
        return PROJECTION
    return IDENTITY if before == after else ZERO_PADDING


@contextmanager
def _branch(block: ResidualBlock, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a block compute something else in place of its branch."""
    before = dict(vars(block))
    block.branch_forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        vars(block).clear()
        vars(block).update(before)
