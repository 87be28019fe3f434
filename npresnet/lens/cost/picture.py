"""What each layer of a network costs, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style
from npresnet.plots.stages import stage_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def costs(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw one row of bars per kind of cost, a bar per layer.

    Parameters
    ----------
    names : sequence of str
        The layers, as in ``layer1.0.conv1``: what stands before the first dot is the
        stage.
    columns : mapping of str to sequence of float
        What is counted, with its unit, and how much each layer takes of it.
    subject : str
        What was looked at.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no layer, or not one number for each.
    """
    if not names or not columns:
        raise ValueError("names, columns: expected at least one of each")
    for title, values in columns.items():
        if len(values) != len(names):
            raise ValueError(
                f"{title}: expected {len(names)} numbers, one per layer, got "
                f"{len(values)}"
            )
    from matplotlib.ticker import EngFormatter

    with style.house_style():
        figure, every = style.new_figure(
            1,
            width=9.0,
            height=0.9 + 1.5 * len(columns),
            rows=len(columns),
            sharex=True,
        )
        for axes, (title, values) in zip(every, columns.items(), strict=True):
            axes.bar(range(len(names)), values, 0.85, color=style.BLUE)
            axes.set_ylabel(title)
            axes.yaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
        label = f"{len(names)} layers, from the images to the logits"
        stage_axis(every, names, label)
        figure.align_ylabels(np.array(every))
        style.title(figure, subject)
        if path is not None:
            style.save(figure, path)
    return figure
