"""Autocorrelation of gradients by distance, and how it changes with depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.shattered.result import Shattered

Array = NDArray[np.floating[Any]]


def autocorrelations(results: Sequence[Shattered]) -> Figure:
    """Draw autocorrelations by lag and, where depths differ, at lag 1 by depth.

    Parameters
    ----------
    results : sequence of Shattered
        Those of one or more networks.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is nothing to draw, or points or lags differ.
    """
    if len({(one.points, len(one.rows)) for one in results}) != 1:
        raise ValueError("beside: expected results of equally many points and lags")
    white = np.array([row.white for row in results[0].rows])
    brownian = np.array([row.brownian for row in results[0].rows])
    notes = {one.method() for one in results}
    note = notes.pop() if len(notes) == 1 else ""
    depths = sorted({one.layers for one in results})
    several = len(depths) > 1
    with style.house_style():
        figure, every = style.new_figure(
            1 + several, width=6.2 + 4.4 * several, height=4.6
        )
        _draw_lags(every[0], results, depths, white, brownian)
        if several:
            _draw_depths(every[1], results, float(white[1]), float(brownian[1]))
        style.title(figure, "Are the gradients at neighbouring images alike?")
        style.caption(figure, note if several else note.replace("; ", ";\n"))
    return figure


def _series(residual: bool) -> style.Series:
    return style.RESIDUAL if residual else style.PLAIN


def _draw_lags(
    axes: Axes,
    results: Sequence[Shattered],
    depths: Sequence[int],
    white: Array,
    brownian: Array,
) -> None:
    lags = np.arange(len(white))
    for name, values, lag, above in (
        ("Brownian motion", brownian, len(white) * 3 // 5, True),
        ("white noise", white, len(white) - 1, False),
    ):
        axes.plot(lags, values, color=style.BLACK, linestyle=":", linewidth=1.5)
        axes.annotate(
            name,
            (lag, values[lag]),
            xytext=(4, 4) if above else (0, -12),
            textcoords="offset points",
            ha="left" if above else "right",
            size=8.5,
        )
    labelled = set()
    for one in results:
        series = _series(one.residual)
        # The deeper, the stronger: by colour alone among networks of one kind, so
        # each curve has its depth written on it.
        strength = 0.45 + 0.55 * (depths.index(one.layers) + 1) / len(depths)
        kind = "residual" if one.residual else "plain"
        axes.plot(
            lags,
            one.autocorrelations,
            **{
                **series.keywords(len(lags)),
                "color": style.tint(series.color, strength),
                "markersize": 3.2,
            },
            label=None if kind in labelled else f"{kind} net",
        )
        labelled.add(kind)
    for text, lag, height, residual in _depth_labels(results):
        axes.annotate(
            text,
            (lag, height),
            ha="center",
            va="center",
            size=8,
            color=_series(residual).color,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"},
        )
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_ylim(bottom=min(axes.get_ylim()[0], -0.09))  # for a name
    axes.set_xlabel("steps between the two images (lag)")
    axes.set_ylabel("autocorrelation of the gradient")
    axes.set_title("By distance; the numbers are layers")
    axes.legend(loc="upper right")


def _depth_labels(results: Sequence[Shattered]) -> list[tuple[str, int, float, bool]]:
    """Place each depth on its curve: text, lag, height, and whose it is.

    Where curves have fallen far enough: not to the same height for both kinds, which
    would let their numbers collide. Curves of one kind that lie together share one.
    """
    labels: list[tuple[str, int, float, bool]] = []
    for one in sorted(results, key=lambda one: (one.residual, one.layers)):
        below = np.flatnonzero(one.autocorrelations < (0.52 if one.residual else 0.4))
        lag = int(below[0]) if len(below) else len(one.autocorrelations) * 3 // 4
        height, text = float(one.autocorrelations[lag]), str(one.layers)
        if labels:
            others, place, level, residual = labels[-1]
            if (residual, place) == (one.residual, lag) and abs(level - height) < 0.05:
                labels[-1] = (f"{others}, {text}", place, level, residual)
                continue
        labels.append((text, lag, height, one.residual))
    return labels


def _draw_depths(
    axes: Axes, results: Sequence[Shattered], white: float, brownian: float
) -> None:
    for residual in (True, False):
        points = sorted(
            (one.layers, float(one.autocorrelations[1]))
            for one in results
            if one.residual is residual
        )
        if points:
            layers, values = zip(*points, strict=True)
            series = _series(residual)
            name = "residual net" if residual else "plain net"
            axes.plot(layers, values, **series.keywords(1), label=name)
    for name, value, height in (
        ("Brownian motion", brownian, 3),
        ("white noise", white, -12),
    ):
        axes.axhline(value, color=style.BLACK, linestyle=":", linewidth=1.5)
        axes.annotate(
            name,
            (1, value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-2, height),
            ha="right",
            textcoords="offset points",
            size=8.5,
        )
    depths = sorted({one.layers for one in results})
    axes.set_xscale("log")
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.minorticks_off()
    axes.set_ylim(-0.12, 1.08)
    axes.set_xlabel("layers")
    axes.set_ylabel("autocorrelation at lag 1")
    axes.set_title("Next neighbours, by depth")
    axes.legend(loc="center left")
