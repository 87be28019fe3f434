"""Convolution and its two gradients: products of register tiles, block by block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.layout import (
    block_range,
    lay_out,
    plan,
    row_offsets,
)
from npresnet.backend.kernels.tile import dot_tile, product_tile, tile_shape
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

# Partial weight gradients: enough to keep many threads busy, but a fixed number, so
# that the order of additions does not depend on the threads; few where they are big.
_PARTIALS = (4, 16)
_PARTIAL_ELEMENTS = 1 << 22


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`.

    The column matrix is never written down at stride 1, and only a block of it at
    other strides; see `layout`.
    """
    x = dense(x)
    N, K = len(x), len(weight)
    C = weight.shape[1]  # channels of one group
    shape = tile_shape(x.dtype)
    blocks = plan(geometry, N, C, x.itemsize, shape.width)
    out = np.empty((N, K, *geometry.output_size), x.dtype)
    offsets = row_offsets(blocks, geometry, C)
    packed = _pack(weight.reshape(geometry.groups, K // geometry.groups, -1))
    share_out(_convolve, blocks.total, out, x, packed, offsets, geometry, blocks, shape)
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
        return conv2d(grad_output, _turned(weight, geometry.groups), backward)
    return _scatter_columns(grad_output, weight, geometry)


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`.

    Vectors run along the positions of several images. A fixed number of parts of
    the batch is summed up apart and added at the end, in order.
    """
    x, grad_output = dense(x), dense(grad_output)
    N, K = grad_output.shape[:2]
    G = geometry.groups
    C = x.shape[1] // G
    shape = tile_shape(x.dtype)
    partials = min(N, _partial_count(K * C * math.prod(geometry.kernel_size)))
    blocks = plan(geometry, -(-N // partials), C, x.itemsize, shape.width)
    offsets = row_offsets(blocks, geometry, C)
    tail = -len(offsets) % shape.dot_rows
    padded = np.concatenate([offsets, np.zeros(tail, np.int64)])
    height = -(-(K // G) // shape.dot_channels) * shape.dot_channels
    # Rows and columns beyond the weights' own belong to half-empty tiles.
    partial = np.zeros((partials, G, height, len(padded)), x.dtype)
    share_out(
        _correlate, partials, partial, grad_output, x, padded, geometry, blocks, shape
    )
    grad_weight: Array = partial.sum(axis=0)[:, : K // G, : len(offsets)]
    return grad_weight.reshape(K, C, *geometry.kernel_size)


def _partial_count(elements: int) -> int:
    least, most = _PARTIALS
    return min(most, max(least, _PARTIAL_ELEMENTS // elements))


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
def _convolve(out, x, packed, offsets, geometry, blocks, shape, first_block, end_block):
    """Compute blocks first_block ... end_block-1 of `reference.conv2d`."""
    N, K = out.shape[:2]
    groups, tiles = packed.shape[:2]
    C, KG = x.shape[1] // groups, K // groups
    image_places = blocks.grid_rows * blocks.grid_width
    places = blocks.images * image_places
    step = -(-places // shape.width) * shape.width
    layout = np.zeros(blocks.rows * blocks.row_stride, x.dtype)
    sums = np.empty(shape.channels * step, x.dtype)
    weights = packed.reshape(-1)
    for block in range(first_block, end_block):
        first, last, top, bottom = block_range(blocks, block, N, out.shape[2])
        # Not beyond the last row that is wanted of the last image.
        used = (last - first - 1) * image_places + (bottom - top) * blocks.grid_width
        for g in range(groups):
            lay_out(layout, x, g * C, C, geometry, blocks, first, last, top, bottom)
            for tile in range(tiles):
                begin = (g * tiles + tile) * len(offsets) * shape.channels
                for start in range(0, used, shape.width):
                    product_tile(
                        sums, start, step, weights, begin, layout, start, offsets
                    )
                for m in range(min(shape.channels, KG - tile * shape.channels)):
                    k = g * KG + tile * shape.channels + m
                    for n in range(first, last):
                        start = m * step + (n - first) * image_places
                        _collect(out[n, k, top:bottom], sums[start:], blocks.grid_width)


@kernel
def _collect(out, places, grid_width):
    """Copy the wanted places of a grid: out (rows, OW)."""
    rows, OW = out.shape
    for h in range(rows):
        source = places[h * grid_width : h * grid_width + OW]
        row = out[h]
        for w in range(OW):
            row[w] = source[w]


@kernel
def _correlate(
    partial, grad_output, x, offsets, geometry, blocks, shape, first_part, end_part
):
    """Sum `reference.conv2d_grad_weight` over parts first_part ... of the batch."""
    N, K, OH = grad_output.shape[:3]
    parts, groups, height, depth = partial.shape
    C, KG = x.shape[1] // groups, K // groups
    image_places = blocks.grid_rows * blocks.grid_width
    places = blocks.images * image_places
    step = -(-places // shape.lanes) * shape.lanes
    layout = np.zeros(blocks.rows * blocks.row_stride, x.dtype)
    grad = np.zeros(height * step, x.dtype)  # on the grid, zero between its rows
    for part in range(first_part, end_part):
        begin, end = part * N // parts, (part + 1) * N // parts
        for block in range(-(-(end - begin) // blocks.images) * blocks.bands):
            first, last, top, bottom = block_range(blocks, block, end - begin, OH)
            first, last = first + begin, last + begin
            used = (last - first - 1) * image_places
            used += (bottom - top) * blocks.grid_width
            length = -(-used // shape.lanes) * shape.lanes
            for g in range(groups):
                out = partial[part, g].reshape(-1)
                lay_out(layout, x, g * C, C, geometry, blocks, first, last, top, bottom)
                for k in range(KG):
                    row = grad[k * step : k * step + length]
                    _spread(
                        row,
                        grad_output[first:last, g * KG + k, top:bottom],
                        image_places,
                        blocks.grid_width,
                    )
                for k in range(0, height, shape.dot_channels):
                    for r in range(0, depth, shape.dot_rows):
                        dot_tile(
                            out,
                            k * depth + r,
                            depth,
                            grad,
                            k * step,
                            step,
                            layout,
                            offsets,
                            r,
                            length,
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
    blocks = plan(pointwise, 1, K // G, grad_output.itemsize, shape.width)
    offsets = row_offsets(blocks, pointwise, K // G)
    packed = _pack(weight.reshape(G, K // G, -1).transpose(0, 2, 1))
    grad_input = np.zeros((N, G * C, *geometry.input_size), grad_output.dtype)
    share_out(
        _scatter,
        N,
        grad_input,
        grad_output,
        packed,
        offsets,
        geometry,
        pointwise,
        blocks,
        shape,
    )
    return grad_input


@kernel
def _scatter(
    grad_input,
    grad_output,
    packed,
    offsets,
    geometry,
    pointwise,
    blocks,
    shape,
    first_image,
    end_image,
):
    """Compute `reference.conv2d_grad_input` of images first_image ... end_image-1."""
    OH, OW = grad_output.shape[2:]
    KH, KW = geometry.kernel_size
    groups, tiles = packed.shape[:2]
    C, KG = grad_input.shape[1] // groups, grad_output.shape[1] // groups
    step = -(-blocks.grid_rows * blocks.grid_width // shape.width) * shape.width
    layout = np.zeros(blocks.rows * blocks.row_stride, grad_output.dtype)
    sums = np.empty(shape.channels * step, grad_output.dtype)
    weights = packed.reshape(-1)
    for n in range(first_image, end_image):
        for band in range(blocks.bands):
            _, _, top, bottom = block_range(blocks, band, 1, OH)
            used = (bottom - top) * OW
            for g in range(groups):
                lay_out(
                    layout,
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
                    begin = (g * tiles + tile) * len(offsets) * shape.channels
                    for start in range(0, used, shape.width):
                        product_tile(
                            sums, start, step, weights, begin, layout, start, offsets
                        )
                    for m in range(shape.channels):
                        row = tile * shape.channels + m  # (c, i, j) of the columns
                        if row < C * KH * KW:
                            _add_column_row(
                                grad_input[n, g * C + row // (KH * KW)],
                                sums[m * step :],
                                geometry,
                                row // KW % KH,
                                row % KW,
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
