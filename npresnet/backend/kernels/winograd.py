"""Winograd's convolution F(4x4, 3x3): 36 multiplications where 144 stood.

A tile of 4x4 output pixels of a 3x3 convolution depends on 6x6 input pixels. With
fixed small matrices A, B and G::

    tile = A^T [ (G w G^T) * (B^T patch B) ] A        (* element by element)

The sum over input channels moves inside the bracket, where it becomes 36 matrix
products, one for each of the 6x6 places: (K, C) weights times (C, tiles) pixels. The
weight gradient is the same diagram read backward. Adding and taking away before
multiplying costs digits: errors are some ten times those of the direct sum.

Lavin and Gray, arXiv 1509.09308, section 4; A, B and G are those of its section 4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.prepared import prepared
from npresnet.backend.kernels.tile import dot_tile, product_tile, tile_shape
from npresnet.backend.kernels.transform import constant_product
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

# Fewest channels, in and out, and fewest tiles for which it pays.
_LEAST_CHANNELS = 32
_LEAST_TILES = 24
_PLACES = 36  # 6x6
# Tiles that are computed side by side: the length of rows in products, and in the dot
# products of the weight gradient.
_BATCH, _GRAD_BATCH = 32, 128
# Into how many parts of the batch, and shares of the output channels, the weight
# gradient is cut: fixed numbers, whatever the number of threads.
_MANY_WEIGHTS = 1 << 15
_FEW_PARTS_AND_SHARES, _PARTS_AND_SHARES = (1, 4), (4, 1)


def suits(geometry: Geometry, images: int, C: int, K: int, dtype: Any) -> bool:
    """Tell whether Winograd's algorithm applies, and pays."""
    OH, OW = geometry.output_size
    tiles = images * -(-OH // 4) * -(-OW // 4)
    return (
        dtype == np.float32
        and geometry.kernel_size == (3, 3)
        and geometry.stride == (1, 1)
        and geometry.dilation == (1, 1)
        and geometry.groups == 1
        and min(C, K) >= _LEAST_CHANNELS
        and tiles >= _LEAST_TILES
    )


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`; for what `suits` only."""
    return _multiply_pixels(x, weight, geometry, turned=False)


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_input`; `geometry` is the one of the way back."""
    return _multiply_pixels(grad_output, weight, geometry, turned=True)


def _multiply_pixels(
    x: Array, weight: Array, geometry: Geometry, *, turned: bool
) -> Array:
    """Convolve x with the weights, or with the weights turned and transposed."""
    x = dense(x)
    N, C = x.shape[:2]
    K = weight.shape[1 if turned else 0]
    shape = tile_shape(x.dtype)

    def transform() -> Array:
        tiles = -(-K // shape.channels)
        length = _round_up(C * shape.channels, shape.lanes)
        factors = np.empty((_PLACES, tiles, length), x.dtype)
        share_out(_transform_weights, tiles, factors, dense(weight), shape, turned)
        return factors

    factors = prepared(weight, f"winograd, {turned=}", transform)
    out = np.empty((N, K, *geometry.output_size), x.dtype)
    offsets = np.arange(C, dtype=np.int64) * _BATCH
    runs = np.arange(0, _BATCH, shape.run, dtype=np.int64)
    blocks = -(-N * _tiles(geometry) // _BATCH)
    share_out(_convolve, blocks, out, x, factors, offsets, runs, geometry, shape)
    return out


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`; for what `suits` only."""
    x, grad_output = dense(x), dense(grad_output)
    N, K = grad_output.shape[:2]
    C = x.shape[1]
    shape = tile_shape(x.dtype)
    many = K * C >= _MANY_WEIGHTS
    parts, shares = _FEW_PARTS_AND_SHARES if many else _PARTS_AND_SHARES
    tiles = N * _tiles(geometry)
    batch = min(_GRAD_BATCH, _round_up(tiles, shape.lanes))
    blocks = -(-tiles // batch)
    parts = min(blocks, parts)
    height = _round_up(K, shape.dot_channels)
    width = _round_up(C, shape.dot_rows)
    partial = np.zeros((parts, _PLACES, height, _round_up(width, shape.lanes)), x.dtype)
    offsets = np.arange(width, dtype=np.int64) * batch
    runs = np.arange(0, batch, shape.run, dtype=np.int64)
    arguments = (grad_output, x, offsets, runs, geometry, shape, blocks, shares)
    share_out(_correlate, parts * shares, partial, *arguments)
    grad_weight = np.empty((K, C, 3, 3), x.dtype)
    share_out(_transform_grad_weights, K, grad_weight, partial)
    return grad_weight


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _tiles(geometry: Geometry) -> int:
    OH, OW = geometry.output_size
    return -(-OH // 4) * -(-OW // 4)


# --------------------------------------------------------------- transforms

_B_TRANSPOSED = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_A_TRANSPOSED = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
_A = tuple(zip(*_A_TRANSPOSED, strict=True))

_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_G_TRANSPOSED = tuple(zip(*_G, strict=True))

# apply_b(rows, start, step, out, out_start, out_step, count) multiplies B^T with six
# rows of `count` numbers, which begin `step` apart in `rows`; the others likewise.
apply_b = constant_product(_B_TRANSPOSED)
apply_a = constant_product(_A_TRANSPOSED)
apply_a_transposed = constant_product(_A)
apply_g = constant_product(_G)
apply_g_transposed = constant_product(_G_TRANSPOSED)


@kernel
def _transform_weights(factors, weight, shape, turned, first, last):
    """Compute G w G^T for some tiles of output channels, packed for product tiles.

    Rows of numbers run along input channels and the output channels of a tile.
    """
    K, C = weight.shape[:2]
    if turned:
        K, C = C, K
    channels, length = shape.channels, factors.shape[2]
    rows = np.zeros(9 * length, weight.dtype)
    half = np.empty(18 * length, weight.dtype)
    flat, step = factors.reshape(-1), factors[0].size
    for tile in range(first, last):
        rows[:] = 0
        for m in range(min(channels, K - tile * channels)):
            k = tile * channels + m
            for c in range(C):
                place = c * channels + m
                taps = weight[c, k] if turned else weight[k, c]
                for tap in range(9):
                    # The last tap first is the kernel turned by 180 degrees.
                    row = 8 - tap if turned else tap
                    rows[row * length + place] = taps[tap // 3, tap % 3]
        for j in range(3):
            apply_g(rows, j * length, 3 * length, half, j * length, 3 * length, length)
        for i in range(6):
            begin = 6 * i * step + tile * length
            apply_g(half, 3 * i * length, length, flat, begin, step, length)


@kernel
def _transform_grad_weights(grad_weight, partial, first, last):
    """Add the parts up, and compute G^T u G, for output channels first ... last-1."""
    parts, places, _, length = partial.shape
    C = grad_weight.shape[1]
    rows = np.empty((places, length), partial.dtype)
    half = np.empty(18 * length, partial.dtype)
    taps = np.empty((9, length), partial.dtype)
    for k in range(first, last):
        rows[:] = partial[0, :, k]
        for part in range(1, parts):
            rows += partial[part, :, k]
        flat, three = rows.reshape(-1), 3 * length
        for j in range(6):
            begin = j * length
            apply_g_transposed(flat, begin, 6 * length, half, begin, 6 * length, length)
        for i in range(3):
            begin = 6 * i * length
            apply_g_transposed(
                half, begin, length, taps.reshape(-1), i * three, length, length
            )
        for c in range(C):
            for tap in range(9):
                grad_weight[k, c, tap // 3, tap % 3] = taps[tap, c]


# ------------------------------------------------------------------ kernels


@kernel
def _gather(patches, x, c, first, count, side, geometry):
    """Copy side x side pixels of channel c around each of `count` tiles: rows of tiles.

    ``patches[i*side + j, t]`` is pixel (i, j) of tile first + t. With a side of 6 it
    starts one border's width above and left of the tile; beyond the image is zero.
    """
    H, W = x.shape[2:]
    PH, PW = geometry.padding if side == 6 else (0, 0)
    OH, OW = geometry.output_size
    down, across = -(-OH // 4), -(-OW // 4)
    for t in range(count):
        n, rest = divmod(first + t, down * across)
        top, left = rest // across * 4 - PH, rest % across * 4 - PW
        plane = x[n, c]
        if top >= 0 and left >= 0 and top + side <= H and left + side <= W:
            for i in range(side):
                row = plane[top + i, left : left + side]
                for j in range(side):
                    patches[i * side + j, t] = row[j]
        else:
            for i in range(side):
                inside = 0 <= top + i < H
                for j in range(side):
                    w = left + j
                    value = x.dtype.type(0)
                    if inside and 0 <= w < W:
                        value = plane[top + i, w]
                    patches[i * side + j, t] = value


@kernel
def _transform_pixels(patches, half, values, c, step, batch):
    """Compute B^T patch B for all tiles: row c of each of the 36 matrices."""
    patches, half, values = patches.reshape(-1), half.reshape(-1), values.reshape(-1)
    six = 6 * batch
    for j in range(6):
        apply_b(patches, j * batch, six, half, j * batch, six, batch)
    for i in range(6):
        apply_b(half, i * six, batch, values, 6 * i * step + c * batch, step, batch)


@kernel
def _transform_sums(sums, half, pixels, k, step, batch):
    """Compute A^T sum A for all tiles of output channel k: 4x4 pixels."""
    sums, half, pixels = sums.reshape(-1), half.reshape(-1), pixels.reshape(-1)
    six = 6 * batch
    for j in range(6):
        apply_a(sums, k * batch + j * step, 6 * step, half, j * batch, six, batch)
    for i in range(4):
        apply_a(half, i * six, batch, pixels, 4 * i * batch, batch, batch)


@kernel
def _transform_grads(pixels, half, grads, k, step, batch):
    """Compute A grad A^T for all tiles: row k of each of the 36 matrices."""
    pixels, half, grads = pixels.reshape(-1), half.reshape(-1), grads.reshape(-1)
    four = 4 * batch
    for j in range(4):
        apply_a_transposed(pixels, j * batch, four, half, j * batch, four, batch)
    for i in range(6):
        apply_a_transposed(
            half, i * four, batch, grads, 6 * i * step + k * batch, step, batch
        )


@kernel
def _convolve(out, x, factors, offsets, runs, geometry, shape, first_block, end_block):
    """Compute batches of tiles first_block ... end_block-1 of the output."""
    N, K, OH, OW = out.shape
    C = x.shape[1]
    total, batch = N * -(-OH // 4) * -(-OW // 4), len(runs) * shape.run
    tiles = factors.shape[1]
    patches, half = np.zeros((36, batch), x.dtype), np.empty((36, batch), x.dtype)
    # One row more than needed: the 36 matrices should not lie at a power of two from
    # each other, because then they would share the same few places of the cache.
    values = np.empty((36, C + 1, batch), x.dtype)
    sums = np.empty((36, tiles * shape.channels + 1, batch), x.dtype)
    values_step, sums_step = values[0].size, sums[0].size
    values_flat, sums_flat = values.reshape(-1), sums.reshape(-1)
    for block in range(first_block, end_block):
        first = block * batch
        count = min(batch, total - first)
        for c in range(C):
            _gather(patches, x, c, first, count, 6, geometry)
            _transform_pixels(patches, half, values, c, values_step, batch)
        for z in range(36):
            for tile in range(tiles):
                start = z * sums_step + tile * shape.channels * batch
                for run in range(0, len(runs), shape.runs):
                    product_tile(
                        sums_flat,
                        start,
                        batch,
                        shape.channels,
                        runs,
                        factors[z, tile],
                        0,
                        values_flat,
                        z * values_step,
                        runs,
                        offsets,
                        run,
                    )
        for k in range(K):
            _transform_sums(sums, half, patches, k, sums_step, batch)
            _scatter(out, patches, k, first, count)


@kernel
def _scatter(out, tiles, k, first, count):
    """Copy 4x4 pixels of each tile to channel k of the output."""
    OH, OW = out.shape[2:]
    down, across = -(-OH // 4), -(-OW // 4)
    for t in range(count):
        n, rest = divmod(first + t, down * across)
        top, left = rest // across * 4, rest % across * 4
        plane = out[n, k]
        if top + 4 <= OH and left + 4 <= OW:
            for i in range(4):
                row = plane[top + i, left : left + 4]
                for j in range(4):
                    row[j] = tiles[4 * i + j, t]
        else:
            for i in range(min(4, OH - top)):
                for j in range(min(4, OW - left)):
                    plane[top + i, left + j] = tiles[4 * i + j, t]


@kernel
def _correlate(
    partial,
    grad_output,
    x,
    offsets,
    runs,
    geometry,
    shape,
    blocks,
    shares,
    first_unit,
    end_unit,
):
    """Sum the 36 products of the weight gradient up for some units of work.

    A unit is a part of the batches of tiles, and a share of the output channels.
    """
    parts, _, height, row = partial.shape
    width, channels = len(offsets), shape.dot_channels
    N, K, OH, OW = grad_output.shape
    C = x.shape[1]
    total, batch = N * -(-OH // 4) * -(-OW // 4), len(runs) * shape.run
    patches, half = np.zeros((36, batch), x.dtype), np.empty((36, batch), x.dtype)
    values = np.zeros((36, width + 1, batch), x.dtype)
    grads = np.zeros((36, height + 1, batch), x.dtype)
    values_step, grads_step = values[0].size, grads[0].size
    values_flat, grads_flat = values.reshape(-1), grads.reshape(-1)
    for unit in range(first_unit, end_unit):
        part, share = unit // shares, unit % shares
        first_k = share * (height // channels) // shares * channels
        end_k = (share + 1) * (height // channels) // shares * channels
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * batch
            count = min(batch, total - first)
            patches[:, count:] = 0
            for c in range(C):
                _gather(patches, x, c, first, count, 6, geometry)
                _transform_pixels(patches, half, values, c, values_step, batch)
            for k in range(first_k, min(end_k, K)):
                _gather(patches, grad_output, k, first, count, 4, geometry)
                _transform_grads(patches, half, grads, k, grads_step, batch)
            for z in range(36):
                out = partial[part, z].reshape(-1)
                for k in range(first_k, end_k, channels):
                    for r in range(0, width, shape.dot_rows):
                        dot_tile(
                            out,
                            k * row + r,
                            row,
                            grads_flat,
                            z * grads_step + k * batch,
                            batch,
                            runs,
                            values_flat,
                            z * values_step,
                            runs,
                            offsets,
                            r,
                            len(runs),
                        )
