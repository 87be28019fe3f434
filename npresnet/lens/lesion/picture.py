"""What a network still gets right after each lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELS = 18  # as many blocks are named, evenly spread


@dataclass(frozen=True)
class Patient:
    """One network's accuracies, from 0 to 1, after lesions of three kinds.

    Attributes
    ----------
    subject : str
        Its name in the legend.
    whole, chance : float
        Accuracy of the whole network, and of a constant answer.
    blocks : sequence of str
        Names of the blocks.
    deleted : sequence of float
        With each of them deleted.
    reshaping : sequence of bool
        Whether each changes the shape, so that more than the identity stays.
    removed : sequence of int
        Numbers of random blocks removed at once.
    mean, low, high : sequence of float
        Over the draws, for each of these numbers.
    taus, reordered : sequence of float
        Kendall's rank correlation of new orders with the old one; accuracies.
    """

    subject: str
    whole: float
    chance: float
    blocks: Sequence[str]
    deleted: Sequence[float]
    reshaping: Sequence[bool]
    removed: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    taus: Sequence[float]
    reordered: Sequence[float]


def lesions(
    patients: Sequence[Patient], note: str = "", path: str | Path | None = None
) -> Figure:
    """Draw one panel per kind of lesion, and in each all the networks.

    Parameters
    ----------
    patients : sequence of Patient
        What to draw; kinds of lesions that none of them has get no panel.
    note : str
        What it was measured on, for the caption.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no network, or one has not one number per block.
    """
    if not patients:
        raise ValueError("patients: expected at least one network, got none")
    for one in patients:
        if not len(one.blocks) == len(one.deleted) == len(one.reshaping):
            raise ValueError(
                f"{one.subject}: expected {len(one.blocks)} numbers, one per block, "
                f"got {len(one.deleted)} and {len(one.reshaping)}"
            )
    panels = [_draw_deletions]
    if any(one.removed for one in patients):
        panels.append(_draw_removals)
    if any(one.taus for one in patients):
        panels.append(_draw_reorderings)
    looks = style.series_of([one.subject for one in patients])
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
                axes.axhline(100 * one.whole, color=look.color, linestyle=":", lw=1.2)
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
        style.caption(
            figure,
            "Dotted: the whole network. Hollow: what stays of the block is no "
            f"identity. {note}".rstrip(),
        )
        if path is not None:
            style.save(figure, path)
    return figure


def _draw_deletions(axes: Axes, one: Patient, look: style.Series) -> None:
    places = np.arange(1, len(one.blocks) + 1)
    percent = 100 * np.asarray(one.deleted)
    keywords = {**look.keywords(1), "linewidth": 1.2, "label": one.subject}
    axes.plot(places, percent, **keywords)
    hollow = np.asarray(one.reshaping, bool)
    axes.plot(
        places[hollow],
        percent[hollow],
        look.marker,
        color=look.color,
        markerfacecolor="white",
        markeredgewidth=1.4,
        markersize=6,
    )


def _draw_removals(axes: Axes, one: Patient, look: style.Series) -> None:
    low, high = 100 * np.asarray(one.low), 100 * np.asarray(one.high)
    axes.fill_between(one.removed, low, high, color=style.tint(look.color, 0.25), lw=0)
    keywords = look.keywords(len(one.removed))
    axes.plot(one.removed, 100 * np.asarray(one.mean), **keywords)
    axes.set(title="Several removed at random", xlabel="blocks removed, mean and range")
    _count(axes)


def _draw_reorderings(axes: Axes, one: Patient, look: style.Series) -> None:
    axes.plot(1, 100 * one.whole, look.marker, color=look.color)
    right = 100 * np.asarray(one.reordered)
    axes.plot(one.taus, right, look.marker, color=look.color, alpha=0.8)
    axes.set(
        title="Blocks in another order",
        xlabel="Kendall's rank correlation with the true order",
    )
    if not axes.xaxis_inverted():
        axes.invert_xaxis()  # the further to the right, the more is out of order


def _name_blocks(axes: Axes, patients: Sequence[Patient]) -> None:
    """Name the blocks, if all networks have the same ones; number them, if not."""
    names = list(patients[0].blocks)
    if any(list(one.blocks) != names for one in patients):
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
