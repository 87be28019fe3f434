"""The ladder: how fast one operation runs, written in one way after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.plots import style

if TYPE_CHECKING:
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
    left = 10 ** _floor_of_log(min(speeds))
    right = 12 * max(*speeds, peak)  # room for the labels
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=9.0, height=1.6 + 0.42 * len(rungs))
        for kind, (label, look) in _KINDS.items():
            of_kind = [i for i, other in enumerate(kinds) if other == kind]
            if of_kind:
                widths = [speeds[i] - left for i in of_kind]
                axes.barh(of_kind, widths, 0.66, left, label=label, zorder=2, **look)
        axes.axvline(peak, color=style.VERMILION, linestyle="--", zorder=3)
        axes.annotate(
            f"measured peak\n{_digits(peak)} GFLOP/s",
            (peak, -0.62),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=style.VERMILION,
        )
        for i, speed in enumerate(speeds):
            axes.annotate(
                f"{_digits(speed)} GFLOP/s, {_digits(100 * speed / peak, 2)} %",
                (speed, i),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
        axes.set_xscale("log")
        axes.set_xlim(left, right)
        axes.set_ylim(len(rungs) - 0.5, -1.1)
        axes.set_yticks(range(len(rungs)), [name for name, _ in rungs])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("GFLOP/s (operations of direct convolution), and share of peak")
        figure.suptitle(subject, x=0.01, ha="left", fontsize=11, fontweight="bold")
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
        if path is not None:
            style.save(figure, path)
    return figure


def _floor_of_log(value: float) -> int:
    import math

    return math.floor(math.log10(value))


def _digits(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, and never with an exponent."""
    whole = f"{value:.0f}"
    return whole if len(whole) >= digits else f"{value:.{digits}g}"
