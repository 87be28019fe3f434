"""What each layer of a network costs, in the order of the forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style
from npresnet.plots.stages import stage_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from npresnet.lens.cost.result import Cost


def costs(result: Cost) -> Figure:
    """Draw one row of bars per kind of cost, a bar per layer.

    Parameters
    ----------
    result : Cost
        What stands before the first dot of a layer's name, as in ``layer1.0.conv1``,
        is the stage.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no layer.
    """
    if not result.rows:
        raise ValueError("rows: there is no layer to draw")
    names = [row.name for row in result.rows]
    columns = _columns(result)
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
        shape = "x".join(map(str, result.input_shape))
        style.title(figure, f"What each layer costs, one image of {shape}")
    return figure


def _columns(result: Cost) -> dict[str, list[float]]:
    """Return what was counted, with its unit, and how much each layer takes of it."""
    columns: dict[str, list[float]] = {
        "parameters": [row.parameters for row in result.rows],
        "MACs": [row.macs for row in result.rows],
        "outputs (bytes)": [row.output_bytes for row in result.rows],
    }
    if result.kept_bytes is not None:
        columns["kept (bytes)"] = [row.kept_bytes or 0 for row in result.rows]
    if result.seconds is not None:
        columns["time (s)"] = [row.seconds or 0.0 for row in result.rows]
    if result.backward_seconds is not None:
        seconds = [row.backward_seconds or 0.0 for row in result.rows]
        columns["backward (s)"] = seconds
    if result.peak is not None:
        shares = [100 * (row.peak_share or 0.0) for row in result.rows]
        columns["of peak (%)"] = shares
    return columns
