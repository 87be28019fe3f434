"""Planes of numbers, pixel by pixel: images, kernels, feature maps, matrices."""

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

_MOST_NUMBERS = 16  # cells across, above which their numbers would not be legible
_LEAST_INCHES = 0.5


def planes(
    arrays: Sequence[NDArray[Any]],
    titles: Sequence[str],
    *,
    marked: Sequence[NDArray[np.bool_] | None] | None = None,
    same_scale: bool = False,
    numbers: bool | None = None,
    columns: int | None = None,
    size: float = 2.3,
    path: str | Path | None = None,
) -> Figure:
    """Draw planes side by side, each with its title.

    Parameters
    ----------
    arrays : sequence of ndarray of shape (rows, columns)
        Dark is small and bright large; where there are negative numbers, purple is
        negative, white zero and orange positive.
    titles : sequence of str
        One for each.
    marked : sequence of ndarray of bool or None, optional
        Cells to outline, for each plane.
    same_scale : bool
        Whether one colour means the same number in all planes.
    numbers : bool, optional
        Whether to write the numbers into the cells; by default where they fit.
    columns : int, optional
        Planes in a row; by default all.
    size : float
        Of a plane's longer side, in inches.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If the sequences are not of one length, or a plane has not two axes.
    """
    marks = [None] * len(arrays) if marked is None else list(marked)
    if not len(arrays) == len(titles) == len(marks) or not len(arrays):
        raise ValueError(
            f"planes: expected as many titles and marks as arrays, got {len(arrays)} "
            f"arrays, {len(titles)} titles, {len(marks)} marks"
        )
    for array in arrays:
        if np.ndim(array) != 2:
            raise ValueError(
                f"planes: expected arrays of shape (rows, columns), got "
                f"{np.shape(array)}"
            )
    across = columns or len(arrays)
    down = -(-len(arrays) // across)
    everything = np.concatenate([np.ravel(array) for array in arrays])
    height = max(_LEAST_INCHES, *(size * a.shape[0] / max(a.shape) for a in arrays))
    with style.house_style():
        figure, axes = style.new_figure(
            across,
            rows=down,
            width=size * across * 1.12,
            height=(height + 0.5) * down,
        )
        for ax in axes[len(arrays) :]:
            ax.set_axis_off()
        for ax, array, title, mark in zip(axes, arrays, titles, marks, strict=False):
            draw_plane(ax, array, scale=everything if same_scale else array)
            if numbers or (numbers is None and max(array.shape) <= _MOST_NUMBERS / 2):
                write_numbers(ax, array, everything if same_scale else array)
            if mark is not None:
                outline(ax, mark, style.VERMILION)
            ax.set_title(title, size=9.5)
        if path is not None:
            style.save(figure, path)
    return figure


def draw_plane(ax: Axes, array: NDArray[Any], *, scale: NDArray[Any]) -> None:
    """Draw one plane into axes, coloured on the scale of other numbers.

    Cell (row, column) is centred on the point (column, row); rows run down.
    """
    low, high, name = _range_of(scale)
    ax.imshow(array, cmap=name, vmin=low, vmax=high, interpolation="nearest")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ("top", "right", "bottom", "left"):
        ax.spines[side].set_visible(True)
        ax.spines[side].set_color(style.GREY)


def write_numbers(
    ax: Axes, array: NDArray[Any], scale: NDArray[Any], size: float = 8.0
) -> None:
    """Write every cell's number into it, in the ink that can be read there.

    Cells that hold NaN are left empty.
    """
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    low, high, name = _range_of(scale)
    colours = colormaps[name](Normalize(low, high)(np.asarray(array, float)))
    luminance = colours[..., :3] @ [0.299, 0.587, 0.114]
    for (row, column), value in np.ndenumerate(array):
        if np.isnan(value):
            continue
        ax.text(
            column,
            row,
            _short(float(value)),
            ha="center",
            va="center",
            size=size,
            color="black" if luminance[row, column] > 0.5 else "white",
        )


def outline(ax: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """Draw a frame around the marked cells: around all that touch, one."""
    from matplotlib.collections import LineCollection

    edges = []
    for row, column in np.argwhere(mask):
        for (dr, dc), (start, end) in _SIDES.items():
            r, c = row + dr, column + dc
            inside = 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1]
            if not (inside and mask[r, c]):
                edges.append(
                    [
                        (column + start[0], row + start[1]),
                        (column + end[0], row + end[1]),
                    ]
                )
    # White below, so that the frame shows on any colour.
    for line_colour, width in (("white", 4.5), (colour, 2.4)):
        ax.add_collection(
            LineCollection(
                edges,
                colors=line_colour,
                linewidths=width,
                capstyle="round",
                zorder=3,
                clip_on=False,  # a frame may stand on the edge of the picture
            )
        )


# Of a cell's four neighbours (row, column), where the side towards it begins and ends.
_SIDES = {
    (-1, 0): ((-0.5, -0.5), (0.5, -0.5)),
    (1, 0): ((-0.5, 0.5), (0.5, 0.5)),
    (0, -1): ((-0.5, -0.5), (-0.5, 0.5)),
    (0, 1): ((0.5, -0.5), (0.5, 0.5)),
}


def _short(value: float) -> str:
    """Write a number so that it fits into a cell."""
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"


def _range_of(numbers: NDArray[Any]) -> tuple[float, float, str]:
    """Return the ends of the colour scale, and which scale it is."""
    low, high = float(np.min(numbers)), float(np.max(numbers))
    if low < 0:
        extent = max(-low, high)
        return -extent, extent, style.DIVERGING + "_r"  # orange is positive
    return 0.0, high or 1.0, style.SEQUENTIAL
