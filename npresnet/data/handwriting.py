"""Pictures of handwritten digits, made like those that `digits` holds.

The pictures of that data set were not cut out of a page and made smaller. NIST's
programs normalised each digit first: the ink stands upright, fills a box of 32 rows and
some 20 columns in the middle of a bitmap of 32x32, and its strokes are of much the same
weight; then the ink in every block of 4x4 was counted, which gave 8x8 numbers from 0 to
16 [1]_. A network that knows only such pictures reads others badly, so the same is done
here.

References
----------
.. [1] E. Alpaydin, C. Kaynak (1998). Optical Recognition of Handwritten Digits.
   UCI Machine Learning Repository. doi:10.24432/C50P49
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Of the data set's own pictures, measured by a test: they all have ink in the first
# and the last row, some 20 of 32 columns wide, and about so much ink, of 32 * 32.
_ROWS, _COLUMNS, _INK = 32, 20, 312
_BLOCK = 4
# Narrower than that (a one), the box gets narrower, too.
_NARROW = 0.55
_LARGEST = 1024  # pixels; a larger picture is reduced before ink is looked for
# Upright is where the leftmost ink of the first rows is above that of the last ones.
_END_ROWS = 12  # the first and the last twelfth
_MOST_SLANT = 0.5  # columns per row: a hand that leans further is no slant
_FINE = 64  # rows of the bitmap in which strokes are made bolder or finer
_MOST_STEPS = 40
_LEAST_CONTRAST = 24  # levels of 255 between paper and ink
_COARSE = 96  # pixels a side, at most, of the bitmap in which pieces are told apart
_SPECK = 0.03  # share of the ink below which a piece of it is dust

_Bitmap = NDArray[np.bool_]


class Digit(NamedTuple):
    """A picture like the data set's own, and what was done to make it so.

    Attributes
    ----------
    pixels : uint8 ndarray of shape (8, 8)
        Bright ink on black.
    box : tuple of int, or None
        Left, top, right and bottom of the ink in the picture, in pixels, the last two
        exclusive; None where the picture had the right size and was left as it is.
    inverted : bool
        Whether the ink was darker than the paper.
    """

    pixels: NDArray[np.uint8]
    box: tuple[int, int, int, int] | None
    inverted: bool


def like_digits(picture: NDArray[np.uint8]) -> Digit:
    """Find the ink in a picture; crop, centre and scale it as in the data set.

    Parameters
    ----------
    picture : uint8 ndarray of shape (H, W)
        One digit in grey, of any size, anywhere, bright on dark or dark on light. One
        of 8x8 pixels is taken for finished, and inverted at most.

    Returns
    -------
    Digit
        The picture as the networks for digits know them.

    Raises
    ------
    ValueError
        If there is nothing but paper.

    Examples
    --------
    >>> paper = np.full((60, 40), 255, np.uint8)
    >>> paper[10:50, 18:22] = 0
    >>> like_digits(paper).box
    (18, 10, 22, 50)
    """
    ground = _ground(picture)
    above, below = float(picture.max()) - ground, ground - float(picture.min())
    if max(above, below) < _LEAST_CONTRAST:
        raise ValueError("no ink found: the picture has one colour all over")
    inverted = below > above
    if picture.shape == (8, 8):
        return Digit(255 - picture if inverted else picture, None, inverted)

    factor = -(-max(picture.shape) // _LARGEST)
    down, across = (min(factor, side) for side in picture.shape)
    ink = _reduced(picture, down, across) - ground
    ink = (-ink if inverted else ink).clip(0)  # (h, w), 0 where there is paper
    marked = _without_specks(ink > _threshold(ink))
    left, top, right, bottom = _box(marked)
    inside = np.s_[top:bottom, left:right]
    full = np.percentile(ink[inside][marked[inside]], 75)
    covered = np.where(marked[inside], ink[inside] / full, 0).clip(0, 1)
    box = left * across, top * down, right * across, bottom * down
    strokes = _weighted(_upright(_strokes(covered)))
    return Digit(_counted(strokes), box, inverted)


def _ground(picture: NDArray[np.uint8]) -> float:
    """Return the level of the paper: that of most of the border, or of most of all.

    The border of a picture that was cropped to its ink may be as much ink as paper.
    """
    sides = picture[[0, -1]].reshape(-1), picture[:, [0, -1]].reshape(-1)
    border = np.concatenate(sides)
    middle = (float(picture.max()) + float(picture.min())) / 2
    light = float((border > middle).mean())
    return float(np.median(picture if 0.3 < light < 0.7 else border))


def _reduced(picture: NDArray[np.uint8], down: int, across: int) -> NDArray[np.float64]:
    """Average blocks of so many pixels; what is left at the edges stays out."""
    h, w = picture.shape[0] // down, picture.shape[1] // across
    blocks = picture[: h * down, : w * across].reshape(h, down, w, across)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return means


def _threshold(ink: NDArray[np.float64]) -> float:
    """Return the level that parts ink from paper best (Otsu 1979).

    It is where the means of what is below and what is above lie furthest apart: the
    variance between the two, n0 * n1 * (m1 - m0)**2, is largest.
    """
    counts, edges = np.histogram(ink, 256, (0, ink.max()))
    levels = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum()[:-1]
    above = ink.size - below
    sums = (counts * levels).cumsum()
    apart = sums[:-1] * above - (sums[-1] - sums[:-1]) * below
    between = apart**2 / np.maximum(below * above, 1)
    return float(edges[1 + between.argmax()])


def _without_specks(marked: _Bitmap) -> _Bitmap:
    """Leave out small pieces that do not touch the others: dust, or dots of a form."""
    side = -(-max(marked.shape) // _COARSE)
    coarse = _any_of_squares(marked, side)
    pieces = np.arange(1, coarse.size + 1).reshape(coarse.shape) * coarse
    while True:  # every pixel takes the largest number around it, until none changes
        wider = np.pad(pieces, 1)
        wider = np.maximum(np.maximum(wider[:-2], wider[1:-1]), wider[2:])
        wider = np.maximum(np.maximum(wider[:, :-2], wider[:, 1:-1]), wider[:, 2:])
        wider *= coarse
        if (wider == pieces).all():
            break
        pieces = wider
    numbers, sizes = np.unique(pieces[coarse], return_counts=True)
    large = np.isin(pieces, numbers[sizes >= _SPECK * sizes.sum()])
    H, W = marked.shape
    kept: _Bitmap = large.repeat(side, axis=0).repeat(side, axis=1)[:H, :W]
    return marked & kept


def _any_of_squares(marked: _Bitmap, side: int) -> _Bitmap:
    """Tell for each square of so many pixels a side whether it has any ink."""
    H, W = marked.shape
    squares = np.pad(marked, ((0, -H % side), (0, -W % side)))
    blocks = squares.reshape(-(-H // side), side, -(-W // side), side)
    return np.asarray(blocks.any(axis=(1, 3)), np.bool_)


def _box(marked: _Bitmap) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of what is marked, the last two exclusive."""
    rows, columns = np.nonzero(marked)
    low, high = (columns.min(), rows.min()), (columns.max(), rows.max())
    return int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1


def _strokes(covered: NDArray[np.float64]) -> _Bitmap:
    """Scale the ink to a bitmap of 64 rows, in proportion.

    Parameters
    ----------
    covered : ndarray of shape (H, W)
        How much of every pixel is ink, 0 to 1; touches all four sides.
    """
    H, W = covered.shape
    columns = min(max(2, round(_FINE * W / H)), 4 * _FINE)
    strokes = _resized(covered, _FINE, columns) > 0.5
    return strokes if strokes.any() else ~strokes


def _upright(strokes: _Bitmap) -> _Bitmap:
    """Shift the rows so that the digit does not lean; return the ink in its new box."""
    strokes = _boxed(strokes)
    H, W = strokes.shape
    ends = max(1, H // _END_ROWS)
    first = np.flatnonzero(strokes[:ends].any(axis=0))[0]
    last = np.flatnonzero(strokes[-ends:].any(axis=0))[0]
    slant = np.clip((last - first) / H, -_MOST_SLANT, _MOST_SLANT)
    shifts = np.rint(slant * (np.arange(H) - H / 2)).astype(int)
    shifted = np.zeros((H, W + 2 * H), np.bool_)
    for row, (ink, shift) in enumerate(zip(strokes, shifts, strict=True)):
        shifted[row, H - shift : H - shift + W] = ink
    return _boxed(shifted)


def _weighted(strokes: _Bitmap) -> _Bitmap:
    """Make strokes bolder or finer until they have the weight of the data set's."""
    strokes = np.pad(strokes, _MOST_STEPS)  # room to grow
    if _weight(strokes) >= _INK:
        for step in range(_MOST_STEPS):
            finer = ~_grown(~strokes, 1 + step % 2)
            if not finer.any() or _weight(finer) < _INK:
                break
            strokes = finer
    else:
        for step in range(_MOST_STEPS):
            strokes = _grown(strokes, 1 + step % 2)
            if _weight(strokes) >= _INK:
                break
    return _boxed(strokes)


def _weight(strokes: _Bitmap) -> float:
    """Return how many pixels of the bitmap of 32x32 the ink would take."""
    inside = _boxed(strokes)
    return float(inside.mean()) * _ROWS * _width(inside)


def _boxed(strokes: _Bitmap) -> _Bitmap:
    left, top, right, bottom = _box(strokes)
    return strokes[top:bottom, left:right]


def _width(inside: _Bitmap) -> int:
    """Return how many of the 32 columns the ink is to take."""
    H, W = inside.shape
    share: float = min(1.0, W / H / _NARROW)
    return max(_BLOCK, round(_COLUMNS * share))


def _grown(strokes: _Bitmap, corners: int) -> _Bitmap:
    """Add all pixels beside the ink; and those at its corners, if `corners` is 2.

    By turns, the two make octagons of points.
    """
    grown = strokes.copy()
    grown[1:] |= strokes[:-1]
    grown[:-1] |= strokes[1:]
    beside = grown.copy() if corners == 2 else strokes
    grown[:, 1:] |= beside[:, :-1]
    grown[:, :-1] |= beside[:, 1:]
    return grown


def _counted(strokes: _Bitmap) -> NDArray[np.uint8]:
    """Scale the ink into its box in the bitmap, and count it in every block."""
    width = _width(strokes)
    bitmap = np.zeros((_ROWS, _ROWS), np.int64)
    left = (_ROWS - width) // 2
    inside = _resized(strokes.astype(np.float64), _ROWS, width) > 0.5
    bitmap[:, left : left + width] = inside
    blocks = bitmap.reshape(8, _BLOCK, 8, _BLOCK).sum(axis=(1, 3))  # (8, 8), 0 to 16
    pixels: NDArray[np.uint8] = ((blocks * 255 + 8) // 16).astype(np.uint8)
    return pixels


def _resized(
    covered: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.float64]:
    from PIL import Image

    H, _ = covered.shape
    how = Image.Resampling.BOX if rows < H else Image.Resampling.BICUBIC
    image = Image.fromarray(covered.astype(np.float32))
    return np.asarray(image.resize((columns, rows), how), np.float64)
