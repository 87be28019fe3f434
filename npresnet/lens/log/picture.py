"""What an instrument read at several moments of a training run, as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

_LABELS = 20  # as many rows are labelled, evenly spread
_DECADES = 6.0  # a logarithmic colour scale ends so far below its top


@dataclass(frozen=True)
class Panel:
    """One heat map: a row per block or path length, a column per moment.

    Attributes
    ----------
    title : str
        What is shown.
    values : ndarray of shape (rows, moments)
        NaN where there is none; row 0 is drawn at the top.
    unit : str
        Label of the colour bar.
    scale : {"linear", "log"}
        Of the colours.
    """

    title: str
    values: NDArray[np.floating[Any]]
    unit: str
    scale: Literal["linear", "log"] = "linear"


def over_time(
    panels: Sequence[Panel],
    moments: Sequence[int],
    unit: str,
    rows: Sequence[str],
    subject: str,
    row_unit: str = "",
) -> Figure:
    """Draw heat maps side by side: time to the right, one row per name downwards.

    Parameters
    ----------
    panels : sequence of Panel
        What to draw.
    moments : sequence of int
        When the readings were taken, rising.
    unit : str
        What moments count: ``"step"`` or ``"epoch"``.
    rows : sequence of str
        Names of the panels' rows.
    subject : str
        What network, on what batch.
    row_unit : str
        What the rows' names count, if they count something.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is nothing to draw, or values are not one per row and moment.
    """
    if not panels or not moments:
        raise ValueError("panels, moments: expected at least one of each")
    for panel in panels:
        if panel.values.shape != (len(rows), len(moments)):
            raise ValueError(
                f"{panel.title}: expected values of shape ({len(rows)}, "
                f"{len(moments)}), got {panel.values.shape}"
            )
    height = min(8.5, max(3.4, 1.6 + 0.22 * len(rows)))
    with style.house_style():
        figure, every = style.new_figure(
            len(panels), width=1.2 + 3.6 * len(panels), height=height, sharey=True
        )
        for axes, panel in zip(every, panels, strict=True):
            mesh = axes.pcolormesh(
                _edges(moments),
                np.arange(len(rows) + 1) - 0.5,
                panel.values,
                cmap=style.SEQUENTIAL,
                norm=_colours(panel),
                rasterized=True,
            )
            figure.colorbar(mesh, ax=axes, label=panel.unit, pad=0.02)
            axes.set_title(panel.title)
            axes.set_xlabel(unit)
            axes.grid(visible=False)
        _name_rows(every[0], rows)
        every[0].set_ylabel(row_unit)
        style.title(figure, subject)
    return figure


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    every = -(-len(rows) // _LABELS)
    shown = range(0, len(rows), every)
    axes.set_yticks(list(shown), [rows[i] for i in shown])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _edges(moments: Sequence[int]) -> NDArray[np.float64]:
    """Put each moment into a cell that ends halfway to its neighbours."""
    at = np.asarray(moments, float)
    if len(at) == 1:
        return np.array([at[0] - 0.5, at[0] + 0.5])
    between = (at[1:] + at[:-1]) / 2
    first, last = at[0] - (between[0] - at[0]), at[-1] + (at[-1] - between[-1])
    return np.array([first, *between, last])


def _colours(panel: Panel) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    values = panel.values[np.isfinite(panel.values)]
    if panel.scale == "log":
        values = values[values > 0]
    if not len(values):
        return Normalize(0, 1)
    low, high = float(values.min()), float(values.max())
    if panel.scale == "log":
        return LogNorm(max(low, high / 10**_DECADES), high)
    return Normalize(min(low, 0.0), high)
