"""What a network still gets right after each lesion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npresnet.lens.shared.passes import images_note
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.lesion.result import Lesions, ReorderingRow

_LABELS = 18  # as many blocks are named, evenly spread


def lesions(patients: Sequence[Lesions]) -> Figure:
    """Draw one panel per kind of lesion, and in each all the networks.

    Parameters
    ----------
    patients : sequence of Lesions
        What to draw; kinds of lesions that none of them has get no panel.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no network.
    """
    if not patients:
        raise ValueError("patients: expected at least one network, got none")
    panels = [_draw_deletions]
    if any(one.removals for one in patients):
        panels.append(_draw_removals)
    if any(map(_orders, patients)):
        panels.append(_draw_reorderings)
    looks = style.series_of([one.network for one in patients])
    with style.house_style():
        figure, every = style.new_figure(
            len(panels),
            width=[6.4, 9.6, 12.4][len(panels) - 1],
            height=4.3,
            sharey=True,
            width_ratios=[1.5, 1, 1][: len(panels)],
        )
        for axes, draw in zip(every, panels, strict=True):
            for one, look in zip(patients, looks, strict=True):
                axes.axhline(
                    100 * one.accuracy, color=look.color, linestyle=":", lw=1.2
                )
                draw(axes, one, look)
            chance = max(one.chance for one in patients)
            axes.axhline(100 * chance, color=style.GREY, linewidth=0.9)
        first = every[0]
        first.annotate(
            "chance",
            (0, 100 * chance),
            xycoords=first.get_yaxis_transform(),
            xytext=(4, -10),  # below the line, where accuracies seldom are
            textcoords="offset points",
            size=8.5,
            color=style.GREY,
        )
        first.set(title="One block deleted", ylabel="images right (%)", xlabel="block")
        first.set_ylim(0, 102)
        _name_blocks(first, patients)
        first.legend(loc="best")
        style.title(figure, "What the network knows after a lesion")
        notes = {images_note(one.images, one.training) for one in patients}
        note = f"Measured on {notes.pop()}." if len(notes) == 1 else ""
        style.caption(
            figure,
            "Dotted: the whole network. Hollow: what stays of the block is no "
            f"identity. {note}".rstrip(),
        )
    return figure


def _draw_deletions(axes: Axes, one: Lesions, look: style.Series) -> None:
    places = np.arange(1, len(one.rows) + 1)
    percent = np.array([100 * row.accuracy for row in one.rows])
    keywords = {**look.keywords(1), "linewidth": 1.2, "label": one.network}
    axes.plot(places, percent, **keywords)
    hollow = np.array([row.stays != "identity" for row in one.rows])
    axes.plot(
        places[hollow],
        percent[hollow],
        look.marker,
        color=look.color,
        markerfacecolor="white",
        markeredgewidth=1.4,
        markersize=6,
    )


def _draw_removals(axes: Axes, one: Lesions, look: style.Series) -> None:
    counts = [row.removed for row in one.removals]
    low = [100 * row.accuracy_low for row in one.removals]
    high = [100 * row.accuracy_high for row in one.removals]
    mean = [100 * row.accuracy for row in one.removals]
    axes.fill_between(counts, low, high, color=style.tint(look.color, 0.25), lw=0)
    axes.plot(counts, mean, **look.keywords(len(counts)))
    axes.set(title="Several removed at random", xlabel="blocks removed, mean and range")
    _count(axes)


def _draw_reorderings(axes: Axes, one: Lesions, look: style.Series) -> None:
    axes.plot(1, 100 * one.accuracy, look.marker, color=look.color)
    taus = [row.kendall_tau for row in _orders(one)]
    right = [100 * row.accuracy for row in _orders(one)]
    axes.plot(taus, right, look.marker, color=look.color, alpha=0.8)
    axes.set(
        title="Blocks in another order",
        xlabel="Kendall's rank correlation with the true order",
    )
    if not axes.xaxis_inverted():
        axes.invert_xaxis()  # the further to the right, the more is out of order


def _orders(one: Lesions) -> list[ReorderingRow]:
    return [*one.swaps, *one.reorderings]


def _name_blocks(axes: Axes, patients: Sequence[Lesions]) -> None:
    """Name the blocks, if all networks have the same ones; number them, if not."""
    names = [row.name for row in patients[0].rows]
    if any([row.name for row in one.rows] != names for one in patients):
        _count(axes)
        return
    every = -(-len(names) // _LABELS)
    shown = range(0, len(names), every)
    labels = [names[i].removeprefix("layer") for i in shown]
    rotation = 90 if max(map(len, labels)) > 4 else 0
    axes.set_xticks([i + 1 for i in shown], labels, rotation=rotation)
    axes.set_xlabel("block: stage.number")


def _count(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
