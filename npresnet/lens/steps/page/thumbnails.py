"""Feature maps and gradients as small grids of tiles, ready to be put into a page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain_like
from npresnet.plots import style

_LEVELS = 63  # shades: few enough for small files, more than an eye tells apart
_GAP = 255  # index of what lies between the tiles: nothing


@dataclass(frozen=True)
class Thumbnails:
    """A picture, and what its shades mean.

    Attributes
    ----------
    uri : str
        A PNG inside a ``data:`` URI.
    width, height : int
        In pixels.
    largest : float
        Magnitude of the strongest shade.
    signed : bool
        Whether shades run from minus to plus `largest`; otherwise from 0.
    note : str
        Which part of the array is shown.
    """

    uri: str
    width: int
    height: int
    largest: float
    signed: bool
    note: str


def thumbnails(
    array: NDArray[Any],
    *,
    pixels: int = 16384,
    side: int = 48,
    most: int = 16,
    largest: float | None = None,
) -> Thumbnails:
    """Draw an array of the shape of a batch.

    Parameters
    ----------
    array : ndarray of shape (N, C, H, W) or (N, C)
        Of maps, the first image's first channels become tiles; of vectors, every image
        becomes a row.
    pixels : int
        How many there may be in all, roughly.
    side : int
        Longest side of a tile; larger maps are averaged down.
    most : int
        Thumbnails at most, or 64 where they are small.
    largest : float, optional
        Magnitude of the strongest shade, for pictures that are compared.

    Returns
    -------
    Thumbnails
        Signed numbers in the diverging colours, with white for 0; others in grey, with
        black for 0. The strongest hundredth of a percent of the numbers may be cut
        off; what is not finite looks like 0.
    """
    array = plain_like("array", array)
    if array.ndim == 4 and array.shape[2] * array.shape[3] > 1:
        maps, note = _maps(array, pixels, side, most)
    else:
        rows = array.reshape(len(array), -1)[:32]
        maps, note = rows[None], f"{_some('image', len(rows), len(array))}, one a row"
    values = np.nan_to_num(maps.astype(np.float64), posinf=0.0, neginf=0.0)
    signed = bool((values < 0).any())
    if largest is None:
        largest = float(np.quantile(np.abs(values), 0.9999)) or largest_of(values)
    finite = largest if math.isfinite(largest) else largest_of(values)
    share = np.clip(values / finite if finite else values, -1, 1)
    if signed:
        share = (share + 1) / 2
    shades = np.rint(share * (_LEVELS - 1)).astype(np.uint8)
    sheet = _side_by_side(shades)
    height, width = sheet.shape
    return Thumbnails(_png(sheet, signed), width, height, largest, signed, note)


def largest_of(array: NDArray[Any]) -> float:
    """Return the largest magnitude in an array."""
    return float(np.abs(array).max())


def _maps(
    array: NDArray[Any], pixels: int, side: int, most: int
) -> tuple[NDArray[Any], str]:
    """Choose channels of the first image, and make them small enough."""
    C, H, W = array.shape[1:]
    factor = math.ceil(max(H, W) / side)
    area = math.ceil(H / factor) * math.ceil(W / factor)
    most = max(most, min(64, 4096 // area))  # of small maps there is room for more
    count = min(C, max(4, min(most, pixels // area) // 4 * 4))
    maps = array[0, :count]
    if factor > 1:
        rows, columns = np.arange(0, H, factor), np.arange(0, W, factor)
        sums = np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)
        heights, widths = np.diff(np.append(rows, H)), np.diff(np.append(columns, W))
        maps = sums / (heights[:, None] * widths)
    return maps, f"{_some('channel', count, C)} of the first image"


def _some(what: str, shown: int, there: int) -> str:
    if shown == there:
        return f"its {what}" if there == 1 else f"all {there} {what}s"
    return f"{shown} of {there} {what}s"


def _side_by_side(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay tiles out in a grid, a pixel apart."""
    count, H, W = maps.shape
    columns = count if count < 4 else 2 if count == 4 else 4 if count <= 16 else 8
    rows = math.ceil(count / columns)
    gap = 1 if count > 1 else 0
    sheet = np.full((rows * (H + gap) - gap, columns * (W + gap) - gap), _GAP, np.uint8)
    for i, tile in enumerate(maps):
        top, left = i // columns * (H + gap), i % columns * (W + gap)
        sheet[top : top + H, left : left + W] = tile
    return sheet


@cache
def _palette(signed: bool) -> bytes:
    """Return 256 colours, of which the shades are the first."""
    name = style.DIVERGING if signed else style.GREYS
    colors = style.matplotlib().colormaps[name](np.linspace(0, 1, _LEVELS), bytes=True)[
        :, :3
    ]
    filled = np.zeros((256, 3), np.uint8)
    filled[:_LEVELS] = colors
    return filled.tobytes()


def _png(sheet: NDArray[np.uint8], signed: bool) -> str:
    from PIL import Image

    image = Image.fromarray(sheet, "L")
    image.putpalette(_palette(signed))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, transparency=_GAP)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
