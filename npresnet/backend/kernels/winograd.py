"""Winograd's convolution F(4x4, 3x3): 36 multiplications where 144 stood.

A tile of 4x4 output pixels of a 3x3 convolution depends on 6x6 input pixels. With
fixed small matrices A, B and G::

    tile = A^T [ (G w G^T) * (B^T patch B) ] A        (* element by element)

The sum over input channels moves inside the bracket, where it becomes 36 matrix
products, one for each of the 6x6 elements: (tiles, C) pixels times (C, K) weights. The
weight gradient is the same diagram read backward. Pixels are vectors of channels, so
every step of every transform is an operation on whole vectors. Adding and subtracting
before multiplying costs digits: errors are some ten times those of the
direct sum where pixels are of similar size. An output's error is measured by the
largest pixel of its patch, even one that it does not see: docs/winograd.md.

Lavin and Gray, arXiv 1509.09308, section 4; A, B and G are those of its section 4.3.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels import memory
from npresnet.backend.kernels.channels_last import empty_images, pixels
from npresnet.backend.kernels.compile import ZERO, dense, kernel
from npresnet.backend.kernels.epilogue import Epilogue
from npresnet.backend.kernels.layout import Table
from npresnet.backend.kernels.matmul_micro_kernel import matmul_micro_kernel
from npresnet.backend.kernels.micro_kernels import (
    TileShape,
    grad_weight_micro_kernel,
    tile_shape,
)
from npresnet.backend.kernels.packing import Allocate, packed_weight
from npresnet.backend.kernels.winograd_transforms import (
    transform_grad_weights,
    transform_grads,
    transform_pixels,
    transform_sums,
    transform_weights,
)
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

# Fewest channels, in and out, and fewest tiles for which it pays.
_LEAST_CHANNELS = 16
_LEAST_TILES = 24
_PRODUCTS = 36  # 6x6
# Where the 36 matrices of weights outgrow the caches, each is read once, for all tiles
# at a time; else a block of tiles goes through all steps while it is in the cache.
_MANY_WEIGHTS = 1 << 15
# From so many on, all threads sum up the weight gradient together, instead of each for
# a split of the images: the sums of each would be much memory.
_WEIGHTS_IN_COMMON = 1 << 12
# Bytes of transformed pixels: of a block, by the square root of the bytes of weights
# that are read for it, and of all tiles that are computed at a time.
_LEAST_BLOCK_BYTES, _BLOCK_BYTES_PER_ROOT = 1 << 17, 340
_MOST_BYTES = 1 << 22
_MOST_CACHED_BYTES = 5 << 18
_MANY_BLOCKS = 16
# Into how many splits the tiles are cut for the weight gradient: a fixed number,
# whatever the number of threads.
_SPLITS = 4


@functools.lru_cache(maxsize=512)
def suits(geometry: Geometry, images: int, C: int, K: int, dtype: Any) -> bool:
    """Tell whether Winograd's algorithm applies, and pays."""
    if geometry.kernel_size != (3, 3) or min(C, K) < _LEAST_CHANNELS:
        return False
    lanes = tile_shape(np.dtype(dtype)).lanes
    return bool(
        dtype == np.float32
        and geometry.stride == (1, 1)
        and geometry.dilation == (1, 1)
        and geometry.groups == 1
        and max(geometry.padding) <= 2
        and C % lanes == K % lanes == 0
        and images * _tiles(geometry.output_size) >= _LEAST_TILES
    )


def conv2d(x: Array, weight: Array, epilogue: Epilogue, geometry: Geometry) -> Array:
    """See `reference.fused_conv2d`; for what `suits` only."""
    size, padding = geometry.output_size, geometry.padding
    return _multiply_pixels(x, weight, size, padding, epilogue, turned=False)


def conv2d_grad_input(
    grad_output: Array, weight: Array, epilogue: Epilogue, geometry: Geometry
) -> Array:
    """See `reference.conv2d_grad_input_add`; for what `suits` only."""
    size, (PH, PW) = geometry.input_size, geometry.padding
    padding = 2 - PH, 2 - PW
    return _multiply_pixels(grad_output, weight, size, padding, epilogue, turned=True)


class _Plan(NamedTuple):
    """Sizes of a product of transformed pixels and weights."""

    shape: TileShape
    size: tuple[int, int]  # of the output, in pixels
    padding: tuple[int, int]
    tiles: int  # in all
    block: int  # tiles that go through a step together
    # From one tile's channels to the next one's, coming in and going out.
    in_pitch: int
    out_pitch: int
    origin: Table  # the one segment of a product of matrices


@functools.lru_cache(maxsize=512)
def _plan(
    size: tuple[int, int], padding: tuple[int, int], images: int, C: int, K: int
) -> _Plan:
    shape = tile_shape(np.dtype(np.float32))
    tiles = images * _tiles(size)
    tile_bytes = _PRODUCTS * max(C, K) * 4
    if K * C >= _MANY_WEIGHTS:
        block = _MOST_BYTES // tile_bytes
    else:
        root = math.isqrt(_PRODUCTS * C * K * 4)
        block = max(_LEAST_BLOCK_BYTES, _BLOCK_BYTES_PER_ROOT * root) // tile_bytes
        # Many blocks can be divided evenly among threads, few cannot.
        block = min(block, tiles // _MANY_BLOCKS)
    blocks = -(-tiles // _round_up(block, shape.rows))
    block = _round_up(-(-tiles // blocks), shape.rows)  # all of one size
    pitches = _pitch(C, shape.lanes), _pitch(K, shape.lanes)
    return _Plan(
        shape,
        size,
        padding,
        tiles,
        block,
        *pitches,
        np.zeros(1, np.int64),
    )


def _pitch(length: int, lanes: int) -> int:
    """Keep rows from lying at a large power of two from each other.

    They would share the same few sets of the cache.
    """
    return length if length % 128 else length + lanes


def _multiply_pixels(
    x: Array,
    weight: Array,
    size: tuple[int, int],
    padding: tuple[int, int],
    epilogue: Epilogue,
    *,
    turned: bool,
) -> Array:
    """Convolve x with the weights, or with the weights turned and transposed."""
    N, C = x.shape[:2]
    K = weight.shape[1 if turned else 0]
    planned = _plan(size, padding, N, C, K)
    lanes = planned.shape.lanes

    def transform(allocate: Allocate) -> Array:
        transformed = allocate((_PRODUCTS, _pitch(K * C, lanes)), x.dtype)
        iterations = -(-K // (2 * lanes)) * (C // lanes)
        parallel_for(
            transform_weights, iterations, transformed, dense(weight), lanes, turned
        )
        return transformed

    transformed = packed_weight(weight, f"winograd, {turned=}", transform)
    out = empty_images((N, K, *size), x.dtype)
    x, y = pixels(x), pixels(out)
    blocks = -(-planned.tiles // planned.block)
    if K * C < _MANY_WEIGHTS:
        parallel_for(_convolve, blocks, y, x, transformed, planned, epilogue)
        return out
    values = memory.scratch((_PRODUCTS, planned.block + 1, planned.in_pitch), x.dtype)
    sums = memory.scratch((_PRODUCTS, planned.block + 1, planned.out_pitch), x.dtype)
    iterations = _PRODUCTS * -(-K // (2 * lanes))
    for first in range(0, planned.tiles, planned.block):
        count = min(planned.block, planned.tiles - first)
        parallel_for(transform_pixels, count, values, x, planned, first)
        parallel_for(
            _multiply, iterations, sums, values, transformed, planned, C, K, count
        )
        parallel_for(transform_sums, count, y, sums, planned, epilogue, first)
    return out


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """See `reference.conv2d_grad_weight`; for what `suits` only."""
    N, K = grad_output.shape[:2]
    C = x.shape[1]
    planned = _plan(geometry.output_size, geometry.padding, N, C, K)
    x, grad = pixels(x), pixels(grad_output)
    if K * C < _WEIGHTS_IN_COMMON:
        blocks = -(-planned.tiles // planned.block)
        splits = min(blocks, _SPLITS)
        partial = memory.scratch((splits, _PRODUCTS, C, K), x.dtype)
        parallel_for(_correlate, splits, partial, grad, x, planned, blocks)
    else:
        most = _MOST_BYTES if K * C >= _MANY_WEIGHTS else _MOST_CACHED_BYTES
        block = min(planned.tiles, most // (_PRODUCTS * max(C, K) * 4))
        partial = memory.scratch((1, _PRODUCTS, C, K), x.dtype)
        values = memory.scratch((_PRODUCTS, block + 1, planned.in_pitch), x.dtype)
        grads = memory.scratch((_PRODUCTS, block + 1, planned.out_pitch), x.dtype)
        iterations = _PRODUCTS * -(-K // (2 * planned.shape.lanes))
        for first in range(0, planned.tiles, block):
            count = min(block, planned.tiles - first)
            parallel_for(transform_pixels, count, values, x, planned, first)
            parallel_for(transform_grads, count, grads, grad, planned, first)
            adds = first > 0
            arguments = (partial[0], adds, grads, values, planned, count)
            parallel_for(_add_products, iterations, *arguments)
    grad_weight = np.empty((K, C, 3, 3), x.dtype)
    lanes = planned.shape.lanes
    parallel_for(transform_grad_weights, -(-C // lanes), grad_weight, partial, lanes)
    return grad_weight


def _round_up(number: int, multiple: int) -> int:
    return max(-(-number // multiple), 1) * multiple


def _tiles(size: tuple[int, int]) -> int:
    return -(-size[0] // 4) * -(-size[1] // 4)


@kernel
def _multiply(sums, values, transformed, planned, C, K, count, first, last):
    """Multiply `count` rows of pixels by weights, for iterations first ... last-1.

    An iteration is a panel of one of the 36 products.
    """
    shape = planned.shape
    width = 2 * shape.lanes
    panels = (K + width - 1) // width
    for iteration in range(first, last):
        z, k = iteration // panels, iteration % panels * width
        target, source, weights = (
            sums[z].reshape(-1),
            values[z].reshape(-1),
            transformed[z],
        )
        for t in range(0, count, shape.rows):
            offset, begin = t * planned.out_pitch + k, t * planned.in_pitch
            matmul_micro_kernel(
                k + shape.lanes < K,
                target,
                offset,
                planned.out_pitch,
                source,
                begin,
                planned.in_pitch,
                C,
                weights,
                k * C,
            )


@kernel
def _add_products(total, adds, grads, values, planned, count, first, last):
    """Add products over `count` tiles to total (36, C, K), for some iterations.

    An iteration is a panel of one of the 36 products.
    """
    _, C, K = total.shape
    shape = planned.shape
    width = 2 * shape.lanes
    panels = (K + width - 1) // width
    for iteration in range(first, last):
        z, k = iteration // panels, iteration % panels * width
        out, a, b = total[z].reshape(-1), values[z].reshape(-1), grads[z].reshape(-1)
        wide = k + shape.lanes < K
        for c in range(0, C, shape.grad_rows if wide else 2 * shape.grad_rows):
            grad_weight_micro_kernel(
                wide,
                out,
                c * K + k,
                K,
                adds,
                a,
                c,
                planned.origin,
                count,
                planned.in_pitch,
                b,
                k,
                planned.out_pitch,
            )


@kernel
def _convolve(out, x, transformed, planned, epilogue, first_block, end_block):
    """Compute blocks of tiles first_block ... end_block-1 of the output."""
    C, K, block = x.shape[3], out.shape[3], planned.block
    iterations = 36 * ((K + 2 * planned.shape.lanes - 1) // (2 * planned.shape.lanes))
    values = np.empty((36, block + 1, planned.in_pitch), x.dtype)
    sums = np.empty((36, block + 1, planned.out_pitch), x.dtype)
    for number in range(first_block, end_block):
        first = number * block
        count = min(block, planned.tiles - first)
        transform_pixels(values, x, planned, first, ZERO, count)
        _multiply(sums, values, transformed, planned, C, K, count, ZERO, iterations)
        transform_sums(out, sums, planned, epilogue, first, ZERO, count)


@kernel
def _correlate(partial, grad_output, x, planned, blocks, first_split, end_split):
    """Sum up the 36 products of the weight gradient for some splits of the tiles."""
    splits, K, block = len(partial), grad_output.shape[3], planned.block
    iterations = 36 * ((K + 2 * planned.shape.lanes - 1) // (2 * planned.shape.lanes))
    values = np.empty((36, block + 1, planned.in_pitch), x.dtype)
    grads = np.empty((36, block + 1, planned.out_pitch), x.dtype)
    for split in range(first_split, end_split):
        for number in range(split * blocks // splits, (split + 1) * blocks // splits):
            first = number * block
            count = min(block, planned.tiles - first)
            transform_pixels(values, x, planned, first, ZERO, count)
            transform_grads(grads, grad_output, planned, first, ZERO, count)
            adds = number > split * blocks // splits
            total = partial[split]
            _add_products(total, adds, grads, values, planned, count, ZERO, iterations)
