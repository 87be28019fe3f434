"""Filled bands with smooth edges, of which widths can be read off to scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


class Bank(NamedTuple):
    """A cross-section of a band that runs downwards: its height, and its two edges."""

    y: float
    left: float
    right: float

    @classmethod
    def around(cls, middle: float, y: float, width: float) -> Bank:
        """Make the cross-section of a given middle and width."""
        return cls(y, middle - width / 2, middle + width / 2)


class Arch(NamedTuple):
    """One edge of an arm that leaves a bank, runs straight down, and comes back."""

    start: Point
    turn: Point  # where it runs straight down
    end: Point

    def curves(self) -> list[Point]:
        """Return start, and two cubic Bezier curves: seven points."""
        (x0, y0), (x1, y1), (x2, y2) = self
        out, back, above, below = x1 - x0, x1 - x2, y1 - y0, y2 - y1
        return [
            (x0, y0),
            (x0 + 0.25 * out, y0 + 0.3 * above),
            (x1, y0 + 0.4 * above),
            (x1, y1),
            (x1, y2 - 0.4 * below),
            (x2 + 0.25 * back, y2 - 0.3 * below),
            (x2, y2),
        ]


def band(
    axes: Axes, banks: Sequence[Bank], color: str, *, order: float, name: str = ""
) -> None:
    """Fill a band; its edges run straight down at every cross-section.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    banks : sequence of Bank
        From the top down.
    color : str
        Opaque.
    order : float
        What has a higher one lies above.
    name : str
        The patch's ``gid``, by which SVG files and tests find it.
    """
    left = _edge([(bank.left, bank.y) for bank in banks])
    right = _edge([(bank.right, bank.y) for bank in reversed(banks)])
    _fill(axes, left, right, color, order, name)


def arm(
    axes: Axes, outer: Arch, inner: Arch, color: str, *, order: float, name: str = ""
) -> None:
    """Fill what lies between two arches; their turns should be at one height."""
    _fill(axes, outer.curves(), inner.curves()[::-1], color, order, name)


def fading(
    axes: Axes, bank: Bank, length: float, color: str, *, order: float, slices: int
) -> None:
    """Continue a band straight down, ever paler."""
    step = length / slices
    for k in range(slices):
        top = bank._replace(y=bank.y + k * step)
        pale = style.tint(color, 1 - (k + 1) / (slices + 1))
        bottom = top._replace(y=top.y + step)
        band(axes, [top, bottom], pale, order=order)


def _edge(points: Sequence[Point]) -> list[Point]:
    """Join points by cubic Bezier curves that are vertical at each point."""
    path = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += [(x0, middle), (x1, middle), (x1, y1)]
    return path


def _fill(
    axes: Axes,
    there: Sequence[Point],
    back: Sequence[Point],
    color: str,
    order: float,
    name: str,
) -> None:
    """Fill the area between two rows of curves, each a start and three per curve."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    codes = [
        Path.MOVETO,
        *[Path.CURVE4] * (len(there) - 1),
        Path.LINETO,
        *[Path.CURVE4] * (len(back) - 1),
        Path.CLOSEPOLY,
    ]
    outline = Path([*there, *back, there[0]], codes)
    # A hairline of the same colour closes the seams between neighbouring bands.
    patch = PathPatch(
        outline, facecolor=color, edgecolor=color, linewidth=0.2, zorder=order
    )
    patch.set_gid(name)
    axes.add_artist(patch)  # unlike add_patch, it leaves the limits alone: faster
