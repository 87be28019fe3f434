"""Convolution and its gradient with respect to the input: an implicit GEMM.

The column matrix of im2col is never written down: with the channels of a pixel side by
side, what a row of a kernel sees is one segment of memory, and a micro-kernel reads it
there.
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
from npresnet.backend.kernels.epilogue import (
    Epilogue,
    apply_epilogue,
    make_epilogue,
    no_epilogue,
)
from npresnet.backend.kernels.layout import (
    Axis,
    Blocks,
    Table,
    backward_axes,
    block_range,
    forward_axes,
    lay_out,
    padded_size,
    plan,
    read_offsets,
    tap_offsets,
    write_offsets,
)
from npresnet.backend.kernels.micro_kernels import (
    TileShape,
    conv_micro_kernel,
    tile_shape,
)
from npresnet.backend.kernels.packing import Allocate, packed_weight
from npresnet.backend.kernels.rows import copy
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

# A convolution has so many iterations at least, if it can: where blocks are few, the
# panels of each are split, too.
_LEAST_ITERATIONS = 8


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`."""
    return _convolve_with_epilogue(
        x, weight, no_epilogue(len(weight), x.dtype), geometry
    )


def fused_conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    rectify: bool,
    geometry: Geometry,
) -> Array:
    """See `reference.fused_conv2d`: the epilogue is applied to results in registers."""
    epilogue = make_epilogue(bias, residual, rectify, x.dtype)
    return _convolve_with_epilogue(x, weight, epilogue, geometry)


def _convolve_with_epilogue(
    x: Array, weight: Array, epilogue: Epilogue, geometry: Geometry
) -> Array:
    K, C = weight.shape[:2]  # C: channels of one group
    if _use_winograd(geometry, len(x), C, K, x.dtype):
        return winograd.conv2d(x, weight, epilogue, geometry)
    out = empty_images((len(x), K, *geometry.output_size), x.dtype)
    axes = forward_axes(geometry)
    _convolve_taps(out, x, weight, *axes, geometry.groups, epilogue)
    return out


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_input`.

    It is a convolution itself, of grad_output, with in and out channels exchanged; at
    a stride of 2 it is four, for even and odd rows and columns of pixels.
    """
    epilogue = no_epilogue(weight.shape[1] * geometry.groups, weight.dtype)
    return _grad_input(grad_output, weight, epilogue, geometry)


def conv2d_grad_input_add(
    grad_output: Array, weight: Array, other: Array, geometry: Geometry
) -> Array:
    """See `reference.conv2d_grad_input_add`."""
    no_bias = np.zeros(weight.shape[1] * geometry.groups, weight.dtype)
    epilogue = make_epilogue(no_bias, other, False, weight.dtype)
    return _grad_input(grad_output, weight, epilogue, geometry)


def _grad_input(
    grad_output: Array, weight: Array, epilogue: Epilogue, geometry: Geometry
) -> Array:
    N, K = grad_output.shape[:2]
    C = weight.shape[1]
    if _use_winograd(geometry, N, K, C, weight.dtype):
        return winograd.conv2d_grad_input(grad_output, weight, epilogue, geometry)
    shape = (N, C * geometry.groups, *geometry.input_size)
    grad_input = empty_images(shape, grad_output.dtype)
    kinds = [backward_axes(geometry, axis) for axis in (0, 1)]
    if math.prod(map(len, kinds)) < math.prod(geometry.stride):
        # Some pixels are seen by no tap.
        parallel_for(_nothing, len(grad_input), pixels(grad_input), epilogue)
    for rows in kinds[0]:
        for columns in kinds[1]:
            _convolve_taps(
                grad_input,
                grad_output,
                weight,
                rows,
                columns,
                geometry.groups,
                epilogue,
                backward=True,
            )
    return grad_input


def _use_winograd(geometry: Geometry, N: int, C: int, K: int, dtype: Any) -> bool:
    return get_algorithm() == "auto" and winograd.suits(geometry, N, C, K, dtype)


class _Plan(NamedTuple):
    """Everything about a convolution but its numbers."""

    blocks: Blocks
    shape: TileShape
    splits: int  # of the panels of a block
    reads: Table
    writes: Table
    segments: Table
    length: int  # of a segment
    origin: tuple[int, int, int]  # of results: first row, stride of rows, first pixel
    padded_size: int


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
    taps = tap_offsets(blocks, rows, columns, C)
    if columns.adjacent and G == 1:
        segments, length = taps[:, 0].copy(), taps.shape[1] * C
    else:
        segments, length = taps.reshape(-1), C // G
    panels = -(-(K // G) // (2 * shape.lanes))
    splits = min(panels, -(-_LEAST_ITERATIONS // blocks.total))
    reads = read_offsets(blocks, columns, C)
    writes = write_offsets(blocks, rows, columns, size, K)
    return _Plan(
        blocks,
        shape,
        splits,
        reads,
        writes,
        segments,
        length,
        (rows.first, rows.stride, columns.first),
        padded_size(blocks, C),
    )


def _convolve_taps(
    out: Array,
    x: Array,
    weight: Array,
    rows: Axis,
    columns: Axis,
    groups: int,
    epilogue: Epilogue,
    *,
    backward: bool = False,
) -> None:
    """Convolve images with some taps of the weights."""
    N, K, OH, OW = out.shape
    planned = _plan(rows, columns, N, (x.shape[1], K, groups), (OH, OW), x.dtype)
    lanes = planned.shape.lanes

    def pack(allocate: Allocate) -> Array:
        taps = np.array(rows.taps), np.array(columns.taps)
        depth = len(rows.taps) * len(columns.taps) * (x.shape[1] // groups)
        vectors = -(-(K // groups) // lanes)
        packed = allocate((groups, vectors * lanes * depth), x.dtype)
        iterations = groups * -(-vectors // 2)
        parallel_for(_pack, iterations, packed, dense(weight), *taps, lanes, backward)
        return packed

    order = rows.taps, columns.taps, groups, backward
    packed = packed_weight(weight, order, pack)
    iterations = planned.blocks.total * planned.splits
    parallel_for(
        _convolve, iterations, pixels(out), pixels(x), packed, planned, epilogue
    )


@kernel
def _nothing(images, epilogue, first, last):
    """Write what an epilogue makes of zeros that have no bias."""
    size = images[0].size
    for n in range(first, last):
        image = images[n].reshape(-1)
        image[:] = 0
        if epilogue.adds:
            added = epilogue.residual[n * size : (n + 1) * size]
            for i in range(size):
                image[i] += added[i]


@kernel
def _pack(packed, weight, row_taps, column_taps, lanes, backward, first, last):
    """Pack weights into panels, which micro-kernels read from beginning to end.

    A panel has two vectors of output channels of a group (the last may have one): a row
    of these channels for every tap and input channel.
    """
    groups, size = packed.shape
    K, C = weight.shape[0] // groups, weight.shape[1]
    outs, ins = (C, K) if backward else (K, C)
    depth = len(row_taps) * len(column_taps) * ins
    vectors = size // (depth * lanes)
    panels = (vectors + 1) // 2
    for iteration in range(first, last):
        g, panel = iteration // panels, iteration % panels
        width = min(2, vectors - 2 * panel) * lanes
        begin = 2 * panel * lanes
        rows = packed[g, begin * depth : (begin + width) * depth]
        if begin + width > outs:
            rows[:] = 0
        for m in range(min(width, outs - begin)):
            for c in range(ins):
                if backward:
                    taps = weight[g * K + c, begin + m]
                else:
                    taps = weight[g * K + begin + m, c]
                offset = c * width + m
                for i in row_taps:
                    for j in column_taps:
                        rows[offset] = taps[i, j]
                        offset += ins * width


@kernel
def _convolve(out, x, packed, planned, epilogue, first_iteration, end_iteration):
    """Compute iterations first_iteration ... end_iteration-1 of `reference.conv2d`.

    An iteration is some of the panels of a block.
    """
    N, OH, OW, K = out.shape
    blocks, shape, splits = planned.blocks, planned.shape, planned.splits
    reads, writes, segments = planned.reads, planned.writes, planned.segments
    first_row, row_stride, first_pixel = planned.origin
    groups = len(packed)
    CG, KG = x.shape[3] // groups, K // groups
    lanes, depth = shape.lanes, len(segments) * planned.length
    vectors = packed.shape[1] // (depth * lanes)
    panels = (vectors + 1) // 2
    out_flat = out.reshape(-1)
    padded = np.empty(planned.padded_size, x.dtype)
    edge = np.empty(shape.rows * 2 * lanes, x.dtype)
    edge_writes = np.arange(max(len(reads), shape.rows)) * 2 * lanes
    edge_reads = np.empty(shape.rows, np.int64)
    none, lowest = np.zeros(2 * lanes, x.dtype), x.dtype.type(-np.inf)
    laid_out = -1
    a, a_start = padded, 0
    for iteration in range(first_iteration, end_iteration):
        block, split = iteration // splits, iteration % splits
        first, last, top, bottom = block_range(blocks, block, N)
        outputs = (last - first) * (bottom - top) * blocks.columns
        if block != laid_out:
            a, a_start = lay_out(padded, x, blocks, first, last, top, bottom)
            laid_out = block
        sources = reads
        if outputs < shape.rows:
            # A micro-kernel takes no fewer: it reads the last output's pixels again,
            # not what is behind them.
            sources = edge_reads
            for p in range(shape.rows):
                sources[p] = reads[min(p, outputs - 1)]
        row = first * OH + first_row + top * row_stride
        block_start = (row * OW + first_pixel) * K
        for g in range(groups):
            weights = packed[g]
            start = a_start + g * CG
            for panel in range(
                split * panels // splits, (split + 1) * panels // splits
            ):
                k = 2 * panel * lanes
                wide = 2 * panel + 1 < vectors
                width = 2 * lanes if wide else lanes
                whole = k + width <= KG and outputs >= shape.rows
                bias = epilogue.bias[g * KG :] if whole else none
                # What is not a whole tile is computed apart, and cut there.
                target, target_start, table = out_flat, block_start + g * KG + k, writes
                for p in range(0, outputs, shape.rows):
                    p = max(min(p, outputs - shape.rows), 0)  # the last overlaps
                    if not whole:
                        target, target_start, table = edge, -p * 2 * lanes, edge_writes
                    conv_micro_kernel(
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
                        epilogue.residual,
                        epilogue.adds and whole,
                        epilogue.floor if whole else lowest,
                    )
                    if not whole:
                        for q in range(min(shape.rows, outputs)):
                            begin = block_start + g * KG + k + writes[p + q]
                            end = begin + min(width, KG - k)
                            row = out_flat[begin:end]
                            copy(row, edge[q * 2 * lanes :])
                            apply_epilogue(row, begin, g * KG + k, epilogue)
