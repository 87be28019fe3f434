"""Activations behind every ReLU, from the images to the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.lens.shared.passes import batch_note
from npresnet.plots import style
from npresnet.plots.stages import stage_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from npresnet.lens.activations.result import Activations

_DEVIATION = style.Series(style.BLUE, "-", "o").keywords
_MEAN = style.Series(style.VERMILION, "--", "s").keywords
_ZEROS: Any = {"color": style.tint(style.BLUE, 0.35)}
_DEAD: Any = {"color": style.VERMILION, "hatch": "///", "edgecolor": "white"}


def activations(result: Activations) -> Figure:
    """Draw sizes above, and what is closed below.

    Parameters
    ----------
    result : Activations
        ReLUs are drawn, in the order of the forward pass; what stands before the first
        dot of a name, as in ``layer1.0.relu#1``, is the stage.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no ReLU.
    """
    rows = [row for row in result.rows if row.zeros is not None]
    if not rows:
        raise ValueError("rows: there is no ReLU to draw")
    names = [row.name for row in rows]
    zeros = [100 * (row.zeros or 0.0) for row in rows]
    dead = [100 * (row.dead_share or 0.0) for row in rows]
    at = np.arange(len(names))
    points = len(names)
    with style.house_style():
        figure, (upper, lower) = style.new_figure(
            1, width=7.5, height=5.6, rows=2, sharex=True
        )
        deviations = [row.deviation for row in rows]
        upper.plot(at, deviations, label="standard deviation", **_DEVIATION(points))
        means = [row.mean for row in rows]
        upper.plot(at, means, label="mean", **_MEAN(points))
        upper.set_ylabel("activation")
        upper.set_ylim(bottom=0)
        upper.legend()
        lower.bar(at, zeros, 0.85, label="zeros", **_ZEROS)
        lower.bar(at, dead, 0.85, label="dead channels", **_DEAD)
        lower.set_ylabel("share (%)")
        lower.set_ylim(0, 100)
        lower.legend()
        stage_axis(
            (upper, lower), names, f"{points} ReLUs, from the images to the logits"
        )
        figure.align_ylabels(np.array((upper, lower)))
        style.title(figure, "Activations behind every ReLU")
        subject = f"{result.network}, {batch_note(result.images, result.training)}"
        upper.set_title(subject, size=9.5, weight="normal")
        style.caption(
            figure,
            "Zeros: share of all activations. Dead: share of the channels that are "
            "zero at every pixel\nof every image.",
        )
    return figure
