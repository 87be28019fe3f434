"""One visual language for all pictures.

Colours are those of Okabe and Ito, which people with any of the common kinds of
colour blindness tell apart. Colour never speaks alone: every series has its own
line style and marker, so that pictures also read in grey.

References
----------
Okabe and Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Figure  # other rooms name it from here

BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#767676"
TICKS = "#333333"
GRID = "#DDDDDD"

_SETTINGS: Any = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": TICKS,
    "ytick.color": TICKS,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,  # long enough to show the dashes
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@dataclass(frozen=True)
class Series:
    """How a series looks wherever it appears: colour, line style and marker."""

    color: str
    linestyle: str
    marker: str

    def keywords(self, points: int) -> dict[str, Any]:
        """Return keywords for ``Axes.plot``; markers thin out on long series."""
        return {
            "color": self.color,
            "linestyle": self.linestyle,
            "marker": self.marker,
            "markevery": max(1, points // 15),
        }


TRAIN = Series(BLUE, "--", "o")
VALIDATION = Series(GREEN, "-.", "^")
TEST = Series(VERMILION, "-", "s")
NEUTRAL = Series(GREY, "-", "")

# Inside a block: what took the shortcut, what crossed the branch, what was stopped.
SHORTCUT = Series(BLUE, "-", "o")
BRANCH = Series(ORANGE, "--", "s")
STOPPED = Series(GREY, ":", "")
# Two networks side by side.
RESIDUAL = Series(BLUE, "-", "o")
PLAIN = Series(VERMILION, "--", "s")

# For more than two, told apart by colour, dashes and marker.
_OTHERS = (
    Series(GREEN, "-.", "^"),
    Series(PURPLE, ":", "D"),
    Series(SKY_BLUE, "-", "v"),
    Series(BLACK, "--", "P"),
)

# Colour maps whose lightness rises evenly, or from both ends to the middle.
SEQUENTIAL = "cividis"
DIVERGING = "PuOr"
GREYS = "gray"


def matplotlib() -> Any:
    """Load Matplotlib, whatever window system the environment asks it for.

    Pictures are drawn apart from pyplot and its windows. A name in ``MPLBACKEND`` that
    Matplotlib does not know (a notebook hands its own on to the programs that it
    starts) would keep it from being loaded at all.
    """
    if "matplotlib" in sys.modules or "MPLBACKEND" not in os.environ:
        import matplotlib as mpl

        return mpl
    named = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib as mpl
    finally:
        os.environ["MPLBACKEND"] = named
    with suppress(ValueError):  # as Matplotlib does; it is for pyplot alone
        mpl.rcParams["backend"] = named
    return mpl


@contextmanager
def house_style() -> Iterator[None]:
    """Use the house's settings within a ``with`` block, and only there.

    Of the user's own, only the fonts count: others may ask for programs that are
    missing, such as LaTeX, and would make another picture.
    """
    mpl = matplotlib()
    with mpl.rc_context():
        fonts = {k: v for k, v in mpl.rcParams.items() if k.startswith("font.")}
        mpl.rcdefaults()
        mpl.rcParams.update({**fonts, **_SETTINGS})
        yield


def new_figure(
    columns: int, *, width: float, height: float, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure with axes side by side, apart from pyplot's global state.

    Parameters
    ----------
    columns, rows : int
        Number of axes across and down.
    width, height : float
        Size in inches.
    **options
        For ``Figure.subplots``, such as ``sharex`` or ``width_ratios``.

    Returns
    -------
    figure : Figure
        With the constrained layout.
    axes : list of Axes
        Row by row.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def series_of(subjects: Sequence[str]) -> list[Series]:
    """Give each of several networks a look: the first residual and plain one theirs.

    Parameters
    ----------
    subjects : sequence of str
        The networks in words; those with "plain" in it are the plain ones.

    Examples
    --------
    >>> [one.marker for one in series_of(["Residual net", "Plain net", "Plain net"])]
    ['o', 's', '^']
    """
    looks: list[Series] = []
    others = cycle(_OTHERS)
    for subject in subjects:
        usual = PLAIN if "plain" in subject.lower() else RESIDUAL
        looks.append(next(others) if usual in looks else usual)
    return looks


def tint(color: str, strength: float) -> str:
    """Mix a colour with white: an opaque tint stays clean where areas overlap.

    Parameters
    ----------
    color : str
        Six hexadecimal digits after a ``#``.
    strength : float
        From 0 (white) to 1 (the colour itself).

    Examples
    --------
    >>> tint("#000000", 0.2)
    '#cccccc'
    """
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    mixed = [round(255 - strength * (255 - part)) for part in parts]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def title(figure: Figure, text: str) -> None:
    """Write the figure's title at its upper left."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold")


def caption(figure: Figure, text: str) -> None:
    """Write under the picture what it shows, how it is drawn, and on what scale."""
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color="#444444")


def save(
    figure: Figure,
    path: str | Path | BinaryIO,
    dpi: int = 150,
    *,
    format: str = "png",
) -> None:
    """Write a figure; the suffix decides the format (PNG, SVG, PDF).

    A file that is open has none; there, `format` decides.
    """
    with house_style():
        if isinstance(path, str | Path):
            figure.savefig(path, dpi=dpi)
        else:
            figure.savefig(path, dpi=dpi, format=format)
