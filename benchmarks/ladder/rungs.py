"""The rungs: ways to compute one convolution, each of which changes a thing or two.

Those that teach are written here, in plain loops; the others are the package's own.
Stride, dilation and groups are 1, so that they stay short. ``docs/ladder.md`` tells
what each rung changes and why that helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import npresnet as nr
from npresnet.backend import kernels, reference
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for

Array = np.ndarray

# Largest error over largest output, against the reference in float64.
TOLERANCE, WINOGRAD_TOLERANCE = 1e-5, 5e-5
BLOCK_BYTES = 384 * 1024  # columns of a block: they stay in the second-level cache
CORNER = 4, 4, 16  # channels, rows and columns of the output that plain Python computes

# ------------------------------------------------- 1 and 2: seven loops


def seven_loops(out, padded, weight, first, last):
    """Compute images first ... last-1 as the formula says."""
    _, K, OH, OW = out.shape
    _, C, KH, KW = weight.shape
    for n in range(first, last):
        for k in range(K):
            for u in range(OH):
                for v in range(OW):
                    total = out.dtype.type(0)
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                x = padded[n, c, u + i, v + j]
                                total += weight[k, c, i, j] * x
                    out[n, k, u, v] = total


compiled_seven_loops = kernel(seven_loops)


def corner_in_python(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 1: a corner of the first image, in plain Python, on one thread."""
    padded = reference.pad(x[:1], geometry.padding)
    K, OH, OW = map(min, CORNER, (len(weight), *geometry.output_size))
    out = np.empty((1, K, OH, OW), x.dtype)
    seven_loops(out, padded, weight, 0, 1)
    return out


def loops_compiled(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 2: the same seven loops, compiled; every thread takes some images."""
    out = np.empty((len(x), len(weight), *geometry.output_size), x.dtype)
    padded = reference.pad(x, geometry.padding)
    parallel_for(compiled_seven_loops, len(x), out, padded, weight)
    return out


# ------------------------------------------- 4: long rows that vectorise


def columns_in_numba(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 4: the whole column matrix, and a product that goes along its rows."""
    N, K = len(x), len(weight)
    OH, OW = geometry.output_size
    padded = reference.pad(x, geometry.padding)
    kernels = weight.reshape(K, -1)  # (K, R), R = C*KH*KW
    columns = np.empty((N, kernels.shape[1], OH, OW), x.dtype)
    out = np.empty((N, K, OH, OW), x.dtype)
    parallel_for(_image_by_image, N, out, columns, padded, kernels, geometry)
    return out


@kernel
def _image_by_image(out, columns, padded, kernels, geometry, first, last):
    for n in range(first, last):
        _fill_columns(columns[n], padded[n], 0, geometry)
        _add_rows(
            out[n].reshape(len(kernels), -1),
            kernels,
            columns[n].reshape(kernels.shape[1], -1),
        )


@kernel
def _fill_columns(columns, padded, top, geometry):
    """Lay out what each tap sees from output row `top` on: (C*KH*KW, rows, OW)."""
    KH, KW = geometry.kernel_size
    _, rows, OW = columns.shape
    for c in range(len(padded)):
        for i in range(KH):
            for j in range(KW):
                tap = columns[(c * KH + i) * KW + j]
                for u in range(rows):
                    target = tap[u]
                    source = padded[c, top + u + i, j : j + OW]
                    for v in range(OW):
                        target[v] = source[v]


@kernel
def _add_rows(out, kernels, columns):
    """Multiply kernels (K, R) with columns (R, places), row by row."""
    for k in range(len(kernels)):
        sums = out[k]
        sums[:] = 0
        for r in range(len(columns)):
            factor = kernels[k, r]
            row = columns[r]
            for p in range(len(row)):
                sums[p] += factor * row[p]


# --------------------------------------------------- 5: a block at a time


def columns_in_blocks(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 5: the columns of a few output rows at a time; at least two channels out."""
    N, K = len(x), len(weight)
    OH, OW = geometry.output_size
    padded = reference.pad(x, geometry.padding)
    R = math.prod(weight.shape[1:])
    kernels = np.zeros((K, -(-R // 4) * 4), x.dtype)  # zeros fill the last four up
    kernels[:, :R] = weight.reshape(K, R)
    block_rows = min(OH, max(1, BLOCK_BYTES // (R * OW * x.itemsize)))
    out = np.empty((N, K, OH, OW), x.dtype)
    blocks = N * -(-OH // block_rows)
    parallel_for(_block_by_block, blocks, out, padded, kernels, block_rows, geometry)
    return out


@kernel
def _block_by_block(out, padded, kernels, block_rows, geometry, first, last):
    _, K, OH, OW = out.shape
    blocks_per_image = -(-OH // block_rows)
    columns = np.zeros((kernels.shape[1], block_rows, OW), out.dtype)
    for block in range(first, last):
        n, top = block // blocks_per_image, block % blocks_per_image * block_rows
        rows = min(block_rows, OH - top)
        _fill_columns(columns[:, :rows], padded[n], top, geometry)
        flat = columns.reshape(len(columns), -1)  # (R, block_rows*OW)
        for pair in range(0, K, 2):
            k = min(pair, K - 2)  # the last pair may overlap the one before
            _add_four_rows_to_two(
                out[n, k, top : top + rows].reshape(-1),
                out[n, k + 1, top : top + rows].reshape(-1),
                kernels[k],
                kernels[k + 1],
                flat,
            )


@kernel
def _add_four_rows_to_two(sums, others, kernel, other, columns):
    """Multiply two kernels (R,) with columns (R, places), four rows per pass."""
    sums[:] = 0
    others[:] = 0
    for r in range(0, len(kernel), 4):
        f0, f1, f2, f3 = kernel[r], kernel[r + 1], kernel[r + 2], kernel[r + 3]
        g0, g1, g2, g3 = other[r], other[r + 1], other[r + 2], other[r + 3]
        row0, row1 = columns[r], columns[r + 1]
        row2, row3 = columns[r + 2], columns[r + 3]
        for p in range(len(sums)):
            x0, x1, x2, x3 = row0[p], row1[p], row2[p], row3[p]
            sums[p] += f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3
            others[p] += g0 * x0 + g1 * x1 + g2 * x2 + g3 * x3


# --------------------------------------------- 6: channels side by side


def channels_side_by_side(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 6: seven loops again, the one over output channels innermost."""
    (PH, PW), (OH, OW) = geometry.padding, geometry.output_size
    pixels = x.transpose(0, 2, 3, 1)  # (N, H, W, C), as x lies in memory
    padded = np.pad(pixels, ((0, 0), (PH, PH), (PW, PW), (0, 0)))
    taps = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))  # (KH, KW, C, K)
    out = np.empty((len(x), OH, OW, len(weight)), x.dtype)
    parallel_for(_row_by_row, len(x) * OH, out, padded, taps)
    return out.transpose(0, 3, 1, 2)


@kernel
def _row_by_row(out, padded, taps, first, last):
    _, OH, OW, _ = out.shape
    KH, KW, C, _ = taps.shape
    for row in range(first, last):
        n, u = row // OH, row % OH
        for v in range(OW):
            sums = out[n, u, v]
            sums[:] = 0
            for i in range(KH):
                for j in range(KW):
                    for c in range(C):
                        x = padded[n, u + i, v + j, c]
                        weights = taps[i, j, c]
                        for k in range(len(weights)):
                            sums[k] += x * weights[k]


# ----------------------------------------------- 3, 7 and 8: the package's own


def register_tile(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 7: the package's kernel for any shape."""
    with nr.using_algorithm("direct"):
        return kernels.conv2d(x, weight, geometry)


def winograd_tile(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 8: the package's kernel, free to choose."""
    with nr.using_algorithm("auto"):
        return kernels.conv2d(x, weight, geometry)


class Rung(NamedTuple):
    """One way to compute the convolution; PyTorch's are in another process."""

    name: str
    whose: str  # "teaching", "package" or "torch"
    run: Callable[[Array, Array, Geometry], Array] | None
    channels_last: bool = False  # how images come, and go
    tolerance: float = TOLERANCE


RUNGS = [
    Rung("seven loops, plain Python", "teaching", corner_in_python),
    Rung("seven loops, compiled", "teaching", loops_compiled),
    Rung("im2col by slices, NumPy product", "package", reference.conv2d),
    Rung("im2col in Numba, long rows", "teaching", columns_in_numba),
    Rung("im2col one block at a time", "teaching", columns_in_blocks),
    Rung("channels side by side", "teaching", channels_side_by_side, True),
    Rung("register tile", "package", register_tile, True),
    Rung("Winograd", "package", winograd_tile, True, WINOGRAD_TOLERANCE),
    Rung("PyTorch", "torch", None),
    Rung("PyTorch, channels_last", "torch", None, True),
]
