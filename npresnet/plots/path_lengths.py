"""The path-length spectrum: which paths the gradient took, against which there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADES = 12  # of norms to show below the largest


def path_lengths(
    paths: Sequence[int],
    norms: NDArray[np.floating[Any]],
    shares: NDArray[np.floating[Any]],
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw two distributions over path length, and the norms of the parts.

    Parameters
    ----------
    paths : sequence of int
        How many paths cross k branches, at index k.
    norms : ndarray of shape (len(paths),)
        Norms of the gradient's parts.
    shares : ndarray of shape (len(paths),)
        Shares of the parts in the gradient; they add up to 1.
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
        If the three are not of one length.
    """
    if not len(paths) == len(norms) == len(shares) or not len(paths):
        raise ValueError(
            f"paths, norms, shares: expected one length above 0, got {len(paths)}, "
            f"{len(norms)} and {len(shares)}"
        )
    from matplotlib.ticker import MaxNLocator

    k = np.arange(len(paths))
    everything = sum(paths)
    of_paths = np.array([count / everything for count in paths])
    with style.house_style():
        figure, (upper, lower) = style.new_figure(
            1, width=7.5, height=6.6, rows=2, sharex=True, height_ratios=[3, 2]
        )
        upper.bar(
            k, 100 * shares, 0.82, color=style.BLUE, label="of the gradient", zorder=2
        )
        upper.stairs(
            100 * of_paths,
            np.arange(len(paths) + 1) - 0.5,
            baseline=None,
            color=style.BLACK,
            linestyle="--",
            linewidth=1.4,
            label=f"of the {_count(everything)} path{'s' * (everything > 1)}",
            zorder=3,
        )
        means = [(float(shares @ k), style.BLUE), (float(of_paths @ k), style.BLACK)]
        for (mean, colour), side in zip(sorted(means), ("right", "left"), strict=True):
            upper.axvline(mean, color=colour, linestyle=":", linewidth=1.2, zorder=1)
            upper.annotate(
                f"mean {mean:.1f}",
                (mean, 1),
                xycoords=upper.get_xaxis_transform(),
                xytext=(-3 if side == "right" else 3, -2),
                textcoords="offset points",
                ha=side,
                va="top",
                size=8.5,
                color=colour,
            )
        upper.axhline(0, color=style.GREY, linewidth=0.8)
        upper.margins(y=0.12)  # room for the means
        if shares.min() > -0.001:  # less would not be seen
            upper.set_ylim(bottom=0)
        upper.set_ylabel("share (%)")
        upper.legend(loc="best", title="what crossed k branches")

        known = norms > 0
        lower.vlines(k[known], 0, norms[known], color=style.BLUE, linewidth=1.2)
        lower.plot(k[known], norms[known], style.SHORTCUT.marker, color=style.BLUE)
        if known.any():
            top = float(norms.max())
            lower.set_yscale("log")
            lower.set_ylim(max(norms[known].min() / 3, top / 10.0**_DECADES), 3 * top)
        lower.set_ylabel("norm of the part")
        lower.set_xlabel("residual branches crossed, k")
        lower.set_xlim(-0.8, len(paths) - 0.2)
        lower.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        style.title(figure, "Path lengths of the gradient")
        style.caption(
            figure,
            "A part's share is its scalar product with the whole gradient, divided by "
            "the gradient's\nwith itself: the bars add up to 100 %. Dotted: means.",
        )
        upper.set_title(subject, size=9.5, weight="normal")
        if path is not None:
            style.save(figure, path)
    return figure


def _count(number: int) -> str:
    """Write a number of paths, as a power of two where it is a large one."""
    if number > 9999 and number & (number - 1) == 0:
        return rf"$2^{{{number.bit_length() - 1}}}$"
    return f"{number:,}"
