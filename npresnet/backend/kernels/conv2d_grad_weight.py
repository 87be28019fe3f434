"""The gradient of a convolution by its weights: pixels times output gradients.

Every pixel of the output adds a small matrix to the gradient: what its taps saw (rows)
times its own gradient (channels). A tile of sums stays in registers over all pixels of
a block, so lanes run along output channels and nothing is summed across them.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.algorithm import get_algorithm
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels import memory, winograd
from npresnet.backend.kernels.channels_last import pixels
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.layout import (
    Blocks,
    Table,
    block_range,
    forward_axes,
    lay_out,
    plan,
    read_places,
    strip_size,
    tap_places,
)
from npresnet.backend.kernels.rows import add_to, copy
from npresnet.backend.kernels.tile import TileShape, sum_tile, tile_shape
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

# Parts of the batch are summed up apart, and added at the end; where there are many
# weights, few parts, but shares of the output channels. The numbers are fixed, whatever
# the number of threads, so that the order of additions is.
_MANY_WEIGHTS = 1 << 17
_FEW_PARTS_AND_SHARES, _PARTS_AND_SHARES = (2, 4), (16, 1)
# Places of a block: what tiles read again and again stays in the first-level cache.
_MOST_PLACES = 256
_MOST_BYTES = 1 << 20


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`."""
    N, K = grad_output.shape[:2]
    C, G = x.shape[1], geometry.groups
    if get_algorithm() == "auto" and winograd.suits(geometry, N, C, K, x.dtype):
        return winograd.conv2d_grad_weight(grad_output, x, geometry)
    planned = _plan(geometry, N, C, K, x.dtype)
    lanes = planned.shape.lanes
    width = -(-(K // G) // lanes) * lanes
    shape = planned.parts, G, len(planned.rows), width
    partial = memory.scratch(shape, x.dtype)
    units = planned.parts * planned.shares
    parallel_for(_correlate, units, partial, pixels(grad_output), pixels(x), planned)
    grad_weight = np.empty((K, C // G, *geometry.kernel_size), x.dtype)
    arguments = (partial, planned.used, planned.run, lanes)
    parallel_for(_collect, G * width // lanes, grad_weight, *arguments)
    return grad_weight


class _Plan(NamedTuple):
    """Everything about the gradient but its numbers."""

    blocks: Blocks  # of one part
    shape: TileShape
    parts: int
    shares: int
    rows: Table  # where each weight reads, from where its place does
    used: int  # weights of a run that are wanted, and of how many
    run: int
    segments: Table  # rows of places: where they read
    length: int  # places of a segment
    step: int  # elements from one place of a segment to the next
    strip_size: int


@functools.lru_cache(maxsize=512)
def _plan(
    geometry: Geometry, images: int, C: int, K: int, dtype: np.dtype[Any]
) -> _Plan:
    G = geometry.groups
    shape = tile_shape(dtype)
    many = K * C // G * math.prod(geometry.kernel_size) >= _MANY_WEIGHTS
    parts, shares = _FEW_PARTS_AND_SHARES if many else _PARTS_AND_SHARES
    parts = min(parts, images)
    axes = forward_axes(geometry)
    blocks = plan(
        *axes,
        -(-images // parts),
        C * dtype.itemsize,
        most_bytes=_MOST_BYTES,
        most_places=_MOST_PLACES,
        in_memory=C // G % (2 * shape.rows) == 0,
    )
    taps = tap_places(blocks, *axes, C)
    if axes[1].adjacent and G == 1:
        runs, length = taps[:, 0], taps.shape[1] * C
    else:
        runs, length = taps.reshape(-1), C // G
    # Tiles of sums take neighbours: runs are filled up with what comes behind.
    run = -(-length // (2 * shape.rows)) * 2 * shape.rows
    rows = (runs[:, None] + np.arange(run)).reshape(-1)
    reads = read_places(blocks, axes[1], C)
    places, step = blocks.columns, axes[1].step * C
    if np.array_equal(reads, np.arange(len(reads)) * step):
        places = len(reads)  # rows of places follow each other without a gap
    return _Plan(
        blocks,
        shape,
        parts,
        shares,
        rows,
        length,
        run,
        reads[:: blocks.columns].copy(),
        places,
        step,
        strip_size(blocks, C) + run,
    )


@kernel
def _correlate(partial, grad_output, x, planned, first_unit, end_unit):
    """Sum `reference.conv2d_grad_weight` up for some units of work.

    A unit is a part of the batch, and a share of the output channels.
    """
    N, _, OW, K = grad_output.shape
    blocks, shape, shares = planned.blocks, planned.shape, planned.shares
    rows, segments = planned.rows, planned.segments
    parts, groups, depth, padded = partial.shape
    CG, KG = x.shape[3] // groups, K // groups
    lanes, vectors = shape.lanes, padded // shape.lanes
    pairs = (vectors + 1) // 2
    strip = np.empty(planned.strip_size, x.dtype)
    grad = np.empty(len(segments) * blocks.columns * 2 * lanes, x.dtype)
    out = partial.reshape(-1)
    for unit in range(first_unit, end_unit):
        part, share = unit // shares, unit % shares
        begin, end = part * N // parts, (part + 1) * N // parts
        for block in range(-(-(end - begin) // blocks.images) * blocks.bands):
            first, last, top, bottom = block_range(blocks, block, end - begin)
            first, last = first + begin, last + begin
            a, a_start = lay_out(strip, x, blocks, first, last, top, bottom)
            lines = (last - first) * (bottom - top)
            length = planned.length
            if length == OW:
                starts = segments[:lines]
            else:
                starts, length = segments[:1], lines * OW
            for g in range(groups):
                for pair in range(
                    share * pairs // shares, (share + 1) * pairs // shares
                ):
                    k = 2 * pair * lanes
                    wide = 2 * pair + 1 < vectors
                    width = 2 * lanes if wide else lanes
                    _pack(
                        grad,
                        grad_output,
                        g * KG + k,
                        min(width, KG - k),
                        width,
                        first,
                        last,
                        top,
                        bottom,
                    )
                    start = (part * groups + g) * depth * padded + k
                    tile_rows = shape.rows if wide else 2 * shape.rows
                    for row in range(0, depth, tile_rows):
                        out_start = start + row * padded
                        read = a_start + g * CG + rows[row]
                        sum_tile(
                            wide,
                            out,
                            out_start,
                            padded,
                            block > 0,
                            a,
                            read,
                            starts,
                            length,
                            planned.step,
                            grad,
                            0,
                            width,
                        )


@kernel
def _pack(rows, grad_output, k, channels, width, first, last, top, bottom):
    """Copy some channels of a block's gradient: (places, width), zeros behind."""
    place = 0
    for n in range(first, last):
        for h in range(top, bottom):
            for w in range(grad_output.shape[2]):
                source = grad_output[n, h, w, k : k + channels]
                row = rows[place : place + width]
                for m in range(channels):
                    row[m] = source[m]
                row[channels:] = 0
                place += width


@kernel
def _collect(grad_weight, partial, used, run, lanes, first, last):
    """Add the parts up, in order, for some vectors of output channels."""
    parts, groups, _, width = partial.shape
    K, C, KH, KW = grad_weight.shape
    KG, vectors = K // groups, width // lanes
    total = np.empty(lanes, partial.dtype)
    for unit in range(first, last):
        g, begin = unit // vectors, unit % vectors * lanes
        channels = min(lanes, KG - begin)
        for i in range(KH):
            for j in range(KW):
                for c in range(C):
                    weight = (i * KW + j) * C + c
                    row = weight // used * run + weight % used
                    copy(total, partial[0, g, row, begin : begin + lanes])
                    for part in range(1, parts):
                        add_to(total, partial[part, g, row, begin : begin + lanes])
                    for m in range(channels):
                        grad_weight[g * KG + begin + m, c, i, j] = total[m]
