"""Where a network looked: images, and maps beside or over them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS = 4  # images side by side, each with its map
_MOST = 24  # images to draw
_WIDTH = 1.25  # of an image, in inches
_STRENGTH = 0.6  # of the map, where it lies over an image

Array = NDArray[np.floating[Any]]


def looks(
    pictures: NDArray[np.uint8],
    maps: Array,
    titles: Sequence[str],
    subject: str,
    note: str,
    *,
    over: bool,
    path: str | Path | None = None,
) -> Figure:
    """Draw every image with its map to the right of it.

    Parameters
    ----------
    pictures : uint8 ndarray of shape (N, C, H, W)
        Images; drawn in colour if they have three channels, else the first in grey.
    maps : ndarray of shape (N, H, W)
        Not negative; each is drawn on a scale from 0 to its own maximum.
    titles : sequence of str
        What stands above each image.
    subject : str
        What is shown.
    note : str
        What was measured, and how.
    over : bool
        Whether maps lie over the grey image, or stand alone.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture. Of more than 24 images the first are drawn.

    Raises
    ------
    ValueError
        If there are no images, or not one map and one title for each.
    """
    N, _, H, W = pictures.shape
    if not N or maps.shape != (N, H, W) or len(titles) != N:
        raise ValueError(
            f"pictures, maps, titles: expected one of each, got {pictures.shape}, "
            f"{maps.shape} and {len(titles)} titles"
        )
    drawn = min(N, _MOST)
    across = min(drawn, _ACROSS)
    down = -(-drawn // across)
    lines = 1 + max(title.count("\n") for title in titles[:drawn])
    with style.house_style():
        figure, every = style.new_figure(
            2 * across,
            width=max(5.5, 0.9 + _WIDTH * 2 * across),
            height=0.95 + down * (_WIDTH * H / W + 0.2 * lines),
            rows=down,
        )
        for axes in every:
            axes.set_axis_off()
        for i in range(drawn):
            image, map_ = every[2 * i], every[2 * i + 1]
            image.imshow(_pixels(pictures[i]), cmap="gray", vmin=0, vmax=255)
            image.set_title(titles[i], size=9, weight="normal")
            if over:
                map_.imshow(_blend(pictures[i], maps[i]))
            else:
                map_.imshow(_shares(maps[i]), cmap=style.SEQUENTIAL, vmin=0, vmax=1)
        _colour_bar(figure, every)
        style.title(figure, subject)
        rest = "" if drawn == N else f" The first {drawn} of {N} images."
        width = int(15 * figure.get_figwidth())
        style.caption(figure, textwrap.fill(f"{note}.{rest}", width))
        if path is not None:
            style.save(figure, path)
    return figure


def _pixels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) in colour, or (H, W) in grey."""
    return picture.transpose(1, 2, 0) if len(picture) == 3 else picture[0]


def _shares(map_: Array) -> Array:
    """Divide by the maximum, if there is one."""
    top = map_.max()
    return map_ / top if top > 0 else np.zeros_like(map_)


def _blend(picture: NDArray[np.uint8], map_: Array) -> NDArray[np.float64]:
    """Mix the colours of a map with the image in grey: (H, W, 3), from 0 to 1."""
    from matplotlib import colormaps

    colours = colormaps[style.SEQUENTIAL](_shares(map_))[..., :3]
    grey = picture.mean(axis=0)[..., None] / 255
    blended: NDArray[np.float64] = _STRENGTH * colours + (1 - _STRENGTH) * grey
    return blended


def _colour_bar(figure: Figure, axes: Sequence[Axes]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure.colorbar(
        ScalarMappable(Normalize(0, 100), style.SEQUENTIAL),
        ax=np.array(axes),
        label="% of its maximum",
        shrink=0.9,
        aspect=25,
        pad=0.02,
    )
