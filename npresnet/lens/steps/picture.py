"""The norm of the gradient, operation by operation, on every way it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npresnet.lens.shared.passes import batch_note
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from npresnet.lens.steps.result import Steps

_WAYS = {
    "trunk": style.Series(style.TICKS, "-", "D"),
    "branch": style.BRANCH,
    "shortcut": style.SHORTCUT,
}
_MARKERS_UP_TO = 120  # more would hide the lines


def gradient_steps(steps: Steps) -> Figure:
    """Draw the norm of what every operation hands on.

    Parameters
    ----------
    steps : Steps
        A backward pass, or a part of it.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if not steps:
        raise ValueError("steps: there are none to draw")
    numbers = [step.number for step in steps]
    ways = [step.way for step in steps]
    blocks = [step.block for step in steps]
    norms = [row.grad_input_norm for row in steps.rows]
    from matplotlib.ticker import MaxNLocator

    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=9.0, height=4.0)
        for start, end in _spans(blocks)[::2]:
            axes.axvspan(
                numbers[start] - 0.5, numbers[end] + 0.5, color="#F0F2F4", zorder=0
            )
        for way, series in _WAYS.items():
            there = [i for i, one in enumerate(ways) if one == way]
            if not there:
                continue
            # A way is one line per block; the trunk goes on from block to block.
            x = np.array([numbers[i] for i in there], float)
            y = np.array([norms[i] for i in there], float)
            breaks = [
                place
                for place in range(1, len(there))
                if way != "trunk" and blocks[there[place]] != blocks[there[place - 1]]
            ]
            x, y = np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan)
            marker = series.marker if len(numbers) <= _MARKERS_UP_TO else ""
            axes.plot(
                x,
                y,
                color=series.color,
                linestyle=":" if way == "trunk" else series.linestyle,
                marker=marker,
                label=way,
            )
        positive = [value for value in norms if value > 0]
        if positive:
            axes.set_yscale("log", nonpositive="mask")
        axes.set_ylabel("norm of what is handed on")
        axes.set_xlabel("step, from the loss to the images")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(numbers[0] - 0.7, numbers[-1] + 0.7)
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        title = f"The gradient, operation by operation: {steps.network}"
        style.title(figure, title)
        note = batch_note(steps.images, steps.training)
        style.caption(figure, f"Measured on {note}. Grey bands: every other block.")
    return figure


def _spans(blocks: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and the last step of every block."""
    spans: list[tuple[int, int]] = []
    for i, block in enumerate(blocks):
        if block and spans and block == blocks[i - 1]:
            spans[-1] = spans[-1][0], i
        elif block:
            spans.append((i, i))
    return spans
