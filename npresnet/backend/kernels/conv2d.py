"""Convolution and its two gradients: products of register tiles, block by block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.algorithm import get_algorithm
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels import winograd
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.layout import (
    block_range,
    lay_out,
    plan,
    row_offsets,
    run_count,
    runs_of,
    strip_size,
)
from npresnet.backend.kernels.prepared import prepared
from npresnet.backend.kernels.tile import dot_tile, product_tile, tile_shape
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

# The weight gradient is summed up for parts of the batch apart, and these are added at
# the end; where there are many weights, in few parts and for shares of the output
# channels instead. The numbers are fixed, whatever the number of threads, so that the
# order of additions is.
_MANY_WEIGHTS = 1 << 17
_FEW_PARTS_AND_SHARES, _PARTS_AND_SHARES = (2, 4), (16, 1)


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`.

    The column matrix is never written down; see `layout`.
    """
    x = dense(x)
    K, C = weight.shape[:2]  # C: channels of one group
    if _use_winograd(geometry, len(x), C, K, x.dtype):
        return winograd.conv2d(x, weight, geometry)
    G = geometry.groups
    out = np.empty((len(x), K, *geometry.output_size), x.dtype)
    rows = weight.reshape(G, K // G, -1)
    packed = prepared(weight, f"packed in {G}", lambda: _pack(rows))
    shape = tile_shape(x.dtype)
    blocks = plan(geometry, len(x), C, G * C, x.itemsize, shape)
    runs = runs_of(blocks, geometry, shape, K)
    offsets = row_offsets(blocks, geometry, C)
    size = strip_size(blocks, C)
    arguments = (out, x, packed, offsets, geometry, blocks, runs, shape, size)
    share_out(_convolve, blocks.total, *arguments)
    return out


def fused_conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    addend: Array | None,
    rectify: bool,
    geometry: Geometry,
) -> Array:
    """See `reference.fused_conv2d`: one more pass over the output, not three."""
    out = conv2d(x, weight, geometry)
    # Numba compiles for arrays, not for None: without an addend it is never read.
    addend, adds = (out, False) if addend is None else (dense(addend), True)
    share_out(_finish, len(out), out, dense(bias), addend, adds, rectify)
    return out


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_input`.

    At stride 1 this is itself a convolution: of grad_output with the weights turned
    by 180 degrees, in and out channels exchanged, padded so that sizes fit.
    """
    (KH, KW), (PH, PW), (DH, DW) = (
        geometry.kernel_size,
        geometry.padding,
        geometry.dilation,
    )
    padding = DH * (KH - 1) - PH, DW * (KW - 1) - PW
    if geometry.stride == (1, 1) and min(padding) >= 0:
        backward = geometry._replace(
            input_size=geometry.output_size,
            output_size=geometry.input_size,
            padding=padding,
        )
        C = weight.shape[1]
        if _use_winograd(backward, len(grad_output), len(weight), C, weight.dtype):
            return winograd.conv2d_grad_input(grad_output, weight, backward)
        return conv2d(grad_output, _turned(weight, geometry.groups), backward)
    return _scatter_columns(grad_output, weight, geometry)


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`.

    Vectors run along the places of several images. A fixed number of parts of the
    batch is summed up apart and added at the end, in order.
    """
    x, grad_output = dense(x), dense(grad_output)
    N, K = grad_output.shape[:2]
    G = geometry.groups
    C = x.shape[1] // G
    if _use_winograd(geometry, N, C, K, x.dtype):
        return winograd.conv2d_grad_weight(grad_output, x, geometry)
    shape = tile_shape(x.dtype)
    many = K * C * math.prod(geometry.kernel_size) >= _MANY_WEIGHTS
    parts, shares = _FEW_PARTS_AND_SHARES if many else _PARTS_AND_SHARES
    parts = min(parts, N)
    blocks = plan(geometry, -(-N // parts), C, G * C, x.itemsize, shape, dot=True)
    runs = runs_of(blocks, geometry, shape, K)
    offsets = row_offsets(blocks, geometry, C)
    padded = np.concatenate([offsets, np.zeros(-len(offsets) % shape.dot_rows, int)])
    height = -(-(K // G) // shape.dot_channels) * shape.dot_channels
    # Rows and columns beyond the weights' own belong to half-empty tiles.
    partial = np.zeros((parts, G, height, len(padded)), x.dtype)
    size = strip_size(blocks, C)
    arguments = (grad_output, x, padded, geometry, blocks, runs, shape, size, shares)
    share_out(_correlate, parts * shares, partial, *arguments)
    total: Array = partial.sum(axis=0)
    grad_weight = total[:, : K // G, : len(offsets)]
    return grad_weight.reshape(K, C, *geometry.kernel_size)


def _use_winograd(geometry: Geometry, N: int, C: int, K: int, dtype: Any) -> bool:
    return get_algorithm() == "auto" and winograd.suits(geometry, N, C, K, dtype)


def _pack(weight: Array) -> Array:
    """Order weights (G, K, R) as a tile reads them: (G, tiles, R, tile's channels)."""
    G, K, R = weight.shape
    channels = tile_shape(weight.dtype).channels
    tiles = -(-K // channels)
    packed = np.zeros((G, tiles * channels, R), weight.dtype)
    packed[:, :K] = weight
    return np.ascontiguousarray(
        packed.reshape(G, tiles, channels, R).transpose(0, 1, 3, 2)
    )


def _turned(weight: Array, groups: int) -> Array:
    """Turn kernels by 180 degrees and exchange channels: (C, K/groups, KH, KW)."""
    K, C, KH, KW = weight.shape
    turned = weight[:, :, ::-1, ::-1].reshape(groups, K // groups, C, KH, KW)
    return turned.transpose(0, 2, 1, 3, 4).reshape(groups * C, K // groups, KH, KW)


@kernel
def _convolve(
    out,
    x,
    packed,
    offsets,
    geometry,
    blocks,
    runs,
    shape,
    size,
    first_block,
    end_block,
):
    """Compute blocks first_block ... end_block-1 of `reference.conv2d`."""
    N, K, OH, OW = out.shape
    groups, tiles = packed.shape[:2]
    CG, KG = x.shape[1] // groups, K // groups
    out_flat = out.reshape(-1)
    strips = np.zeros(size, x.dtype)
    step = runs.reads.shape[1] * shape.run  # flat runs: places of one channel
    sums = np.empty(shape.channels * step if blocks.flat else 0, x.dtype)
    for block in range(first_block, end_block):
        first, last, top, bottom = block_range(blocks, block, N, OH)
        count = run_count(blocks, runs, shape, last - first, bottom - top)
        kind = 0 if bottom - top == blocks.band_rows else 1
        reads, writes = runs.reads[kind], runs.writes[kind]
        for g in range(groups):
            rows, begin = lay_out(
                strips, x, g * CG, CG, geometry, blocks, first, last, top, bottom
            )
            for tile in range(tiles):
                k = g * KG + tile * shape.channels
                channels = min(shape.channels, (g + 1) * KG - k)
                weights = packed[g, tile].reshape(-1)
                if not blocks.flat:
                    start = ((first * K + k) * OH + top) * OW
                    target, target_step = out_flat, OH * OW
                else:
                    target, start, target_step = sums, 0, step
                _multiply(
                    target,
                    start,
                    target_step,
                    channels,
                    writes,
                    weights,
                    rows,
                    begin,
                    reads,
                    offsets,
                    shape,
                    count,
                )
                if blocks.flat:
                    for m in range(channels):
                        for n in range(first, last):
                            place = m * step + (n - first) * blocks.image_step
                            _collect(
                                out[n, k + m, top:bottom],
                                sums[place:],
                                blocks.grid_width,
                            )


@kernel
def _finish(out, bias, addend, adds, rectify, first, last):
    """Add the bias, and the addend if there is one; stop at zero if asked to."""
    N, K = out.shape[:2]
    planes, addends = out.reshape(N, K, -1), addend.reshape(N, K, -1)
    zero = out.dtype.type(0)
    for n in range(first, last):
        for k in range(K):
            plane, shift = planes[n, k], bias[k]
            if adds:
                other = addends[n, k]
                for i in range(len(plane)):
                    plane[i] = plane[i] + shift + other[i]
            else:
                for i in range(len(plane)):
                    plane[i] = plane[i] + shift
            if rectify:
                for i in range(len(plane)):
                    plane[i] = zero if plane[i] <= zero else plane[i]


@kernel
def _multiply(
    out,
    out_start,
    out_step,
    channels,
    writes,
    weights,
    rows,
    begin,
    reads,
    offsets,
    shape,
    count,
):
    """Compute a tile's output channels for `count` runs; the last tile may overlap."""
    for run in range(0, count, shape.runs):
        product_tile(
            out,
            out_start,
            out_step,
            channels,
            writes,
            weights,
            0,
            rows,
            begin,
            reads,
            offsets,
            min(run, count - shape.runs),
        )


@kernel
def _collect(out, places, grid_width):
    """Copy the wanted places of a strip: out (rows, OW)."""
    rows, OW = out.shape
    for h in range(rows):
        source = places[h * grid_width : h * grid_width + OW]
        row = out[h]
        for w in range(OW):
            row[w] = source[w]


@kernel
def _correlate(
    partial,
    grad_output,
    x,
    offsets,
    geometry,
    blocks,
    runs,
    shape,
    size,
    shares,
    first_unit,
    end_unit,
):
    """Sum `reference.conv2d_grad_weight` up for some units of work.

    A unit is a part of the batch, and a share of the tiles of output channels.
    """
    N, K, OH, OW = grad_output.shape
    parts, groups, height, depth = partial.shape
    CG, KG = x.shape[1] // groups, K // groups
    tiles = height // shape.dot_channels
    grad_flat = grad_output.reshape(-1)
    strips = np.zeros(size, x.dtype)
    # With margins in the strip, or without room for a whole tile of channels in the
    # gradient itself, the gradient is laid out as well, zero in the margins.
    spread = blocks.flat or KG % shape.dot_channels != 0
    step = runs.reads.shape[1] * shape.run
    grad = np.zeros(height * step if spread else 0, x.dtype)
    places = np.arange(runs.reads.shape[1]) * shape.run
    for unit in range(first_unit, end_unit):
        part, share = unit // shares, unit % shares
        begin, end = part * N // parts, (part + 1) * N // parts
        first_k = share * tiles // shares * shape.dot_channels
        end_k = (share + 1) * tiles // shares * shape.dot_channels
        if first_k == end_k:
            continue
        for block in range(-(-(end - begin) // blocks.images) * blocks.bands):
            first, last, top, bottom = block_range(blocks, block, end - begin, OH)
            first, last = first + begin, last + begin
            count = run_count(blocks, runs, shape, last - first, bottom - top)
            kind = 0 if bottom - top == blocks.band_rows else 1
            for g in range(groups):
                rows, rows_start = lay_out(
                    strips, x, g * CG, CG, geometry, blocks, first, last, top, bottom
                )
                if spread:
                    image_step, grid_width = blocks.image_step, blocks.grid_width
                    if not blocks.flat:
                        image_step, grid_width = (bottom - top) * OW, OW
                    for k in range(first_k, min(end_k, KG)):
                        _spread(
                            grad[k * step : k * step + count * shape.run],
                            grad_output[first:last, g * KG + k, top:bottom],
                            image_step,
                            grid_width,
                        )
                    source, grad_reads, start, grad_step = grad, places, 0, step
                else:
                    source, grad_reads = grad_flat, runs.writes[kind]
                    start = ((first * K + g * KG) * OH + top) * OW
                    grad_step = OH * OW
                out = partial[part, g].reshape(-1)
                for k in range(first_k, end_k, shape.dot_channels):
                    for r in range(0, depth, shape.dot_rows):
                        dot_tile(
                            out,
                            k * depth + r,
                            depth,
                            source,
                            start + k * grad_step,
                            grad_step,
                            grad_reads,
                            rows,
                            rows_start,
                            runs.reads[kind],
                            offsets,
                            r,
                            count,
                        )


@kernel
def _spread(row, grad, image_places, grid_width):
    """Put planes (images, rows, OW) onto the grid, zeros between: the other way."""
    row[:] = 0
    images, rows, OW = grad.shape
    for n in range(images):
        for h in range(rows):
            begin = n * image_places + h * grid_width
            out = row[begin : begin + OW]
            source = grad[n, h]
            for w in range(OW):
                out[w] = source[w]


# ------------------------------------- the gradient by the input, for any stride


def _scatter_columns(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """Compute the columns' gradient band by band, and add it to the pixels."""
    grad_output = dense(grad_output)
    N, K = grad_output.shape[:2]
    G = geometry.groups
    C = weight.shape[1]
    shape = tile_shape(grad_output.dtype)
    # The columns' gradient is a 1x1 convolution of grad_output: one row per tap.
    pointwise = Geometry.of(geometry.output_size, (1, 1), groups=G)
    blocks = plan(pointwise, 1, K // G, K, grad_output.itemsize, shape)
    runs = runs_of(blocks, pointwise, shape, 1)
    offsets = row_offsets(blocks, pointwise, K // G)
    packed = _pack(weight.reshape(G, K // G, -1).transpose(0, 2, 1))
    grad_input = np.zeros((N, G * C, *geometry.input_size), grad_output.dtype)
    size = strip_size(blocks, K // G)
    both = (geometry, pointwise)
    arguments = (grad_output, packed, offsets, both, blocks, runs, shape, size)
    share_out(_scatter, N, grad_input, *arguments)
    return grad_input


@kernel
def _scatter(
    grad_input,
    grad_output,
    packed,
    offsets,
    geometries,
    blocks,
    runs,
    shape,
    size,
    first_image,
    end_image,
):
    """Compute `reference.conv2d_grad_input` of images first_image ... end_image-1."""
    geometry, pointwise = geometries
    K, OH = grad_output.shape[1:3]
    KH, KW = geometry.kernel_size
    groups, tiles = packed.shape[:2]
    CG, KG = grad_input.shape[1] // groups, K // groups
    strips = np.zeros(size, grad_output.dtype)
    step = runs.reads.shape[1] * shape.run
    sums = np.empty(shape.channels * step, grad_output.dtype)
    for n in range(first_image, end_image):
        for band in range(blocks.bands):
            _, _, top, bottom = block_range(blocks, band, 1, OH)
            count = run_count(blocks, runs, shape, 1, bottom - top)
            kind = 0 if bottom - top == blocks.band_rows else 1
            for g in range(groups):
                rows, begin = lay_out(
                    strips,
                    grad_output,
                    g * KG,
                    KG,
                    pointwise,
                    blocks,
                    n,
                    n + 1,
                    top,
                    bottom,
                )
                for tile in range(tiles):
                    row = tile * shape.channels  # (c, i, j) of the columns
                    channels = min(shape.channels, CG * KH * KW - row)
                    _multiply(
                        sums,
                        0,
                        step,
                        channels,
                        runs.writes[kind],
                        packed[g, tile].reshape(-1),
                        rows,
                        begin,
                        runs.reads[kind],
                        offsets,
                        shape,
                        count,
                    )
                    for m in range(row, row + channels):
                        _add_column_row(
                            grad_input[n, g * CG + m // (KH * KW)],
                            sums[(m - row) * step :],
                            geometry,
                            m // KW % KH,
                            m % KW,
                            top,
                            bottom,
                        )


@kernel
def _add_column_row(plane, columns, geometry, i, j, top, bottom):
    """Add what output rows top ... bottom bring back through tap (i, j)."""
    H, W = plane.shape
    SH, SW = geometry.stride
    PH, PW = geometry.padding
    DH, DW = geometry.dilation
    OW = geometry.output_size[1]
    shift = j * DW - PW
    begin = min(OW, max(0, -(shift // SW)))
    end = max(begin, min(OW, (W - 1 - shift) // SW + 1))
    for h in range(top, bottom):
        target = h * SH + i * DH - PH
        if 0 <= target < H:
            row = plane[target]
            source = columns[(h - top) * OW : (h - top + 1) * OW]
            for w in range(begin, end):
                row[w * SW + shift] += source[w]
