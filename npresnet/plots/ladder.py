"""The ladder: how fast one operation runs, written in one way after another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Light, dark and hatched: the kinds differ in grey as well.
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "teaching": ("written to teach", {"color": style.SKY_BLUE}),
    "package": ("npresnet", {"color": style.BLUE}),
    "torch": (
        "PyTorch",
        {"facecolor": "white", "edgecolor": style.BLACK, "hatch": "///"},
    ),
}


def ladder(
    rungs: Sequence[tuple[str, float]],
    kinds: Sequence[str],
    peak: float,
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw one bar per rung on a logarithmic axis, and the machine's peak as a line.

    Parameters
    ----------
    rungs : sequence of (str, float)
        Name and speed of every rung in GFLOP/s, from the top of the picture down.
    kinds : sequence of {"teaching", "package", "torch"}
        Whose code each rung is.
    peak : float
        What the machine reaches at best, in GFLOP/s.
    subject : str
        What was computed, and on what.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no rung, or not one kind for each.
    """
    if not rungs or len(kinds) != len(rungs):
        raise ValueError(
            f"kinds: expected one for each of at least one rung, got {len(kinds)} for "
            f"{len(rungs)} rungs"
        )
    speeds = [speed for _, speed in rungs]
    left = 10.0 ** math.floor(math.log10(min(speeds)))
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=9.0, height=1.5 + 0.4 * len(rungs))
        for kind, (label, look) in _KINDS.items():
            of_kind = [i for i, other in enumerate(kinds) if other == kind]
            if of_kind:
                widths = [speeds[i] - left for i in of_kind]
                axes.barh(of_kind, widths, 0.68, left, label=label, zorder=2, **look)
        axes.axvline(
            peak, color="white", linewidth=4, zorder=3
        )  # sets it off from bars
        axes.axvline(peak, color=style.VERMILION, linestyle="--", zorder=3)
        axes.annotate(
            f"measured peak: {_digits(peak)} GFLOP/s",
            (peak, -0.75),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=style.VERMILION,
        )
        # The figures stand in two columns beside the bars, like a table's.
        _write(axes, -0.75, "GFLOP/s", "of peak", weight="bold")
        for i, speed in enumerate(speeds):
            _write(axes, i, _digits(speed), f"{_digits(100 * speed / peak, 2)} %")
        axes.set_xscale("log")
        axes.set_xlim(left, 1.5 * max(*speeds, peak))
        axes.set_ylim(len(rungs) - 0.5, -1.15)
        axes.set_yticks(range(len(rungs)), [name for name, _ in rungs])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("GFLOP/s, operations counted as those of direct convolution")
        figure.suptitle(subject, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.legend(loc="outside lower right", ncols=len(_KINDS))
        if path is not None:
            style.save(figure, path)
    return figure


def _write(axes: Axes, row: float, *columns: str, **keywords: Any) -> None:
    """Write right-aligned columns to the right of the axes."""
    for column, text in enumerate(columns):
        axes.annotate(
            text,
            (1, row),
            xycoords=axes.get_yaxis_transform(),
            xytext=(64 + 66 * column, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            **keywords,
        )


def _digits(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, and never with an exponent."""
    whole = f"{value:.0f}"
    return whole if len(whole) >= digits else f"{value:.{digits}g}"
