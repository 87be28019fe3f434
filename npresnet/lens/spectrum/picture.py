"""The path-length spectrum: which paths the gradient took, against which there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npresnet.lens.shared.passes import batch_note
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.spectrum.result import Spectrum

_DECADES = 12  # of norms to show below the largest


def path_lengths(spectra: Sequence[Spectrum], names: Sequence[str] = ()) -> Figure:
    """Draw two distributions over path length, and the norms of the parts.

    Parameters
    ----------
    spectra : sequence of Spectrum
        Drawn side by side, on the same scales.
    names : sequence of str
        What to call each of them; by default its network.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there are none, or not as many names.
    """
    if not spectra:
        raise ValueError("spectra: expected one or more, got none")
    names = names or [one.network for one in spectra]
    columns = len(spectra)
    with style.house_style():
        figure, axes = style.new_figure(
            columns,
            width=7.5 if columns == 1 else 2.0 + 4.2 * columns,
            height=6.6 if columns == 1 else 5.4,
            rows=2,
            sharex="col",
            sharey="row",
            height_ratios=[3, 2],
        )
        for one, name, upper, lower in zip(
            spectra, names, axes[:columns], axes[columns:], strict=True
        ):
            _draw_shares(upper, one)
            subject = f"{name}, {batch_note(one.images, one.training)}"
            upper.set_title(subject, size=9.5, weight="normal")
            _draw_norms(lower, one)
        # Axes of a row share their limits, so these come after all bars.
        shares = np.concatenate([one.shares for one in spectra])
        if shares.min() > -0.01 * shares.max():  # less would not be seen
            axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("share (%)")
        what = "what crossed k branches"
        if columns == 1:
            axes[0].legend(loc="best", title=what)
        else:  # bars and steps leave no room in narrow axes
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right upper", title=what)
        known = np.concatenate([one.norms[one.norms > 0] for one in spectra])
        if known.size:
            top = float(known.max())
            axes[columns].set_yscale("log")
            bottom = max(known.min() / 3, top / 10.0**_DECADES)
            axes[columns].set_ylim(bottom, 3 * top)
        axes[columns].set_ylabel("norm of the part")
        style.title(figure, "Path lengths of the gradient")
        style.caption(
            figure,
            "A part's share is its scalar product with the whole gradient, divided by "
            "the gradient's\nwith itself: the bars add up to 100 %. Dotted: means.",
        )
    return figure


def _draw_shares(axes: Axes, one: Spectrum) -> None:
    k = np.arange(len(one.paths))
    everything = sum(one.paths)
    of_paths = np.array([count / everything for count in one.paths])
    axes.bar(
        k, 100 * one.shares, 0.82, color=style.BLUE, label="of the gradient", zorder=2
    )
    axes.stairs(
        100 * of_paths,
        np.arange(len(k) + 1) - 0.5,
        baseline=None,
        color=style.BLACK,
        linestyle="--",
        linewidth=1.4,
        label=f"of the {_count(everything)} path{'s' * (everything > 1)}",
        zorder=3,
    )
    means = [(float(one.shares @ k), style.BLUE), (float(of_paths @ k), style.BLACK)]
    for (mean, colour), side in zip(sorted(means), ("right", "left"), strict=True):
        axes.axvline(mean, color=colour, linestyle=":", linewidth=1.2, zorder=1)
        axes.annotate(
            f"mean {mean:.1f}",
            (mean, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-3 if side == "right" else 3, -2),
            textcoords="offset points",
            ha=side,
            va="top",
            size=8.5,
            color=colour,
        )
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.margins(y=0.12)  # room for the means


def _draw_norms(axes: Axes, one: Spectrum) -> None:
    from matplotlib.ticker import MaxNLocator

    k, known = np.arange(len(one.paths)), one.norms > 0
    axes.vlines(k[known], 0, one.norms[known], color=style.BLUE, linewidth=1.2)
    axes.plot(k[known], one.norms[known], style.SHORTCUT.marker, color=style.BLUE)
    axes.set_xlabel("residual branches crossed, k")
    axes.set_xlim(-0.8, len(k) - 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _count(number: int) -> str:
    """Write a number of paths, as a power of two where it is a large one."""
    if number > 9999 and number & (number - 1) == 0:
        return rf"$2^{{{number.bit_length() - 1}}}$"
    return f"{number:,}"
