"""Winograd's convolution F(4x4, 3x3): 36 multiplications where 144 stood.

A tile of 4x4 output pixels of a 3x3 convolution depends on 6x6 input pixels. With
fixed small matrices A, B and G::

    tile = A^T [ (G w G^T) * (B^T patch B) ] A        (* element by element)

The sum over input channels moves inside the bracket, where it becomes 36 matrix
products, one for each of the 6x6 places: (tiles, C) pixels times (C, K) weights. The
weight gradient is the same diagram read backward. Pixels are vectors of channels, so
every step of every transform is a vector operation on pieces of memory. Adding and taking away before
multiplying costs digits: errors are some ten times those of the direct sum.

Lavin and Gray, arXiv 1509.09308, section 4; A, B and G are those of its section 4.3.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.channels_last import empty_images, pixels
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.layout import Table
from npresnet.backend.kernels.prepared import prepared
from npresnet.backend.kernels.tile import (
    TileShape,
    narrow_sum,
    narrow_tile,
    tile_shape,
    wide_sum,
    wide_tile,
)
from npresnet.backend.kernels.transform import constant_product
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

# Fewest channels, in and out, and fewest tiles for which it pays.
_LEAST_CHANNELS = 32
_LEAST_TILES = 24
_PLACES = 36  # 6x6
# Bytes that the transformed pixels of a block of tiles may take.
_BLOCK_BYTES = 512 * 1024
# Into how many parts of the batch, and shares of the output channels, the weight
# gradient is cut: fixed numbers, whatever the number of threads.
_MANY_WEIGHTS = 1 << 15
_FEW_PARTS_AND_SHARES, _PARTS_AND_SHARES = (1, 4), (4, 1)


def suits(geometry: Geometry, images: int, C: int, K: int, dtype: Any) -> bool:
    """Tell whether Winograd's algorithm applies, and pays."""
    lanes = tile_shape(np.dtype(dtype)).lanes
    return bool(
        dtype == np.float32
        and geometry.kernel_size == (3, 3)
        and geometry.stride == (1, 1)
        and geometry.dilation == (1, 1)
        and geometry.groups == 1
        and max(geometry.padding) <= 2
        and min(C, K) >= _LEAST_CHANNELS
        and C % lanes == K % lanes == 0
        and images * _tiles(geometry.output_size) >= _LEAST_TILES
    )


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d`; for what `suits` only."""
    return _multiply_pixels(
        x, weight, geometry.output_size, geometry.padding, turned=False
    )


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_input`; for what `suits` only."""
    PH, PW = geometry.padding
    return _multiply_pixels(
        grad_output, weight, geometry.input_size, (2 - PH, 2 - PW), turned=True
    )


class _Plan(NamedTuple):
    """Sizes of a product, and where its tiles read and write."""

    shape: TileShape
    size: tuple[int, int]  # of the output, in pixels
    padding: tuple[int, int]
    block: int  # tiles of a block
    reads: Table
    writes: Table
    origin: Table  # the one segment of a product of matrices


@functools.lru_cache(maxsize=512)
def _plan(
    size: tuple[int, int],
    padding: tuple[int, int],
    images: int,
    C: int,
    K: int,
) -> _Plan:
    shape = tile_shape(np.dtype(np.float32))
    tiles = images * _tiles(size)
    most = _BLOCK_BYTES // (_PLACES * max(C, K) * 4)
    block = max(most // shape.places, 2) * shape.places
    blocks = -(-tiles // block)
    block = -(-tiles // blocks)  # all of one size
    block = _round_up(block, shape.places)
    places = np.arange(block, dtype=np.int64)
    return _Plan(
        shape, size, padding, block, places * C, places * K, np.zeros(1, np.int64)
    )


def _multiply_pixels(
    x: Array,
    weight: Array,
    size: tuple[int, int],
    padding: tuple[int, int],
    *,
    turned: bool,
) -> Array:
    """Convolve x with the weights, or with the weights turned and transposed."""
    N, C = x.shape[:2]
    K = weight.shape[1 if turned else 0]
    planned = _plan(size, padding, N, C, K)

    def transform() -> Array:
        factors = np.empty((_PLACES, K * C), x.dtype)
        vectors = K // planned.shape.lanes
        share_out(
            _transform_weights, vectors, factors, dense(weight), planned.shape, turned
        )
        return factors

    factors = prepared(weight, f"winograd, {turned=}", transform)
    out = empty_images((N, K, *size), x.dtype)
    blocks = -(-N * _tiles(size) // planned.block)
    share_out(_convolve, blocks, pixels(out), pixels(x), factors, planned)
    return out


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`; for what `suits` only."""
    N, K = grad_output.shape[:2]
    C = x.shape[1]
    many = K * C >= _MANY_WEIGHTS
    parts, shares = _FEW_PARTS_AND_SHARES if many else _PARTS_AND_SHARES
    planned = _plan(geometry.output_size, geometry.padding, N, C, K)
    blocks = -(-N * _tiles(geometry.output_size) // planned.block)
    parts = min(blocks, parts)
    height = _round_up(C, 2 * planned.shape.rows)
    partial = np.zeros((parts, _PLACES, height, K), x.dtype)
    arguments = (pixels(grad_output), pixels(x), planned, blocks, shares)
    share_out(_correlate, parts * shares, partial, *arguments)
    grad_weight = np.empty((K, C, 3, 3), x.dtype)
    share_out(_transform_grad_weights, C, grad_weight, partial)
    return grad_weight


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _tiles(size: tuple[int, int]) -> int:
    return -(-size[0] // 4) * -(-size[1] // 4)


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
    """Compute G w G^T for some vectors of output channels, packed for tiles.

    Vectors come in pairs, as tiles take them; the last may be a single one.
    """
    K, C = weight.shape[:2]
    if turned:
        K, C = C, K
    lanes = shape.lanes
    vectors = K // lanes
    size = C * lanes
    rows = np.empty(9 * size, weight.dtype)
    half = np.empty(18 * size, weight.dtype)
    whole = np.empty(36 * size, weight.dtype)
    for vector in range(first, last):
        for m in range(lanes):
            k = vector * lanes + m
            for c in range(C):
                taps = weight[c, k] if turned else weight[k, c]
                for tap in range(9):
                    # The last tap first is the kernel turned by 180 degrees.
                    row = 8 - tap if turned else tap
                    rows[row * size + c * lanes + m] = taps[tap // 3, tap % 3]
        for j in range(3):
            apply_g(rows, j * size, 3 * size, half, j * size, 3 * size, size)
        for i in range(6):
            apply_g(half, 3 * i * size, size, whole, 6 * i * size, size, size)
        pair = vector // 2
        width = min(2, vectors - 2 * pair) * lanes
        begin = 2 * pair * size + vector % 2 * lanes
        for z in range(36):
            source = whole[z * size : (z + 1) * size]
            for c in range(C):
                target = factors[z, begin + c * width : begin + c * width + lanes]
                for m in range(lanes):
                    target[m] = source[c * lanes + m]


@kernel
def _transform_grad_weights(grad_weight, partial, first, last):
    """Add the parts up, and compute G^T u G, for input channels first ... last-1."""
    parts, places, _, K = partial.shape
    rows = np.empty((places, K), partial.dtype)
    half = np.empty(18 * K, partial.dtype)
    taps = np.empty((9, K), partial.dtype)
    for c in range(first, last):
        rows[:] = partial[0, :, c]
        for part in range(1, parts):
            rows += partial[part, :, c]
        flat = rows.reshape(-1)
        apply_g_transposed(flat, 0, 6 * K, half, 0, 6 * K, 6 * K)
        for i in range(3):
            apply_g_transposed(half, 6 * i * K, K, taps.reshape(-1), 3 * i * K, K, K)
        for k in range(K):
            for tap in range(9):
                grad_weight[k, c, tap // 3, tap % 3] = taps[tap, k]


# ------------------------------------------------------------------ kernels


@kernel
def _place(tile, size):
    """Return a tile's image, and its first row and column."""
    down, across = (size[0] + 3) // 4, (size[1] + 3) // 4
    n, rest = divmod(tile, down * across)
    return n, rest // across * 4, rest % across * 4


@kernel
def _transform_pixels(values, x, patch, half, planned, first, count):
    """Compute B^T patch B of the 6x6 pixels around each tile: (36, tiles, C)."""
    _, H, W, C = x.shape
    step = values.shape[1]
    flat = values.reshape(-1)
    pixel = x.reshape(-1)
    for t in range(count):
        n, top, left = _place(first + t, planned.size)
        top, left = top - planned.padding[0], left - planned.padding[1]
        if top >= 0 and left >= 0 and top + 6 <= H and left + 6 <= W:
            start = ((n * H + top) * W + left) * C
            apply_b(pixel, start, W * C, half, 0, 6 * C, 6 * C)
        else:
            _cut_out(patch, x[n], top, left, 6)
            apply_b(patch, 0, 6 * C, half, 0, 6 * C, 6 * C)
        for i in range(6):
            apply_b(half, 6 * i * C, C, flat, 6 * i * step + t * C, step, C)


@kernel
def _transform_grads(values, grad, patch, half, planned, first, count):
    """Compute A grad A^T of each tile's 4x4 gradients: (36, tiles, K)."""
    _, H, W, K = grad.shape
    step = values.shape[1]
    flat = values.reshape(-1)
    pixel = grad.reshape(-1)
    for t in range(count):
        n, top, left = _place(first + t, planned.size)
        if top + 4 <= H and left + 4 <= W:
            start = ((n * H + top) * W + left) * K
            apply_a_transposed(pixel, start, W * K, half, 0, 4 * K, 4 * K)
        else:
            _cut_out(patch, grad[n], top, left, 4)
            apply_a_transposed(patch, 0, 4 * K, half, 0, 4 * K, 4 * K)
        for i in range(6):
            begin = 6 * i * step + t * K
            apply_a_transposed(half, 4 * i * K, K, flat, begin, step, K)


@kernel
def _cut_out(patch, image, top, left, side):
    """Copy side x side pixels; beyond the image is zero."""
    H, W, C = image.shape
    for i in range(side):
        for j in range(side):
            row = patch[(i * side + j) * C : (i * side + j + 1) * C]
            if 0 <= top + i < H and 0 <= left + j < W:
                source = image[top + i, left + j]
                for c in range(C):
                    row[c] = source[c]
            else:
                row[:] = 0


@kernel
def _transform_sums(out, sums, patch, half, planned, first, count):
    """Compute A^T sum A of each tile's 36 sums, its 4x4 pixels."""
    _, H, W, K = out.shape
    step = sums.shape[1]
    flat = sums.reshape(-1)
    pixel = out.reshape(-1)
    for t in range(count):
        n, top, left = _place(first + t, planned.size)
        for j in range(6):
            apply_a(flat, j * step + t * K, 6 * step, half, j * K, 6 * K, K)
        if top + 4 <= H and left + 4 <= W:
            for i in range(4):
                start = ((n * H + top + i) * W + left) * K
                apply_a(half, 6 * i * K, K, pixel, start, K, K)
        else:
            for i in range(min(4, H - top)):
                apply_a(half, 6 * i * K, K, patch, 0, K, K)
                for j in range(min(4, W - left)):
                    row = out[n, top + i, left + j]
                    for k in range(K):
                        row[k] = patch[j * K + k]


@kernel
def _convolve(out, x, factors, planned, first_block, end_block):
    """Compute blocks of tiles first_block ... end_block-1 of the output."""
    N, OH, OW, K = out.shape
    C = x.shape[3]
    shape, block = planned.shape, planned.block
    total = N * ((OH + 3) // 4) * ((OW + 3) // 4)
    patch, half = np.empty(36 * C, x.dtype), np.empty(36 * max(C, K), x.dtype)
    # One row more than needed: the 36 matrices should not lie at a power of two from
    # each other, because then they would share the same few places of the cache.
    values = np.zeros((36, (block + 1) * C), x.dtype)
    sums = np.empty((36, (block + 1) * K), x.dtype)
    lanes = shape.lanes
    for number in range(first_block, end_block):
        first = number * block
        count = min(block, total - first)
        _transform_pixels(values, x, patch, half, planned, first, count)
        for z in range(36):
            for k in range(0, K, 2 * lanes):
                wide = k + lanes < K
                for t in range(0, count, shape.places):
                    if wide:
                        wide_tile(
                            sums[z],
                            k,
                            planned.writes,
                            values[z],
                            0,
                            planned.reads,
                            t,
                            planned.origin,
                            C,
                            factors[z],
                            k * C,
                        )
                    else:
                        narrow_tile(
                            sums[z],
                            k,
                            planned.writes,
                            values[z],
                            0,
                            planned.reads,
                            t,
                            planned.origin,
                            C,
                            factors[z],
                            k * C,
                        )
        _transform_sums(out, sums, patch, half, planned, first, count)


@kernel
def _correlate(partial, grad_output, x, planned, blocks, shares, first_unit, end_unit):
    """Sum the 36 products of the weight gradient up for some units of work.

    A unit is a part of the blocks of tiles, and a share of the output channels.
    """
    parts, _, height, _ = partial.shape
    N, OH, OW, K = grad_output.shape
    C = x.shape[3]
    shape, block = planned.shape, planned.block
    lanes = shape.lanes
    total = N * ((OH + 3) // 4) * ((OW + 3) // 4)
    patch, half = np.empty(36 * max(C, K), x.dtype), np.empty(36 * max(C, K), x.dtype)
    values = np.zeros((36, (block + 1) * C), x.dtype)  # tiles of sums read beyond C
    grads = np.empty((36, (block + 1) * K), x.dtype)
    pairs = (K // lanes + 1) // 2
    for unit in range(first_unit, end_unit):
        part, share = unit // shares, unit % shares
        for number in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = number * block
            count = min(block, total - first)
            _transform_pixels(values, x, patch, half, planned, first, count)
            _transform_grads(grads, grad_output, patch, half, planned, first, count)
            for z in range(36):
                out = partial[part, z].reshape(-1)
                for pair in range(
                    share * pairs // shares, (share + 1) * pairs // shares
                ):
                    k = 2 * pair * lanes
                    wide = k + lanes < K
                    tile_rows = shape.rows if wide else 2 * shape.rows
                    for c in range(0, height, tile_rows):
                        if wide:
                            wide_sum(
                                out,
                                c * K + k,
                                K,
                                values[z],
                                c,
                                planned.origin,
                                count,
                                C,
                                grads[z],
                                k,
                                K,
                            )
                        else:
                            narrow_sum(
                                out,
                                c * K + k,
                                K,
                                values[z],
                                c,
                                planned.origin,
                                count,
                                C,
                                grads[z],
                                k,
                                K,
                            )
