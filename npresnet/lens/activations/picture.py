"""Activations behind every ReLU, from the images to the logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.plots import style
from npresnet.plots.stages import stage_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEVIATION = style.Series(style.BLUE, "-", "o").keywords
_MEAN = style.Series(style.VERMILION, "--", "s").keywords
_ZEROS: Any = {"color": style.tint(style.BLUE, 0.35)}
_DEAD: Any = {"color": style.VERMILION, "hatch": "///", "edgecolor": "white"}


def activations(
    names: Sequence[str],
    means: Sequence[float],
    deviations: Sequence[float],
    zeros: Sequence[float],
    dead: Sequence[float],
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw sizes above, and what is closed below.

    Parameters
    ----------
    names : sequence of str
        ReLUs in the order of the forward pass, as in ``layer1.0.relu#1``: what stands
        before the first dot is the stage.
    means, deviations : sequence of float
        Of their outputs.
    zeros, dead : sequence of float
        Shares of the outputs that are zero, and of the channels that always are.
    subject : str
        What network, on what batch.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no ReLU, or not one number for each.
    """
    columns = (means, deviations, zeros, dead)
    if not names or any(len(column) != len(names) for column in columns):
        raise ValueError(
            f"names, means, deviations, zeros, dead: expected one length above 0, got "
            f"{len(names)}, {', '.join(str(len(column)) for column in columns)}"
        )
    at = np.arange(len(names))
    points = len(names)
    with style.house_style():
        figure, (upper, lower) = style.new_figure(
            1, width=7.5, height=5.6, rows=2, sharex=True
        )
        upper.plot(at, deviations, label="standard deviation", **_DEVIATION(points))
        upper.plot(at, means, label="mean", **_MEAN(points))
        upper.set_ylabel("activation")
        upper.set_ylim(bottom=0)
        upper.legend()
        lower.bar(at, 100 * np.asarray(zeros), 0.85, label="zeros", **_ZEROS)
        lower.bar(at, 100 * np.asarray(dead), 0.85, label="dead channels", **_DEAD)
        lower.set_ylabel("share (%)")
        lower.set_ylim(0, 100)
        lower.legend()
        stage_axis(
            (upper, lower), names, f"{points} ReLUs, from the images to the logits"
        )
        figure.align_ylabels(np.array((upper, lower)))
        style.title(figure, "Activations behind every ReLU")
        upper.set_title(subject, size=9.5, weight="normal")
        style.caption(
            figure,
            "Zeros: share of all activations. Dead: share of the channels that are "
            "zero at every pixel\nof every image.",
        )
        if path is not None:
            style.save(figure, path)
    return figure
