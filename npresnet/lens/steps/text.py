"""A step in words, for a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import dot, norm
from npresnet.lens.steps.facts import StepFacts

Array = NDArray[np.floating[Any]]


def describe_step(step: StepFacts) -> str:
    """Return a few lines: what, where, formula, shapes, norms, time, memory."""
    details = step.details
    place = {
        "trunk": "on the trunk",
        "branch": f"on the branch of {step.block}",
        "shortcut": f"on the shortcut of {step.block}",
    }[step.way]
    lines = [
        f"{step.number}  {step.path}  {details.title}, {place}",
        f"   {details.code}",
        f"   {step.formula}",
        f"   forward   {size(step.input_shape)} -> {size(step.output_shape)}",
        *(f"   {line}" for line in gradient_lines(step)),
    ]
    for name, grad in step.parameter_grads.items():
        lines.append(
            f"   {'grad ' + name:<9} {size(grad.shape)}, norm {norm(grad):.3e}"
        )
    if remark(step):
        lines.append(f"   {remark(step)}")
    lines.append(f"   took {duration(step.seconds)}; kept {memory(step.cache_bytes)}")
    return "\n".join(lines)


def gradient_lines(step: StepFacts) -> list[str]:
    """Say what came and what goes; at forks and additions, what adds up where."""
    came = [norm(array) for array in step.grad_outputs]
    goes = [norm(array) for array in step.grad_inputs]
    if step.operation == "fork":
        return [
            f"incoming  branch {came[0]:.3e}  +  shortcut {came[1]:.3e}",
            f"outgoing  their sum {goes[0]:.3e}, {size(step.input_shape)}",
        ]
    if step.operation == "addition":
        return [
            f"incoming  norm {came[0]:.3e}",
            f"outgoing  branch {goes[0]:.3e}  and  shortcut {goes[1]:.3e}: all of it, "
            "both ways",
        ]
    return [
        f"incoming  {size(np.shape(step.grad_outputs[0]))}, norm {came[0]:.3e}",
        f"outgoing  {size(step.input_shape)}, norm {goes[0]:.3e}",
    ]


def remark(step: StepFacts) -> str:
    """Say in figures what this operation does to this gradient, if there is a word."""
    came, goes = step.grad_outputs[0], step.grad_inputs[0]
    before, after = norm(came), norm(goes)
    if step.operation == "relu":
        closed = 1 - np.count_nonzero(step.outputs[0]) / step.outputs[0].size
        taken = 1 - after / before if before else 0.0
        return (
            f"closed at {closed:.1%} of the elements, which takes {taken:.1%} of the "
            "norm"
        )
    if step.operation == "fork":
        one, other = step.grad_outputs
        sizes = norm(one) * norm(other)
        if not sizes:
            return "one of the two is zero"
        cosine = dot(one, other) / sizes
        return (
            f"{norm(one):.3g} and {norm(other):.3g} make {after:.3g}: the cosine of "
            f"the angle between the two is {cosine:.3f}"
        )
    if step.operation == "zero_pad_shortcut" and before:
        lost = 1 - after**2 / before**2
        return (
            f"{lost:.1%} of the squared norm came to the channels of zeros, and is lost"
        )
    if step.operation == "cross_entropy":
        return f"the loss is {float(step.outputs[0]):.4f} nats"
    return ""


def size(shape: tuple[int, ...]) -> str:
    """Write a shape as 32x16x8x8."""
    return "x".join(map(str, shape)) or "a number"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def memory(count: int) -> str:
    """Write a number of bytes in the unit that suits it."""
    if count < 1024:
        return f"{count} bytes"
    unit, name = (2**10, "KiB") if count < 2**20 else (2**20, "MiB")
    return f"{count / unit:.1f} {name}"
