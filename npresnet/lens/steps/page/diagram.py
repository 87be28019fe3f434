"""Diagrams of the page, as SVG: where in the network a step is.

Everything runs as the gradient does, from the loss on the left to the images on the
right. Widths of lines are norms of gradients. Elements that belong to a step have its
number in ``data-step``: the page's script marks the present one, and fades those that
the gradient has not reached yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared import passes
from npresnet.lens.steps.facts import StepFacts
from npresnet.lens.steps.page.units import Unit, label

Array = NDArray[np.floating[Any]]

_WIDTH = 1000.0
_MIDDLE, _UPPER, _LOWER = 100.0, 42.0, 158.0  # rows of a block
_NODE_HEIGHT = 34.0
_THICK = 16.0  # the widest line, in units of the picture
# What the gradient does where forward there was an addition, or a fork.
_SIGNS = {
    "addition": ("M-9 0H-3L7 -6M-3 0L7 6M2 -7L7 -6L5 -1M2 7L7 6L5 1", "copies"),
    "fork": ("M-8 0H8M0 -8V8", "adds"),
}
_BARS = 46.0  # height of the overview's bars


def norm(array: Array) -> float:
    """Return the norm, or 0 where there is none that could be drawn."""
    size = passes.norm(array)
    return size if math.isfinite(size) else 0.0


class _Drawing:
    """Lines and nodes, and what they are drawn with."""

    def __init__(self, thickest: float) -> None:
        self.thickest = thickest
        self.lines: list[str] = []
        self.nodes: list[str] = []

    def width(self, size: float) -> float:
        return max(1.2, _THICK * size / self.thickest if self.thickest else 0.0)

    def line(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        size: float,
        way: str,
        step: int,
    ) -> None:
        """Draw where the gradient of a norm goes, once a step has handed it on."""
        (x0, y0), (x1, y1) = start, end
        middle = (x0 + x1) / 2
        path = (
            f"M{x0:.1f} {y0:.1f}H{x1:.1f}"
            if y0 == y1
            else f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} "
            f"{x1:.1f} {y1:.1f}"
        )
        self.lines.append(
            f'<path class="line {way}" data-after="{step}" d="{path}" '
            f'stroke-width="{self.width(size):.1f}"><title>norm {size:.3e}</title>'
            "</path>"
        )

    def node(self, step: StepFacts, x: float, y: float, room: float) -> None:
        """Draw an operation: a plate, or a disk where ways part or meet."""
        text = label(step)
        title = f"<title>step {step.number}: {escape(step.path)}, {step.operation}"
        opening = (
            f'<g class="node {step.way}" data-step="{step.number}">{title}</title>'
        )
        if step.operation in ("addition", "fork"):
            sign, does = _SIGNS[step.operation]
            # The words keep clear of the branch, which begins or ends here.
            joins = step.operation == "fork"
            side, anchor = (-14.0, "start") if joins else (14.0, "end")
            shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="17"/>'
            text = (
                f'<path class="sign" transform="translate({x:.1f} {y})" d="{sign}"/>'
                f'<text class="under" x="{x + side:.1f}" y="{y + 36:.1f}" '
                f'style="text-anchor: {anchor}">{step.operation}: {does}</text>'
            )
        else:
            width = min(room - 14, max(52.0, 9.0 * len(text) + 18))
            shape = (
                f'<rect x="{x - width / 2:.1f}" y="{y - _NODE_HEIGHT / 2:.1f}" '
                f'width="{width:.1f}" height="{_NODE_HEIGHT}" rx="7"/>'
            )
            text = f'<text x="{x:.1f}" y="{y + 5:.1f}">{escape(text)}</text>'
        self.nodes.append(f"{opening}{shape}{text}</g>")

    def svg(self, height: float, words: str) -> str:
        return (
            f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(words)}">'
            f"{''.join(self.lines)}{''.join(self.nodes)}</svg>"
        )


def unit_diagram(unit: Unit, before: str, behind: str) -> str:
    """Draw a unit with all its operations.

    Parameters
    ----------
    unit : Unit
        A block, the head or the stem.
    before, behind : str
        What lies towards the loss, and towards the images.
    """
    sizes = [norm(unit.steps[0].grad_outputs[0])]
    if unit.steps[0].operation == "cross_entropy":
        sizes = []  # the 1 that it begins with has no width to compare with
    sizes += [norm(grad) for step in unit.steps for grad in step.grad_inputs]
    drawing = _Drawing(max(sizes))
    words = f"{unit.name}, from the loss to the images: " + ", ".join(
        f"{label(step)} ({step.way})" for step in unit.steps
    )
    if unit.parts:
        _draw_block(drawing, unit)
        height, row = 200.0, _MIDDLE
    else:
        height, row = 84.0, 48.0
        _draw_row(drawing, unit.steps, row)
    for text, x, anchor in ((before, 0.0, "start"), (behind, _WIDTH, "end")):
        drawing.nodes.append(
            f'<text class="edge" x="{x}" y="{row - 28:.0f}" '
            f'style="text-anchor: {anchor}">'
            f"{escape(text)}</text>"
        )
    return drawing.svg(height, words)


def _draw_row(drawing: _Drawing, steps: Sequence[StepFacts], y: float) -> None:
    """Draw operations one after another, evenly from edge to edge."""
    room = (_WIDTH - 140.0) / len(steps)
    x = 0.0
    for number, step in enumerate(steps):
        place = 70.0 + room * (number + 0.5)
        if step.operation != "cross_entropy":  # nothing comes before the loss
            size = norm(step.grad_outputs[0])
            drawing.line((x, y), (place, y), size, step.way, step.number - 1)
        drawing.node(step, place, y, room)
        x = place
    size = norm(steps[-1].grad_inputs[0])
    drawing.line((x, y), (_WIDTH, y), size, steps[-1].way, steps[-1].number)


def _draw_block(drawing: _Drawing, unit: Unit) -> None:
    """Draw a block: trunk, the two ways, trunk."""
    steps = unit.steps
    addition = next(step for step in steps if step.operation == "addition")
    fork = next(step for step in steps if step.operation == "fork")
    trunk = unit.on("trunk")
    first, last = trunk[: trunk.index(addition)], trunk[trunk.index(fork) + 1 :]
    branch, shortcut = unit.on("branch"), unit.on("shortcut")
    inner = max(len(branch), len(shortcut), 1)
    columns = len(first) + len(last) + 2 + inner
    room = (_WIDTH - 40.0) / columns
    center = [20.0 + room * (i + 0.5) for i in range(columns)]
    meets, parts = center[len(first)], center[len(first) + 1 + inner]

    x = 0.0
    for step, place in zip([*first, addition], center, strict=False):
        size = norm(step.grad_outputs[0])
        drawing.line((x, _MIDDLE), (place, _MIDDLE), size, "trunk", step.number - 1)
        x = place
    ways = ((branch, _LOWER, "branch", 0), (shortcut, _UPPER, "shortcut", 1))
    for operations, y, way, number in ways:
        span = parts - meets - room
        inset = room * 0.5
        own = span / max(1, len(operations))
        places = [meets + inset + own * (i + 0.5) for i in range(len(operations))]
        start: tuple[float, float] = (meets, _MIDDLE)
        came_from = addition.number
        size = norm(addition.grad_inputs[number])
        for step, place in zip(operations, places, strict=True):
            drawing.line(start, (place, y), size, way, came_from)
            drawing.node(step, place, y, min(own, 130.0))
            start, came_from = (place, y), step.number
            size = norm(step.grad_inputs[0])
        drawing.line(start, (parts, _MIDDLE), size, way, came_from)
        middle = (meets + parts) / 2
        above = way == "shortcut"
        drawing.nodes.append(
            f'<text class="way {way}" x="{middle:.1f}" y="{13 if above else 196}">{way}'
            "</text>"
        )
    x = parts
    for step, place in zip(last, center[len(first) + inner + 2 :], strict=True):
        size = norm(step.grad_outputs[0])
        drawing.line((x, _MIDDLE), (place, _MIDDLE), size, "trunk", step.number - 1)
        x = place
    end = (last or [fork])[-1]
    size = norm(end.grad_inputs[0])
    drawing.line((x, _MIDDLE), (_WIDTH, _MIDDLE), size, "trunk", end.number)
    for step, place in zip([*first, addition], center, strict=False):
        drawing.node(step, place, _MIDDLE, room)
    drawing.node(fork, parts, _MIDDLE, room)
    for step, place in zip(last, center[len(first) + inner + 2 :], strict=True):
        drawing.node(step, place, _MIDDLE, room)


def overview(units: Sequence[Unit]) -> str:
    """Draw every step as a bar: how large the gradient is that it hands on.

    Heights are logarithmic, from the smallest norm above 0 to the largest.
    """
    steps = [step for unit in units for step in unit.steps]
    sizes = {step.number: norm(step.grad_inputs[0]) for step in steps}
    positive = [size for size in sizes.values() if size > 0] or [1.0]
    low, high = math.log(min(positive)), math.log(max(positive))
    room = _WIDTH / len(steps)
    parts: list[str] = []
    place = 0
    for index, unit in enumerate(units):
        left, width = place * room, len(unit.steps) * room
        title = f"<title>{escape(unit.name)}</title>"
        parts.append(
            f'<g class="stretch{" odd" if index % 2 else ""}" '
            f'data-first="{unit.steps[0].number}">'
            f'{title}<rect x="{left:.2f}" y="0" width="{width:.2f}" height="74"/>'
        )
        text = _fitting(unit.name, width)
        if text:
            parts.append(
                f'<text x="{left + width / 2:.1f}" y="68">{escape(text)}</text>'
            )
        parts.append("</g>")
        for step in unit.steps:
            size = sizes[step.number]
            share = (math.log(size) - low) / (high - low) if size and high > low else 0
            height = 5 + (_BARS - 5) * share if size else 1
            parts.append(
                f'<rect class="bar {step.way}" data-step="{step.number}" '
                f'x="{(place + 0.12) * room:.2f}" y="{52 - height:.1f}" '
                f'width="{room * 0.76:.2f}" height="{height:.1f}"><title>step '
                f"{step.number}: {escape(step.path)}, {step.operation}, norm "
                f"{size:.3e}</title></rect>"
            )
            place += 1
    parts.append('<rect class="cursor" x="0" y="0" height="74" width="0"/>')
    return (
        f'<svg class="overview" viewBox="0 0 {_WIDTH:.0f} 74" role="img" '
        'aria-label="The norm of the gradient, step by step, from the loss on the '
        f'left to the images on the right">{"".join(parts)}</svg>'
    )


def _fitting(name: str, width: float) -> str:
    """Shorten a name to what a stretch has room for, or leave it out."""
    for text in (name, name.removeprefix("layer")):
        if 6.4 * len(text) + 4 <= width:
            return text
    return ""
