"""A program's memory: which array lies where in the arena, and how much is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MIB = 2**20
_SHADE = "#E8EBEE"

# For kinds in their order: of other lightness, and hatched in other ways, so that they
# differ in grey as well.
_LOOKS: tuple[dict[str, Any], ...] = (
    {"facecolor": style.BLUE, "hatch": ""},
    {"facecolor": style.tint(style.SKY_BLUE, 0.55), "hatch": "...."},
    {"facecolor": style.ORANGE, "hatch": "////"},
    {"facecolor": "#E6E6E6", "hatch": "xxxx"},
)

Area = tuple[str, str, int, int, int, int]
Section = tuple[str, int, int]


def program_memory(
    areas: Sequence[Area],
    kinds: Sequence[str],
    sections: Sequence[Section],
    arena: int,
    layered: Sequence[int],
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw an arena over the lines of a program, and below how much of it is needed.

    Parameters
    ----------
    areas : sequence of (str, str, int, int, int, int)
        What lies in the arena: name, kind, the first and the last line that need it,
        where it begins, and its bytes.
    kinds : sequence of str
        What areas may be there for, at most four; below, they are stacked in this
        order.
    sections : sequence of (str, int, int)
        Parts of the program: name, first line, and the line behind the last.
    arena : int
        Bytes of the arena.
    layered : sequence of int
        Bytes that the layers' own passes need at every line.
    subject : str
        Which program it is.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If nothing lies in the arena, or an area's kind is none of the kinds.
    """
    if not areas or len(kinds) > len(_LOOKS):
        raise ValueError(
            f"areas, kinds: expected at least one area of at most {len(_LOOKS)} kinds, "
            f"got {len(areas)} of {len(kinds)}"
        )
    if others := {area[1] for area in areas} - set(kinds):
        raise ValueError(f"kind: expected one of {', '.join(kinds)}, got {min(others)}")
    living = {kind: _living(areas, kind, len(layered)) for kind in kinds}
    needed = np.sum(list(living.values()), axis=0)
    with style.house_style():
        figure, axes = style.new_figure(
            1, rows=2, width=8.5, height=7.4, sharex=True, height_ratios=[3, 2]
        )
        places, amounts = axes
        with style.matplotlib().rc_context({"hatch.linewidth": 0.5}):
            _draw_places(places, areas, kinds)
            _draw_amounts(amounts, living, arena, layered, needed)
            _mark_peak(axes, needed)
        for one in axes:
            one.grid(visible=False, axis="x")
            one.yaxis.set_major_formatter(lambda size, _: f"{size / _MIB:,.0f}")
            one.yaxis.set_major_locator(_whole_mib())
        unnamed = _shade(axes, sections)
        places.set(ylim=(0, 1.09 * arena), ylabel="offset in the arena, MiB")
        places.set_title("What lies where, and from which line to which")
        amounts.set_ylim(0, 1.04 * max(arena, *layered))
        shaded = f" (shaded: {', '.join(unnamed)})" if unnamed else ""
        amounts.set(ylabel="needed, MiB", xlabel=f"line of the program{shaded}")
        amounts.set_title("How much is needed at a line")
        amounts.set_xlim(-0.5, len(layered) - 0.5)
        figure.legend(loc="outside lower left", ncols=2, fontsize=9)
        style.title(figure, subject)
        if path is not None:
            style.save(figure, path)
    return figure


def _living(areas: Sequence[Area], kind: str, lines: int) -> NDArray[np.int64]:
    """Count the bytes of a kind that are needed at each line."""
    living = np.zeros(lines, np.int64)
    for _, own, first, last, _, size in areas:
        if own == kind:
            living[first : last + 1] += size
    return living


def _draw_places(axes: Axes, areas: Sequence[Area], kinds: Sequence[str]) -> None:
    """Draw a rectangle for each area; one collection per kind is quick to draw."""
    from matplotlib.collections import PolyCollection

    for kind, look in zip(kinds, _LOOKS, strict=False):
        corners = [
            [
                (first - 0.5, begin),
                (last + 0.5, begin),
                (last + 0.5, begin + size),
                (first - 0.5, begin + size),
            ]
            for _, own, first, last, begin, size in areas
            if own == kind
        ]
        if corners:
            edges: dict[str, Any] = {"edgecolor": style.TICKS, "linewidth": 0.3}
            drawn = PolyCollection(corners, label=kind, zorder=2, **edges, **look)
            drawn.set_gid(kind)
            axes.add_collection(drawn, autolim=False)


def _draw_amounts(
    axes: Axes,
    living: dict[str, NDArray[np.int64]],
    arena: int,
    layered: Sequence[int],
    needed: NDArray[np.int64],
) -> None:
    """Stack what is needed by kind; what it is compared with are lines."""
    x = np.arange(len(layered) + 1) - 0.5
    below = np.zeros(len(layered) + 1)
    for (kind, sizes), look in zip(living.items(), _LOOKS, strict=False):
        if not sizes.any():
            continue
        above = below + np.append(sizes, sizes[-1])
        axes.fill_between(
            x, below, above, step="post", linewidth=0.3, edgecolor=style.TICKS, **look
        ).set_gid(kind)
        below = above
    axes.stairs(
        layered,
        x,
        baseline=None,
        color=style.VERMILION,
        linestyle="-",
        linewidth=1.6,
        label=f"layers one by one, without scratch: up to {_mib(max(layered))}",
    )
    most = int(needed.max())
    for size, text, dashes in (
        (arena, "the arena", "--"),
        (most, "most at once, below which no plan can be", ":"),
    ):
        label = f"{text}: {_mib(size)}"
        axes.axhline(size, color=style.BLACK, ls=dashes, linewidth=1.4, label=label)


def _mark_peak(every: Sequence[Axes], needed: NDArray[np.int64]) -> None:
    """Draw a line through both axes where most is needed, and say which it is."""
    line = int(needed.argmax())
    for axes in every:
        axes.axvline(line, color=style.PURPLE, linewidth=1.4, zorder=3)
    left = line > len(needed) / 2
    every[1].annotate(
        f"line {line}: {_mib(int(needed[line]))}",
        (line, 0),
        xytext=(-6 if left else 6, 6),
        textcoords="offset points",
        ha="right" if left else "left",
        bbox={"facecolor": "white", "edgecolor": style.PURPLE, "pad": 2.0},
        fontsize=9,
        zorder=4,
    )


def _shade(every: Sequence[Axes], sections: Sequence[Section]) -> list[str]:
    """Shade every other part of the program; return the names that have no room."""
    unnamed = []
    filled = [section for section in sections if section[2] > section[1]]
    lines = filled[-1][2] if filled else 0
    for number, (name, first, end) in enumerate(filled):
        if number % 2:
            for axes in every:
                axes.axvspan(first - 0.5, end - 0.5, color=_SHADE, zorder=0)
        if (end - first) / lines > 0.02 * len(name):
            every[0].text(
                (first + end - 1) / 2,
                0.99,
                name,
                transform=every[0].get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
                zorder=4,
            )
        elif number % 2:
            unnamed.append(name)
    return unnamed


def _whole_mib() -> Any:
    """Return what puts ticks at round numbers of MiB."""
    from matplotlib.ticker import MaxNLocator

    class Locator(MaxNLocator):
        def tick_values(self, low: float, high: float) -> Any:
            return _MIB * np.array(super().tick_values(low / _MIB, high / _MIB))

    return Locator(nbins=6, steps=[1, 2, 2.5, 5, 10])


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f} MiB"
