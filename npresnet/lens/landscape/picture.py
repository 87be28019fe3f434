"""Slices through the loss: contour lines in two directions, curves along each.

All networks are drawn on one scale, which is logarithmic: at the bottom of a valley
the loss is hundreds of times lower than on the plateau around it. The loss of a guess
is drawn heavily in every panel: inside that line the network knows something.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import batch_note
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.landscape.result import Landscape

Array = NDArray[np.floating[Any]]

_HIGHEST = 100.0  # losses above that many times the guess are drawn alike
_LOWEST = 1e-3  # and so are those below this fraction of it
_PER_INCH = 13  # letters of the caption
_LINES = 13  # levels that can be told apart, both ends included
_OTHERS = [  # colours of networks after the first residual and the first plain one
    style.Series(style.GREEN, "-.", "^"),
    style.Series(style.PURPLE, ":", "D"),
    style.Series(style.SKY_BLUE, "-", "v"),
    style.Series(style.ORANGE, "--", "x"),
]


def landscapes(slices: Sequence[Landscape]) -> Figure:
    """Draw the losses of one or more networks, on one scale.

    Parameters
    ----------
    slices : sequence of Landscape
        All of one dimension, or all of two.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is nothing to draw, or dimensions differ.
    """
    dimensions = {one.losses.ndim for one in slices}
    if len(dimensions) != 1 or not dimensions <= {1, 2}:
        raise ValueError(
            "slices: expected one or more, all of one or all of two dimensions"
        )
    flat = dimensions == {1}
    classes = {one.classes for one in slices}
    guessing = math.log(classes.pop()) if len(classes) == 1 else None
    notes = {batch_note(one.images, one.training) for one in slices}
    note = f"Mean over {notes.pop()}. " if len(notes) == 1 else ""
    with style.house_style():
        figure = _draw_curves(slices, guessing) if flat else _draw(slices, guessing)
        style.title(figure, "The loss around the weights")
        text = _explain(note, guessing)
        style.caption(
            figure, textwrap.fill(text, int(_PER_INCH * figure.get_figwidth()))
        )
    return figure


def _explain(note: str, guessing: float | None) -> str:
    text = (
        f"{note}Directions are Gaussian noise in which every filter has the length of "
        "the network's own: at distance 1 the step is as long as the weights. "
    )
    if guessing is not None:
        text += f"Heavy: a guess, {guessing:.2f} nats."
    return text.rstrip()


def _draw_curves(slices: Sequence[Landscape], guessing: float | None) -> Figure:
    figure, (axes,) = style.new_figure(1, width=7.0, height=4.6)
    _curves(axes, slices, [one.losses for one in slices], guessing)
    axes.set_xlabel("distance along the direction, alpha")
    axes.set_ylabel("loss (nats)")
    axes.legend(loc="best")
    return figure


def _draw(slices: Sequence[Landscape], guessing: float | None) -> Figure:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    n = len(slices)
    figure = Figure(figsize=(max(6.0, 1.4 + 4.1 * n), 7.9), layout="constrained")
    parts = figure.add_gridspec(2, 2 * n, height_ratios=[4.6, 3.0])
    levels = _levels(slices, guessing)
    norm = _norm(levels)
    maps = [figure.add_subplot(parts[0, 2 * i : 2 * i + 2]) for i in range(n)]
    for axes, one in zip(maps, slices, strict=True):
        _map(axes, one, levels, norm, guessing)
    maps[0].set_ylabel("second direction, beta")
    bar = figure.colorbar(
        ScalarMappable(norm, style.SEQUENTIAL), ax=maps, pad=0.015, aspect=30
    )
    bar.set_label("loss (nats)")
    names = [f"{level:g}" for level in levels]
    names[0], names[-1] = (
        f"\N{LESS-THAN OR EQUAL TO} {names[0]}",
        f"\N{GREATER-THAN OR EQUAL TO} {names[-1]}",
    )
    bar.set_ticks(levels, labels=names)
    bar.ax.minorticks_off()
    if guessing is not None:
        bar.ax.axhline(guessing, color=style.BLACK, linewidth=2.4)

    left = figure.add_subplot(parts[1, :n])
    along = [left, figure.add_subplot(parts[1, n:], sharey=left)]
    across = [one.losses[len(one.at) // 2] for one in slices]
    upward = [one.losses[:, len(one.at) // 2] for one in slices]
    for axes, curves, name in zip(
        along,
        (across, upward),
        ("first direction, alpha", "second direction, beta"),
        strict=True,
    ):
        _curves(axes, slices, curves, guessing)
        axes.set_xlabel(name)
    along[0].set_ylabel("loss (nats)")
    along[1].tick_params(labelleft=False)
    if n > 1:
        along[0].legend(loc="best")
    return figure


def _map(
    axes: Axes, one: Landscape, levels: list[float], norm: Any, guessing: float | None
) -> None:
    """Fill the areas between contour lines, and label the lines."""
    losses = np.clip(one.losses, levels[0], levels[-1])
    losses = np.log(losses)  # straight between points on the scale that is drawn
    at = np.log(levels)
    from matplotlib import colormaps

    middles = norm(np.sqrt(np.array(levels[1:]) * np.array(levels[:-1])))
    colours = colormaps[style.SEQUENTIAL](middles)
    axes.contourf(one.at, one.at, losses, at, colors=colours)
    lines = axes.contour(
        one.at,
        one.at,
        losses,
        at[1:-1],
        colors="white",
        linewidths=0.9,
        linestyles="solid",
    )
    names = {value: f"{level:g}" for value, level in zip(at, levels, strict=True)}
    _label(axes, lines, names)
    if guessing is not None:
        axes.contour(
            one.at, one.at, losses, [math.log(guessing)], colors="black", linewidths=2.2
        )
    axes.plot(0, 0, "+", color=style.BLACK, markersize=9, markeredgewidth=1.6)
    axes.set_title(one.network, pad=18)
    loss, accuracy = one.center.loss, one.center.accuracy
    axes.annotate(
        f"at the cross: {loss:.2g} nats, {accuracy:.1%} right",
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        size=9,
        color="#444444",
    )
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    axes.grid(visible=False)
    axes.set_xlabel("first direction, alpha")


def _label(axes: Axes, lines: Any, names: dict[float, str]) -> None:
    """Write levels on their lines, where one does not hide another.

    Where they would is found out by a first try; higher levels come first.
    """
    tried = axes.clabel(lines, fmt=names, fontsize=8, inline=False)
    wide, high = (
        0.12 * abs(np.subtract(*lim)) for lim in (axes.get_xlim(), axes.get_ylim())
    )
    kept: list[tuple[float, float]] = []
    for text in reversed(tried):
        x, y = text.get_position()
        if all(abs(x - a) > wide or abs(y - b) > high for a, b in kept):
            kept.append((x, y))
        text.remove()
    axes.clabel(lines, fmt=names, fontsize=8, inline_spacing=2, manual=kept)


def _curves(
    axes: Axes,
    slices: Sequence[Landscape],
    curves: Sequence[Array],
    guessing: float | None,
) -> None:
    curves = [np.where(np.isfinite(c) & (c > 0), c, np.nan) for c in curves]
    for one, losses, series in zip(slices, curves, _series(slices), strict=True):
        axes.plot(
            one.at,
            losses,
            label=one.network,
            **series.keywords(len(one.at)),
        )
    if guessing is not None:
        axes.axhline(guessing, color=style.BLACK, linewidth=2.2, zorder=1)
    if any(np.isfinite(losses).any() for losses in curves):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _series(slices: Sequence[Landscape]) -> list[style.Series]:
    """Choose the house's look for the first of each kind, others for the rest."""
    free = {True: [style.RESIDUAL], False: [style.PLAIN]}
    others = list(_OTHERS)
    chosen = []
    for one in slices:
        shelf = free[one.residual] or others or [style.NEUTRAL]
        chosen.append(shelf.pop(0))
    return chosen


def _levels(slices: Sequence[Landscape], guessing: float | None) -> list[float]:
    """Choose round losses, such as 1, 2, 5, 10, that hold what there is to see."""
    values = np.concatenate([one.losses.ravel() for one in slices])
    values = values[np.isfinite(values) & (values > 0)]
    guess = guessing or 1.0
    low = max(values.min() if len(values) else guess, guess * _LOWEST)
    high = min(values.max() if len(values) else guess, guess * _HIGHEST)
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        steps = [float(f"{digit}e{power}") for power in exponents for digit in digits]
        first = max(i for i, step in enumerate(steps) if step <= low)
        last = min(i for i, step in enumerate(steps) if step >= high)
        levels = steps[first : max(last, first + 2) + 1]
        if len(levels) <= _LINES:
            break
    return levels


def _norm(levels: list[float]) -> Any:
    from matplotlib.colors import LogNorm

    return LogNorm(levels[0], levels[-1])
