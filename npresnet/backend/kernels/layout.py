"""Which pixels a convolution reads, where they lie, and in which blocks it is computed.

Along each axis, tap t of a convolution sees input pixel ``output*step + offsets[t]`` at
output 0, 1, ... That covers more than convolutions: in the gradient with respect to
the input, a stride of 2 falls apart into two kinds of pixels along each axis, even and
odd, and each kind is a convolution of the output's gradient with every other tap.

A *block* is what one thread works on at a time: some whole images, or some rows of one
image. It reads the images in memory where no tap leaves them, else a *padded copy* of
what it sees, zeros of the border included, that stays in the core's cache.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.rows import copy

# What a block reads should leave room for the weights in a second-level cache.
BLOCK_BYTES = 256 * 1024
_MANY_BLOCKS = 16

Table = NDArray[np.int64]


class Axis(NamedTuple):
    """How a convolution moves along one axis, in pixels."""

    length: int  # of the input
    outputs: int  # pixels of the output that are computed
    step: int  # in the input, from one output to the next
    offsets: tuple[int, ...]  # of what each tap sees at output 0, rising
    taps: tuple[int, ...]  # numbers of these taps in the kernel
    first: int = 0  # where output 0 lies in the result
    stride: int = 1  # in the result, from one output to the next

    @property
    def reach(self) -> int:
        """Pixels from the first tap's to the last tap's, both counted."""
        return self.offsets[-1] - self.offsets[0] + 1

    @property
    def inside(self) -> bool:
        """Whether no tap ever leaves the input."""
        last = (self.outputs - 1) * self.step + self.offsets[-1]
        return self.offsets[0] >= 0 and last < self.length

    @property
    def adjacent(self) -> bool:
        """Whether the taps see neighbours."""
        return self.reach == len(self.taps)


@functools.lru_cache(maxsize=512)
def forward_axes(geometry: Geometry) -> tuple[Axis, Axis]:
    """Describe a convolution, along rows and columns."""
    return _forward(geometry, 0), _forward(geometry, 1)


def _forward(geometry: Geometry, axis: int) -> Axis:
    taps = tuple(range(geometry.kernel_size[axis]))
    dilation, padding = geometry.dilation[axis], geometry.padding[axis]
    return Axis(
        geometry.input_size[axis],
        geometry.output_size[axis],
        geometry.stride[axis],
        tuple(tap * dilation - padding for tap in taps),
        taps,
    )


@functools.lru_cache(maxsize=512)
def backward_axes(geometry: Geometry, axis: int) -> tuple[Axis, ...]:
    """Describe the way back, one axis for each kind of pixels that some tap sees.

    Tap t brings output u's gradient to pixel ``u*stride + t*dilation - padding``.
    """
    stride, dilation = geometry.stride[axis], geometry.dilation[axis]
    padding, length = geometry.padding[axis], geometry.input_size[axis]
    axes = []
    for first in range(min(stride, length)):
        reach = first + padding
        seen = {
            (reach - tap * dilation) // stride: tap
            for tap in range(geometry.kernel_size[axis])
            if (reach - tap * dilation) % stride == 0
        }
        if seen:
            offsets = tuple(sorted(seen))
            axes.append(
                Axis(
                    geometry.output_size[axis],
                    -(-(length - first) // stride),
                    1,
                    offsets,
                    tuple(seen[offset] for offset in offsets),
                    first,
                    stride,
                )
            )
    return tuple(axes)


class Blocks(NamedTuple):
    """How the outputs are cut into blocks (plain ints, so that kernels take it)."""

    total: int  # blocks in all
    images: int  # images in a block
    blocks_per_image: int  # 1 where images > 1
    rows_per_block: int  # rows of outputs; of each image, where images > 1
    output_rows: int  # rows of outputs in an image
    columns: int  # outputs in a row
    in_memory: bool  # pixels are read from the images themselves
    step: int  # rows of pixels from one row of outputs to the next
    reach: int  # rows of pixels that one row of outputs sees
    top: int  # of the first pixels seen, in the image; may be outside
    left: int
    width: int  # pixels in a row of the padded copy, or of the images
    height: int  # rows of one image, there


def plan(
    rows: Axis,
    columns: Axis,
    images: int,
    pixel_bytes: int,
    *,
    most_bytes: int | None = None,
    most_outputs: int | None = None,
    in_memory: bool = True,
) -> Blocks:
    """Choose the blocks for images whose pixels take so many bytes.

    They are read in memory where that is possible, if it is allowed.
    """
    most_bytes = BLOCK_BYTES if most_bytes is None else most_bytes
    in_memory = in_memory and rows.inside and columns.inside
    if in_memory:
        width = columns.length
    else:
        width = (columns.outputs - 1) * columns.step + columns.reach
    most_rows = most_bytes // (width * pixel_bytes)
    rows_per_block = (most_rows - rows.reach) // rows.step + 1
    if most_outputs is not None:
        rows_per_block = min(rows_per_block, most_outputs // columns.outputs)
    image_rows = (rows.outputs - 1) * rows.step + rows.reach
    if rows_per_block >= rows.outputs:
        blocks_per_image, rows_per_block = 1, rows.outputs
        block_images = max(most_rows // image_rows, 1)
        if most_outputs is not None:
            block_images = most_outputs // (rows.outputs * columns.outputs)
        # Many blocks can be divided evenly among threads, few cannot.
        block_images = max(min(block_images, images // _MANY_BLOCKS), 1)
    else:
        # No thinner than the rows that neighbours share make worth while.
        least = min(rows.outputs, 8 if rows.reach > rows.step else 1)
        block_images = 1
        blocks_per_image = -(-rows.outputs // max(rows_per_block, least))
        rows_per_block = -(-rows.outputs // blocks_per_image)
        blocks_per_image = -(-rows.outputs // rows_per_block)
    return Blocks(
        -(-images // block_images) * blocks_per_image,
        block_images,
        blocks_per_image,
        rows_per_block,
        rows.outputs,
        columns.outputs,
        in_memory,
        rows.step,
        rows.reach,
        rows.offsets[0],
        columns.offsets[0],
        width,
        rows.length if in_memory else (rows_per_block - 1) * rows.step + rows.reach,
    )


def read_offsets(blocks: Blocks, columns: Axis, channels: int) -> Table:
    """Tell where each output of a block begins to read, from the first one's on."""
    image = np.arange(blocks.images, dtype=np.int64)[:, None, None] * blocks.height
    row = np.arange(blocks.rows_per_block, dtype=np.int64)[:, None] * blocks.step
    column = np.arange(blocks.columns, dtype=np.int64) * columns.step
    return (((image + row) * blocks.width + column) * channels).reshape(-1)


def write_offsets(
    blocks: Blocks, rows: Axis, columns: Axis, size: tuple[int, int], channels: int
) -> Table:
    """Tell where the results of a block go, in images of that size."""
    image = np.arange(blocks.images, dtype=np.int64)[:, None, None] * size[0]
    row = np.arange(blocks.rows_per_block, dtype=np.int64)[:, None] * rows.stride
    column = np.arange(blocks.columns, dtype=np.int64) * columns.stride
    return (((image + row) * size[1] + column) * channels).reshape(-1)


def tap_offsets(
    blocks: Blocks, rows: Axis, columns: Axis, channels: int
) -> NDArray[np.int64]:
    """Tell where each tap reads, from where its output begins: (taps, taps)."""
    row = np.array(rows.offsets, np.int64)[:, None] - rows.offsets[0]
    column = np.array(columns.offsets, np.int64) - columns.offsets[0]
    offsets: Table = (row * blocks.width + column) * channels
    return offsets


def padded_size(blocks: Blocks, channels: int) -> int:
    """Count the elements that a thread needs for a padded copy of its own."""
    if blocks.in_memory:
        return 0
    return blocks.images * blocks.height * blocks.width * channels


@kernel
def block_range(blocks, block, images):
    """Return a block's first and last image, and first and last row of outputs."""
    first = block // blocks.blocks_per_image * blocks.images
    top = block % blocks.blocks_per_image * blocks.rows_per_block
    return (
        first,
        min(first + blocks.images, images),
        top,
        min(top + blocks.rows_per_block, blocks.output_rows),
    )


@kernel
def lay_out(padded, x, blocks, first, last, top, bottom):
    """Lay what a block sees of x (N, H, W, C) out.

    Returns the flat array that has it, and where in it the block begins.
    """
    _, H, W, C = x.shape
    begin = top * blocks.step + blocks.top
    if blocks.in_memory:
        return x.reshape(-1), ((first * H + begin) * W + blocks.left) * C
    row_size = blocks.width * C
    left = max(-blocks.left, 0) * C  # zeros before and behind
    start = max(blocks.left, 0) * C
    size = max(min(row_size - left, W * C - start), 0)
    rows = (bottom - top - 1) * blocks.step + blocks.reach
    for n in range(first, last):
        for h in range(rows):
            start_of_row = ((n - first) * blocks.height + h) * row_size
            row = padded[start_of_row : start_of_row + row_size]
            if 0 <= begin + h < H:
                row[:left] = 0
                copy(row[left : left + size], x[n, begin + h].reshape(-1)[start:])
                row[left + size :] = 0
            else:
                row[:] = 0
    return padded, 0
