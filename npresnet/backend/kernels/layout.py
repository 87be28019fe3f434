"""Where pixels lie so that rows of the column matrix can be read as vectors.

A *block* is what one thread works on at a time: some whole images, or a band of
output rows of one image. The column matrix is never written down: its row (c, i, j),
what kernel tap (i, j) sees of channel c, is read from a fixed offset on in

- the images *in memory*, where there is no border and the stride is 1;
- otherwise a *strip*: a copy of the block with its border. At stride 2 a tap sees
  every other pixel of every other row, and always the same ones of the four kinds
  (even or odd row, even or odd column), so each kind has a strip of its own, a
  *phase*, where what a tap sees lies side by side. Any stride works the same way.

Output places come in *runs*, pieces of a row of `TileShape.run` places. Where rows
are long enough a run is written to its place at once, the last run of a row
overlapping the one before. Narrow rows are computed *flat*: runs go along the
whole strip, margins included, and the wanted places are copied out afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.tile import TileShape

# What a block reads should stay in a core's second-level cache (product tiles, which
# read it once per tile of output channels) or first-level cache (dot tiles).
PRODUCT_BYTES = 384 * 1024
DOT_PLACES = 1200

Table = NDArray[np.int64]


class Blocks(NamedTuple):
    """How a convolution is cut into blocks (plain ints, so that kernels take it)."""

    images: int  # images in a block
    bands: int  # bands that an image is cut into; 1 where images > 1
    band_rows: int  # output rows in a band
    total: int  # blocks in all
    in_memory: bool  # rows are read from the images themselves, not from strips
    flat: bool  # runs go along the strip, and the results are copied out
    grid_rows: int  # rows of one image
    grid_width: int  # places in such a row
    image_step: int  # elements from one image to the next
    row_step: int  # elements from one channel, or phase of a channel, to the next
    phases: tuple[int, int]  # kinds of rows and of columns that taps see


class Runs(NamedTuple):
    """Where runs are read and written, for whole bands [0] and the last band [1]."""

    reads: Table  # (2, runs): place in the strip or the images, from the block's first
    writes: Table  # (2, runs): place in the output planes, or in the strip if flat
    per_image: Table  # (2,): runs of one image, unless flat


def plan(
    geometry: Geometry,
    images: int,
    channels: int,
    all_channels: int,
    itemsize: int,
    shape: TileShape,
    *,
    dot: bool = False,
) -> Blocks:
    """Choose the blocks for the `channels` input channels of one group."""
    (H, W), (KH, KW) = geometry.input_size, geometry.kernel_size
    (SH, SW), (_, PW), (DH, DW) = geometry[2:5]
    OH, OW = geometry.output_size
    phases = min(SH, DH * (KH - 1) + 1), min(SW, DW * (KW - 1) + 1)
    halo = DH * (KH - 1) // SH  # rows that a band reads below itself
    tail = DW * (KW - 1) // SW  # places that a row reads beyond its last
    # At stride 1 neighbouring rows share their margin: PW zeros after each row are
    # the right border of this row and the left border of the next.
    grid_width = max(W + PW, OW) if SW == 1 else OW + tail
    row_bytes = channels * phases[0] * phases[1] * grid_width * itemsize
    most_rows = max(PRODUCT_BYTES // row_bytes - halo, 1)
    if dot:
        most_rows = min(most_rows, max(DOT_PLACES // grid_width - halo, 1))
    if OH + halo <= most_rows:
        block_images, bands = min(images, most_rows // (OH + halo)), 1
    else:
        # No thinner than the halo makes worth while.
        block_images, bands = 1, -(-OH // max(most_rows, min(OH, 8)))
    band_rows = -(-OH // bands)
    bands = -(-OH // band_rows)
    last_rows = OH - (bands - 1) * band_rows

    dense = grid_width == OW  # rows follow each other without a margin
    flat = not _runs_fit(
        [(n * OW, 1) if dense else (OW, n) for n in (band_rows, last_rows)],
        shape,
        dot=dot,
        used=OW * OH / (grid_width * (OH + halo)),
    )
    unpadded = geometry.stride == (1, 1) and geometry.padding == (0, 0)
    in_memory = unpadded and not flat
    grid_rows = H if in_memory else band_rows + halo
    image_step = (all_channels if in_memory else 1) * grid_rows * grid_width
    slack = shape.runs * shape.run  # what a flat tile reads beyond the last place
    row_step = H * W if in_memory else block_images * image_step + tail + slack
    return Blocks(
        block_images,
        bands,
        band_rows,
        -(-images // block_images) * bands,
        in_memory,
        flat,
        grid_rows,
        grid_width,
        image_step,
        row_step,
        phases,
    )


def _runs_fit(
    rows: list[tuple[int, int]], shape: TileShape, *, dot: bool, used: float
) -> bool:
    """Tell whether runs suit blocks of (length, number) rows of output places.

    A dot tile must not see a place twice, and takes runs in pairs; a product tile
    may, but not much oftener than the margins that flat runs (of which the share
    `used` is wanted) would compute in vain.
    """
    for length, number in rows:
        runs = -(-length // shape.run) * number
        if dot:
            if length % shape.run or runs % 2:
                return False
        elif length < shape.run or runs < shape.runs:
            return False
        elif length * number < 0.98 * used * runs * shape.run:
            return False
    return True


def runs_of(blocks: Blocks, geometry: Geometry, shape: TileShape, planes: int) -> Runs:
    """List the runs of a block; an image has `planes` output planes in memory."""
    OH, OW = geometry.output_size
    last_rows = OH - (blocks.bands - 1) * blocks.band_rows
    reads, writes, per_image = [], [], []
    for rows in (blocks.band_rows, last_rows):
        if blocks.flat:
            places = (blocks.images - 1) * blocks.image_step
            places += rows * blocks.grid_width
            count = -(-places // (shape.runs * shape.run)) * shape.runs
            read = write = np.arange(count, dtype=np.int64) * shape.run
        else:
            dense = blocks.grid_width == OW
            length, number = (rows * OW, 1) if dense else (OW, rows)
            starts = np.arange(0, length, shape.run, dtype=np.int64)
            starts = np.minimum(starts, length - shape.run)
            image = np.arange(blocks.images, dtype=np.int64)[:, None, None]
            row = np.arange(number, dtype=np.int64)[:, None]
            read = image * blocks.image_step + row * blocks.grid_width + starts
            write = image * (planes * OH * OW) + row * OW + starts
            count = number * len(starts)
        reads.append(read.reshape(-1))
        writes.append(write.reshape(-1))
        per_image.append(count)
    return Runs(_stack(reads), _stack(writes), np.array(per_image, np.int64))


def _stack(tables: list[Table]) -> Table:
    stacked = np.zeros((len(tables), max(map(len, tables))), np.int64)
    for row, table in zip(stacked, tables, strict=True):
        row[: len(table)] = table
    return stacked


def row_offsets(blocks: Blocks, geometry: Geometry, channels: int) -> Table:
    """Tell where every row of the column matrix begins: (C*KH*KW,)."""
    (KH, KW), (SH, SW) = geometry.kernel_size, geometry.stride
    (DH, DW), (FH, FW) = geometry.dilation, blocks.phases
    c = np.arange(channels, dtype=np.int64)[:, None, None]
    i = np.arange(KH, dtype=np.int64)[:, None] * DH
    j = np.arange(KW, dtype=np.int64) * DW
    strip = (c * FH + i % SH) * FW + j % SW
    within = i // SH * blocks.grid_width + j // SW
    return (strip * blocks.row_step + within).reshape(-1)


def strip_size(blocks: Blocks, channels: int) -> int:
    """Count the elements that a thread needs for strips of its own."""
    FH, FW = blocks.phases
    return 0 if blocks.in_memory else channels * FH * FW * blocks.row_step


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
def run_count(blocks, runs, shape, images, rows):
    """Count the runs of a block of so many images and output rows."""
    if not blocks.flat:
        return images * runs.per_image[0 if rows == blocks.band_rows else 1]
    places = (images - 1) * blocks.image_step + rows * blocks.grid_width
    return -(-places // (shape.runs * shape.run)) * shape.runs


@kernel
def lay_out(strips, x, channel, channels, geometry, blocks, first, last, top, bottom):
    """Lay channels channel ... channel+channels-1 of images first ... last-1 out.

    Returns the array that has the rows, and where in it the block begins.
    """
    _, C, H, W = x.shape
    if blocks.in_memory:
        return x.reshape(-1), ((first * C + channel) * H + top) * W
    FH, FW = blocks.phases
    rows = bottom - top + blocks.grid_rows - blocks.band_rows
    for c in range(channels):
        for i in range(FH):
            for j in range(FW):
                for n in range(first, last):
                    begin = ((c * FH + i) * FW + j) * blocks.row_step
                    begin += (n - first) * blocks.image_step
                    _lay_out_strip(
                        strips[begin : begin + rows * blocks.grid_width],
                        x[n, channel + c],
                        geometry,
                        i,
                        j,
                        top,
                        blocks.grid_width,
                    )
    return strips, 0


@kernel
def _lay_out_strip(strip, plane, geometry, i, j, top, width):
    """Copy phase (i, j) of a padded plane, from output row `top` on.

    Margins are zero from the beginning and never written to.
    """
    H, W = plane.shape
    SH, SW = geometry.stride
    PH, PW = geometry.padding
    shift = j - PW  # column of the image that lies in place 0
    begin = max(0, -(shift // SW))
    end = max(begin, min(width, (W - 1 - shift) // SW + 1))
    for h in range(len(strip) // width):
        out = strip[h * width + begin : h * width + end]
        source = (top + h) * SH + i - PH
        if not 0 <= source < H:
            for w in range(len(out)):
                out[w] = 0
        elif SW == 1:
            row = plane[source, begin + shift :]
            for w in range(len(out)):
                out[w] = row[w]
        else:
            row = plane[source, begin * SW + shift :]
            for w in range(len(out)):
                out[w] = row[w * SW]
