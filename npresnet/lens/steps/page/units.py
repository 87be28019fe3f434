"""The network in parts that fit a picture: the head, every block, the stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from npresnet.lens.steps.facts import StepFacts

_SIGNS = {
    "cross_entropy": "loss",
    "flatten": "flatten",
    "identity": "identity",
    "zero_pad_shortcut": "zero pad",
}

_HEAD = ("cross_entropy", "linear", "flatten", "adaptive_avg_pool2d", "avg_pool2d")


@dataclass(frozen=True)
class Unit:
    """Steps that are drawn together.

    Attributes
    ----------
    name : str
        Path of the block; ``"head"`` or ``"stem"`` outside of blocks.
    steps : tuple of StepFacts
        From the loss to the images.
    """

    name: str
    steps: tuple[StepFacts, ...]

    def on(self, way: str) -> list[StepFacts]:
        """Return the steps on one of the ways."""
        return [step for step in self.steps if step.way == way]

    @property
    def parts(self) -> bool:
        """Whether the gradient parts and meets again inside."""
        return {"addition", "fork"} <= {step.operation for step in self.steps}


def units(steps: Sequence[StepFacts]) -> list[Unit]:
    """Part a backward pass into units, from the loss to the images."""
    found: list[Unit] = []
    for block, group in groupby(steps, key=lambda step: step.block):
        inside = tuple(group)
        outside = "head" if inside[0].operation in _HEAD else "stem"
        found.append(Unit(block or outside, inside))
    return found


def label(step: StepFacts) -> str:
    """Return a word for a step inside its unit."""
    if step.operation in _SIGNS:
        return _SIGNS[step.operation]
    inside = step.path.removeprefix(f"{step.block}.") if step.block else step.path
    if inside.startswith("downsample."):
        if step.operation == "conv2d":
            return "{}x{} conv".format(*step.parameter_grads["weight"].shape[2:])
        return "bn" if step.operation == "batch_norm" else inside
    return inside
