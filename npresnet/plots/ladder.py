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
    """Draw the speed of every rung on a logarithmic axis, and its share of the peak.

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
    speeds = [value for _, value in rungs]
    shares = [100 * value / peak for value in speeds]
    least = 10.0 ** math.floor(math.log10(min(speeds)))
    with style.house_style():
        height = 1.6 + 0.36 * len(rungs)
        figure, (speed, share) = style.new_figure(2, width=11.0, height=height)
        _bars(speed, speeds, kinds, least, [_digits(value) for value in speeds])
        _bars(share, shares, kinds, 0, [f"{_digits(value, 2)} %" for value in shares])
        # Room at the right for what is written beside the longest bar.
        speed.set(xscale="log", xlim=(least, 8 * max(*speeds, peak)))
        share.set_xlim(0, 1.2 * max(*shares, 100))
        speed.set_title("GFLOP/s, logarithmic")
        share.set_title("% of the measured peak")
        for axes, place in ((speed, peak), (share, 100)):
            axes.axvline(place, color=style.VERMILION, linestyle="--", zorder=3)
        _write(
            share, 100, -0.85, f"peak: {_digits(peak)} GFLOP/s", color=style.VERMILION
        )
        speed.set_yticks(range(len(rungs)), [name for name, _ in rungs])
        share.set_yticks([])
        speed.xaxis.set_major_formatter("{x:g}")
        speed.tick_params(axis="y", length=0)
        figure.suptitle(subject, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.legend(loc="outside lower right", ncols=len(_KINDS))
        if path is not None:
            style.save(figure, path)
    return figure


def _bars(
    axes: Axes,
    values: Sequence[float],
    kinds: Sequence[str],
    left: float,
    texts: Sequence[str],
) -> None:
    """Draw a bar for each value, in the look of its kind, with a text behind it."""
    labelled = left > 0  # one legend is enough
    for kind, (label, look) in _KINDS.items():
        rows = [row for row, other in enumerate(kinds) if other == kind]
        if rows:
            widths = [values[row] - left for row in rows]
            name = label if labelled else None
            axes.barh(rows, widths, 0.68, left, label=name, zorder=2, **look)
    for row, (value, text) in enumerate(zip(values, texts, strict=True)):
        _write(axes, value, row, text)
    axes.set_ylim(len(values) - 0.4, -1.3)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write to the right of a place, so that lines behind do not show through."""
    axes.annotate(
        text,
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        zorder=4,
        **look,
    )


def _digits(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, and never with an exponent."""
    whole = f"{value:.0f}"
    return whole if len(whole) >= digits else f"{value:.{digits}g}"
