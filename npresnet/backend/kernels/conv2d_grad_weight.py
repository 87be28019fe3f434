"""A convolution's gradient with respect to its weights: pixels times output gradients.

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
    padded_size,
    plan,
    read_offsets,
    tap_offsets,
)
from npresnet.backend.kernels.micro_kernels import (
    TileShape,
    grad_weight_micro_kernel,
    tile_shape,
)
from npresnet.backend.kernels.rows import add_to, copy
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

# Into how many splits the batch is cut, whose sums are added at the end (BLAS calls it
# split-K), and into how many the panels; with many weights, few and more. The numbers
# are fixed, whatever the number of threads, so that the order of additions is.
_MANY_WEIGHTS = 1 << 17
_SPLITS_OF_MANY, _SPLITS = (2, 4), (16, 1)
# Outputs of a block: what tiles read again and again stays in the first-level cache.
_MOST_OUTPUTS = 256
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
    shape = planned.splits, G, len(planned.rows), width
    partial = memory.scratch(shape, x.dtype)
    iterations = planned.splits * planned.panel_splits
    parallel_for(
        _correlate, iterations, partial, pixels(grad_output), pixels(x), planned
    )
    grad_weight = np.empty((K, C // G, *geometry.kernel_size), x.dtype)
    arguments = (partial, planned.seen, planned.filled, lanes)
    parallel_for(_collect, G * width // lanes, grad_weight, *arguments)
    return grad_weight


class _Plan(NamedTuple):
    """Everything about the gradient but its numbers."""

    blocks: Blocks  # of one split
    shape: TileShape
    splits: int
    panel_splits: int
    rows: Table  # where each weight reads, from where its output begins
    seen: int  # weights that read neighbours, and so many filled up to whole tiles
    filled: int
    segments: Table  # rows of outputs: where they read
    length: int  # outputs of a segment
    step: int  # elements from one output of a segment to the next
    padded_size: int


@functools.lru_cache(maxsize=512)
def _plan(
    geometry: Geometry, images: int, C: int, K: int, dtype: np.dtype[Any]
) -> _Plan:
    G = geometry.groups
    shape = tile_shape(dtype)
    many = K * C // G * math.prod(geometry.kernel_size) >= _MANY_WEIGHTS
    splits, panel_splits = _SPLITS_OF_MANY if many else _SPLITS
    splits = min(splits, images)
    axes = forward_axes(geometry)
    blocks = plan(
        *axes,
        -(-images // splits),
        C * dtype.itemsize,
        most_bytes=_MOST_BYTES,
        most_outputs=_MOST_OUTPUTS,
        in_memory=C // G % (2 * shape.grad_rows) == 0,
    )
    taps = tap_offsets(blocks, *axes, C)
    if axes[1].adjacent and G == 1:
        starts, seen = taps[:, 0], taps.shape[1] * C
    else:
        starts, seen = taps.reshape(-1), C // G
    # A tile takes neighbours: it is filled up with what comes behind.
    filled = -(-seen // (2 * shape.grad_rows)) * 2 * shape.grad_rows
    rows = (starts[:, None] + np.arange(filled)).reshape(-1)
    reads = read_offsets(blocks, axes[1], C)
    outputs, step = blocks.columns, axes[1].step * C
    if np.array_equal(reads, np.arange(len(reads)) * step):
        outputs = len(reads)  # rows of outputs follow each other without a gap
    return _Plan(
        blocks,
        shape,
        splits,
        panel_splits,
        rows,
        seen,
        filled,
        reads[:: blocks.columns].copy(),
        outputs,
        step,
        padded_size(blocks, C) + filled,
    )


@kernel
def _correlate(partial, grad_output, x, planned, first_iteration, end_iteration):
    """Sum up `reference.conv2d_grad_weight` for some iterations.

    An iteration is a split of the batch and some of the panels.
    """
    N, _, OW, K = grad_output.shape
    blocks, shape, panel_splits = planned.blocks, planned.shape, planned.panel_splits
    rows, segments = planned.rows, planned.segments
    splits, groups, depth, pitch = partial.shape
    CG, KG = x.shape[3] // groups, K // groups
    lanes, vectors = shape.lanes, pitch // shape.lanes
    panels = (vectors + 1) // 2
    padded = np.empty(planned.padded_size, x.dtype)
    grad = np.empty(len(segments) * blocks.columns * 2 * lanes, x.dtype)
    out = partial.reshape(-1)
    for iteration in range(first_iteration, end_iteration):
        split, panel_split = iteration // panel_splits, iteration % panel_splits
        begin, end = split * N // splits, (split + 1) * N // splits
        for block in range(
            -(-(end - begin) // blocks.images) * blocks.blocks_per_image
        ):
            first, last, top, bottom = block_range(blocks, block, end - begin)
            first, last = first + begin, last + begin
            a, a_start = lay_out(padded, x, blocks, first, last, top, bottom)
            lines = (last - first) * (bottom - top)
            length = planned.length
            if length == OW:
                starts = segments[:lines]
            else:
                starts, length = segments[:1], lines * OW
            for g in range(groups):
                for panel in range(
                    panel_split * panels // panel_splits,
                    (panel_split + 1) * panels // panel_splits,
                ):
                    k = 2 * panel * lanes
                    wide = 2 * panel + 1 < vectors
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
                    start = (split * groups + g) * depth * pitch + k
                    tile_rows = shape.grad_rows if wide else 2 * shape.grad_rows
                    for row in range(0, depth, tile_rows):
                        out_start = start + row * pitch
                        read = a_start + g * CG + rows[row]
                        grad_weight_micro_kernel(
                            wide,
                            out,
                            out_start,
                            pitch,
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
def _pack(panel, grad_output, k, channels, width, first, last, top, bottom):
    """Pack some channels of a block's gradient: (outputs, width), zeros behind."""
    begin = 0
    for n in range(first, last):
        for h in range(top, bottom):
            for w in range(grad_output.shape[2]):
                source = grad_output[n, h, w, k : k + channels]
                row = panel[begin : begin + width]
                for m in range(channels):
                    row[m] = source[m]
                row[channels:] = 0
                begin += width


@kernel
def _collect(grad_weight, partial, seen, filled, lanes, first, last):
    """Add up the sums of the splits, in order, for some vectors of output channels."""
    splits, groups, _, width = partial.shape
    K, C, KH, KW = grad_weight.shape
    KG, vectors = K // groups, width // lanes
    total = np.empty(lanes, partial.dtype)
    for iteration in range(first, last):
        g, begin = iteration // vectors, iteration % vectors * lanes
        channels = min(lanes, KG - begin)
        for i in range(KH):
            for j in range(KW):
                for c in range(C):
                    weight = (i * KW + j) * C + c
                    row = weight // seen * filled + weight % seen
                    copy(total, partial[0, g, row, begin : begin + lanes])
                    for split in range(1, splits):
                        add_to(total, partial[split, g, row, begin : begin + lanes])
                    for m in range(channels):
                        grad_weight[g * KG + begin + m, c, i, j] = total[m]
