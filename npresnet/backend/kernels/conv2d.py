"""Convolution and its gradient by the input: products of register tiles.

The column matrix of im2col is never written down: with the channels of a pixel side by
side, what a row of a kernel sees is one piece of memory, and a tile reads it there.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.algorithm import get_algorithm
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels import winograd
from npresnet.backend.kernels.channels_last import empty_images, pixels
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.finish import Finish, finish_row, finish_with, no_finish
from npresnet.backend.kernels.layout import (
    Axis,
    Blocks,
    Table,
    backward_axes,
    block_range,
    forward_axes,
    lay_out,
    plan,
    read_places,
    strip_size,
    tap_places,
    write_places,
)
from npresnet.backend.kernels.prepared import Room, prepared
from npresnet.backend.kernels.rows import copy
from npresnet.backend.kernels.tile import TileShape, product_tile, tile_shape
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

# Units of work that a convolution is cut into at least, if it can be: where blocks are
# few, units are shares of the output channels.
_LEAST_UNITS = 8


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`."""
    return _convolve_and_finish(x, weight, no_finish(len(weight), x.dtype), geometry)


def fused_conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    addend: Array | None,
    rectify: bool,
    geometry: Geometry,
) -> Array:
    """See `reference.fused_conv2d`: the rest is done before results leave registers."""
    finish = finish_with(bias, addend, rectify, x.dtype)
    return _convolve_and_finish(x, weight, finish, geometry)


def _convolve_and_finish(
    x: Array, weight: Array, finish: Finish, geometry: Geometry
) -> Array:
    K, C = weight.shape[:2]  # C: channels of one group
    if _use_winograd(geometry, len(x), C, K, x.dtype):
        return winograd.conv2d(x, weight, finish, geometry)
    out = empty_images((len(x), K, *geometry.output_size), x.dtype)
    axes = forward_axes(geometry)
    _convolve_taps(out, x, weight, *axes, geometry.groups, finish)
    return out


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_input`.

    It is a convolution itself, of grad_output, with in and out channels exchanged; at
    a stride of 2 it is four, for even and odd rows and columns of pixels.
    """
    N, K = grad_output.shape[:2]
    C = weight.shape[1]
    if _use_winograd(geometry, N, K, C, weight.dtype):
        return winograd.conv2d_grad_input(grad_output, weight, geometry)
    shape = (N, C * geometry.groups, *geometry.input_size)
    grad_input = empty_images(shape, grad_output.dtype)
    kinds = [backward_axes(geometry, axis) for axis in (0, 1)]
    if math.prod(map(len, kinds)) < math.prod(geometry.stride):
        grad_input[:] = 0  # some pixels are seen by no tap
    finish = no_finish(shape[1], weight.dtype)
    for rows in kinds[0]:
        for columns in kinds[1]:
            _convolve_taps(
                grad_input,
                grad_output,
                weight,
                rows,
                columns,
                geometry.groups,
                finish,
                backward=True,
            )
    return grad_input


def _use_winograd(geometry: Geometry, N: int, C: int, K: int, dtype: Any) -> bool:
    return get_algorithm() == "auto" and winograd.suits(geometry, N, C, K, dtype)


class _Plan(NamedTuple):
    """Everything about a convolution but its numbers."""

    blocks: Blocks
    shape: TileShape
    shares: int  # shares of the output channels
    reads: Table
    writes: Table
    segments: Table
    length: int  # of a segment
    origin: tuple[int, int, int]  # of results: first row, stride of rows, first pixel
    strip_size: int


@functools.lru_cache(maxsize=512)
def _plan(
    rows: Axis,
    columns: Axis,
    images: int,
    channels: tuple[int, int, int],
    size: tuple[int, int],
    dtype: np.dtype[Any],
) -> _Plan:
    """Plan a convolution to `size` pixels; channels: in, out, groups."""
    C, K, G = channels
    shape = tile_shape(dtype)
    blocks = plan(rows, columns, images, C * dtype.itemsize)
    taps = tap_places(blocks, rows, columns, C)
    if columns.adjacent and G == 1:
        segments, length = taps[:, 0].copy(), taps.shape[1] * C
    else:
        segments, length = taps.reshape(-1), C // G
    pairs = -(-(K // G) // (2 * shape.lanes))
    shares = min(pairs, -(-_LEAST_UNITS // blocks.total))
    reads = read_places(blocks, columns, C)
    writes = write_places(blocks, rows, columns, size, K)
    return _Plan(
        blocks,
        shape,
        shares,
        reads,
        writes,
        segments,
        length,
        (rows.first, rows.stride, columns.first),
        strip_size(blocks, C),
    )


def _convolve_taps(
    out: Array,
    x: Array,
    weight: Array,
    rows: Axis,
    columns: Axis,
    groups: int,
    finish: Finish,
    *,
    backward: bool = False,
) -> None:
    """Convolve images with some taps of the weights."""
    N, K, OH, OW = out.shape
    planned = _plan(rows, columns, N, (x.shape[1], K, groups), (OH, OW), x.dtype)
    lanes = planned.shape.lanes

    def pack(room: Room) -> Array:
        taps = np.array(rows.taps), np.array(columns.taps)
        depth = len(rows.taps) * len(columns.taps) * (x.shape[1] // groups)
        vectors = -(-(K // groups) // lanes)
        packed = room((groups, vectors * lanes * depth), x.dtype)
        units = groups * -(-vectors // 2)
        parallel_for(_pack, units, packed, dense(weight), *taps, lanes, backward)
        return packed

    order = rows.taps, columns.taps, groups, backward
    packed = prepared(weight, order, pack)
    units = planned.blocks.total * planned.shares
    parallel_for(_convolve, units, pixels(out), pixels(x), packed, planned, finish)


@kernel
def _pack(packed, weight, row_taps, column_taps, lanes, backward, first, last):
    """Put weights in the order in which tiles read them, two vectors at a time.

    Per group and pair of vectors of output channels (the last may be a single one):
    a row of these channels for every tap and input channel.
    """
    groups, size = packed.shape
    K, C = weight.shape[0] // groups, weight.shape[1]
    outs, ins = (C, K) if backward else (K, C)
    depth = len(row_taps) * len(column_taps) * ins
    vectors = size // (depth * lanes)
    pairs = (vectors + 1) // 2
    for unit in range(first, last):
        g, pair = unit // pairs, unit % pairs
        width = min(2, vectors - 2 * pair) * lanes
        begin = 2 * pair * lanes
        rows = packed[g, begin * depth : (begin + width) * depth]
        if begin + width > outs:
            rows[:] = 0
        for m in range(min(width, outs - begin)):
            for c in range(ins):
                if backward:
                    taps = weight[g * K + c, begin + m]
                else:
                    taps = weight[g * K + begin + m, c]
                place = c * width + m
                for i in row_taps:
                    for j in column_taps:
                        rows[place] = taps[i, j]
                        place += ins * width


@kernel
def _convolve(out, x, packed, planned, finish, first_unit, end_unit):
    """Compute units first_unit ... end_unit-1 of `reference.conv2d`.

    A unit is a share of the output channels of a block.
    """
    N, OH, OW, K = out.shape
    blocks, shape, shares = planned.blocks, planned.shape, planned.shares
    reads, writes, segments = planned.reads, planned.writes, planned.segments
    first_row, row_stride, first_pixel = planned.origin
    groups = len(packed)
    CG, KG = x.shape[3] // groups, K // groups
    lanes, depth = shape.lanes, len(segments) * planned.length
    vectors = packed.shape[1] // (depth * lanes)
    pairs = (vectors + 1) // 2
    out_flat = out.reshape(-1)
    strip = np.empty(planned.strip_size, x.dtype)
    few = np.empty(shape.places * 2 * lanes, x.dtype)
    steps = np.arange(max(len(reads), shape.places)) * 2 * lanes
    few_reads = np.empty(shape.places, np.int64)
    none, lowest = np.zeros(2 * lanes, x.dtype), x.dtype.type(-np.inf)
    laid_out = -1
    a, a_start = strip, 0
    for unit in range(first_unit, end_unit):
        block, share = unit // shares, unit % shares
        first, last, top, bottom = block_range(blocks, block, N)
        places = (last - first) * (bottom - top) * blocks.columns
        if block != laid_out:
            a, a_start = lay_out(strip, x, blocks, first, last, top, bottom)
            laid_out = block
        sources = reads
        if places < shape.places:
            # A tile takes no fewer: it reads the last place again, not what is behind.
            sources = few_reads
            for p in range(shape.places):
                sources[p] = reads[min(p, places - 1)]
        row = first * OH + first_row + top * row_stride
        block_start = (row * OW + first_pixel) * K
        for g in range(groups):
            weights = packed[g]
            start = a_start + g * CG
            for pair in range(share * pairs // shares, (share + 1) * pairs // shares):
                k = 2 * pair * lanes
                wide = 2 * pair + 1 < vectors
                width = 2 * lanes if wide else lanes
                whole = k + width <= KG and places >= shape.places
                bias = finish.bias[g * KG :] if whole else none
                # What is not whole goes through a place apart, and is cut there.
                target, target_start, table = out_flat, block_start + g * KG + k, writes
                for p in range(0, places, shape.places):
                    p = max(min(p, places - shape.places), 0)  # the last overlaps
                    if not whole:
                        target, target_start, table = few, -p * 2 * lanes, steps
                    product_tile(
                        wide,
                        target,
                        target_start,
                        table,
                        a,
                        start,
                        sources,
                        p,
                        segments,
                        planned.length,
                        weights,
                        k * depth,
                        bias,
                        k if whole else 0,
                        finish.addend,
                        finish.adds and whole,
                        finish.floor if whole else lowest,
                    )
                    if not whole:
                        for q in range(min(shape.places, places)):
                            begin = block_start + g * KG + k + writes[p + q]
                            end = begin + min(width, KG - k)
                            row = out_flat[begin:end]
                            copy(row, few[q * 2 * lanes :])
                            finish_row(row, begin, g * KG + k, finish)
