"""Laying pixels out so that rows of the column matrix can be read as vectors.

A *block* is what one thread works on at a time: some whole images, or a band of
output rows of one image. Within a block, output places are numbered along a grid of
``grid_rows * grid_width`` places per image. Two layouts give the rows:

- the *strip* (stride 1): the padded images, each row of pixels after the other. Row
  (c, i, j) of the column matrix is the strip of channel c from a fixed offset on, so
  the matrix is never written down. The grid is as wide as a padded row, and the
  places in its margin are computed and thrown away;
- the *columns* (any stride): the column matrix itself, one block at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import kernel

# A block's rows should stay in a core's second-level cache while they are used.
_BLOCK_BYTES = 384 * 1024


class Blocks(NamedTuple):
    """How a convolution is cut into blocks (plain ints, so that kernels take it)."""

    images: int  # images in a block
    bands: int  # bands that an image is cut into; 1 where images > 1
    band_rows: int  # output rows in a band
    total: int  # blocks in all
    in_place: bool  # strip (True) or columns (False)
    grid_rows: int  # grid rows of one image of a block
    grid_width: int  # grid places in a row
    row_stride: int  # elements from one layout row (channel or column row) to the next
    rows: int  # layout rows: channels (strip), or channels times taps (columns)


def plan(
    geometry: Geometry, images: int, channels: int, itemsize: int, width: int
) -> Blocks:
    """Choose layout and blocks for `channels` input channels of one group.

    `width` is the number of places that a tile reads beyond the last one at most.
    """
    (_, W), (KH, KW) = geometry.input_size, geometry.kernel_size
    (_, PW), (DH, DW) = geometry.padding, geometry.dilation
    OH, OW = geometry.output_size
    in_place = geometry.stride == (1, 1)
    # Neighbouring rows of a strip share their margin: PW zeros after each row are
    # the right border of this row and the left border of the next.
    grid_width = max(W + PW, OW) if in_place else OW
    halo = DH * (KH - 1) if in_place else 0  # rows that a band reads below itself
    rows = channels if in_place else channels * KH * KW
    per_row = rows * grid_width * itemsize
    if per_row * (OH + halo) <= _BLOCK_BYTES:
        block_images = min(images, _BLOCK_BYTES // (per_row * (OH + halo)))
        band_rows = OH
    else:
        block_images = 1
        band_rows = min(OH, max(8, _BLOCK_BYTES // per_row - halo))
    bands = -(-OH // band_rows)
    grid_rows = band_rows + halo
    tail = DW * (KW - 1) if in_place else 0
    return Blocks(
        block_images,
        bands,
        band_rows,
        -(-images // block_images) * bands,
        in_place,
        grid_rows,
        grid_width,
        block_images * grid_rows * grid_width + tail + width,
        rows,
    )


def row_offsets(blocks: Blocks, geometry: Geometry, channels: int) -> np.ndarray:
    """Tell where every row of the column matrix begins in the layout: (C*KH*KW,)."""
    (KH, KW), (DH, DW) = geometry.kernel_size, geometry.dilation
    if not blocks.in_place:
        return np.arange(blocks.rows, dtype=np.int64) * blocks.row_stride
    c = np.arange(channels, dtype=np.int64)[:, None, None] * blocks.row_stride
    i = np.arange(KH, dtype=np.int64)[:, None] * (DH * blocks.grid_width)
    j = np.arange(KW, dtype=np.int64) * DW
    return (c + i + j).reshape(-1)


@kernel
def block_range(blocks, block, images, output_rows):
    """Return a block's first and last image, and first and last output row."""
    first = block // blocks.bands * blocks.images
    top = block % blocks.bands * blocks.band_rows
    return (
        first,
        min(first + blocks.images, images),
        top,
        min(top + blocks.band_rows, output_rows),
    )


@kernel
def lay_out(layout, x, channel, channels, geometry, blocks, first, last, top, bottom):
    """Fill `layout` with channels channel ... channel+channels-1 of images first ..."""
    KH, KW = geometry.kernel_size
    if blocks.in_place:
        for c in range(channels):
            for n in range(first, last):
                begin = c * blocks.row_stride
                begin += (n - first) * blocks.grid_rows * blocks.grid_width
                rows = bottom - top + blocks.grid_rows - blocks.band_rows
                _lay_out_strip(layout[begin:], x[n, channel + c], geometry, top, rows)
        return
    for c in range(channels):
        for i in range(KH):
            for j in range(KW):
                r = (c * KH + i) * KW + j
                for n in range(first, last):
                    begin = r * blocks.row_stride
                    begin += (n - first) * blocks.grid_rows * blocks.grid_width
                    _lay_out_column_row(
                        layout[begin:], x[n, channel + c], geometry, i, j, top, bottom
                    )


@kernel
def _lay_out_strip(strip, plane, geometry, top, rows):
    """Copy `rows` padded rows of a plane, from output row `top` on.

    The margins are zero from the beginning and never written to.
    """
    H, W = plane.shape
    PH, PW = geometry.padding
    width = max(W + PW, geometry.output_size[1])
    for h in range(rows):
        out = strip[h * width + PW : h * width + PW + W]
        source = top + h - PH
        if 0 <= source < H:
            row = plane[source]
            for w in range(W):
                out[w] = row[w]
        else:
            for w in range(W):
                out[w] = 0


@kernel
def _lay_out_column_row(columns, plane, geometry, i, j, top, bottom):
    """Write what kernel tap (i, j) sees of a plane from output rows top ... bottom."""
    H, W = plane.shape
    SH, SW = geometry.stride
    PH, PW = geometry.padding
    DH, DW = geometry.dilation
    OW = geometry.output_size[1]
    shift = j * DW - PW
    begin = min(OW, max(0, -(shift // SW)))  # first place whose pixel is inside
    end = max(begin, min(OW, (W - 1 - shift) // SW + 1))
    for h in range(top, bottom):
        out = columns[(h - top) * OW : (h - top + 1) * OW]
        source = h * SH + i * DH - PH
        if 0 <= source < H:
            row = plane[source]
            for w in range(begin):
                out[w] = 0
            for w in range(begin, end):
                out[w] = row[w * SW + shift]
            for w in range(end, OW):
                out[w] = 0
        else:
            for w in range(OW):
                out[w] = 0
