"""Batch norm's passes over memory, which is all that they cost.

Images are read as one long row of pixels, a segment of pixels at a time: the vectors of
the channels are repeated until they are as long as a segment, so that one plain loop
does for 3 channels as well as for 2048, and vectorises.

Sums are kept in float64, for one block of the row at a time. The blocks do not depend
on the number of threads, and are added up in order. Channels whose sums are not finite
are left to the reference, which is not in a hurry and divides before it multiplies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import reference
from npresnet.backend.kernels import memory
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.elementwise import blocks, flat, room_like
from npresnet.backend.recording import here
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

_SEGMENT = 1000  # elements, at least; some four vectors of them stay in the cache
_SEGMENTS = 8  # in a block, at least: its sums are then little memory beside the block


@functools.lru_cache(maxsize=512)
def segments(size: int, channels: int) -> tuple[int, int, int]:
    """Return the lengths of a segment (whole pixels) and a block, and how many."""
    segment = -(-_SEGMENT // channels) * channels
    return segment, *blocks(size, segment, _SEGMENTS)


@kernel
def repeated(vector, segment):
    """Repeat a vector (C,) until it is as long as a segment."""
    C = len(vector)
    out = np.empty(segment, vector.dtype)
    for begin in range(0, segment, C):
        pixel = out[begin : begin + C]
        for c in range(C):
            pixel[c] = vector[c]
    return out


@kernel
def repeated_product(vector, other, segment):
    """Do as `repeated` does with the product of two vectors."""
    C = len(vector)
    out = np.empty(segment, vector.dtype)
    for begin in range(0, segment, C):
        pixel = out[begin : begin + C]
        for c in range(C):
            pixel[c] = vector[c] * other[c]
    return out


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """See `reference.batch_norm_statistics`."""
    # One pass: sums of x - k and of its square, where k is the first pixel. It is never
    # so far from the mean that digits are lost: its own distance is one of the squares
    # that the variance is made of.
    C, row = x.shape[1], flat(x)
    segment, length, count = segments(x.size, C)
    sums, squares = empty_sums(count, C)
    parallel_for(_statistics, count, sums, squares, row, segment, length)
    mean, variance = np.empty(C, x.dtype), np.empty(C, x.dtype)
    lost = _doubts(C)
    parallel_for(_mean_and_variance, 1, mean, variance, lost, sums, squares, row)
    if here.recording is None and lost.any():
        with np.errstate(all="ignore"):  # as in all that is compiled
            truth = reference.batch_norm_statistics(_chosen(x, lost))
        mean[lost], variance[lost] = truth
    return mean, variance


def batch_norm_normalize(
    x: Array, mean: Array, inverse_std: Array, weight: Array, bias: Array
) -> Array:
    """See `reference.batch_norm_normalize`."""
    out, row = room_like(x)
    vectors = tuple(map(dense, (mean, inverse_std, weight, bias)))
    segment, length, count = segments(x.size, x.shape[1])
    parallel_for(_normalize, count, row, flat(x), *vectors, segment, length)
    return out


def batch_norm_grad_sums(
    grad_output: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array]:
    """See `reference.batch_norm_grad_sums`."""
    mean, inverse_std = dense(mean), dense(inverse_std)
    segment, length, count = segments(x.size, x.shape[1])
    sums, products = empty_sums(count, x.shape[1])
    images = flat(grad_output), flat(x)
    parallel_for(_grad_sums, count, sums, products, *images, mean, segment, length)
    return totals(sums, products, lambda: grad_output, x, mean, inverse_std)


def _doubts(channels: int) -> NDArray[np.bool_]:
    """Make room for whether each channel's sums are not finite."""
    if here.recording is not None:
        return here.recording.doubts_of(channels)
    return np.empty(channels, np.bool_)


def empty_sums(count: int, channels: int) -> tuple[Array, Array]:
    """Make room for two sums of every block and channel."""
    shape = count, channels
    return memory.empty(shape, np.float64), memory.empty(shape, np.float64)


def totals(
    sums: Array,
    products: Array,
    gradient: Callable[[], Array],
    x: Array,
    mean: Array,
    inverse_std: Array,
) -> tuple[Array, Array]:
    """Add up what the blocks have summed: of the gradient, and of it times x_hat."""
    C, dtype = len(inverse_std), inverse_std.dtype
    total, total_x_hat = np.empty(C, dtype), np.empty(C, dtype)
    lost = _doubts(C)
    parallel_for(_totals, 1, total, total_x_hat, lost, sums, products, inverse_std)
    if here.recording is None and lost.any():
        images = _chosen(gradient(), lost), _chosen(x, lost)
        with np.errstate(all="ignore"):
            truth = reference.batch_norm_grad_sums(
                *images, mean[lost], inverse_std[lost]
            )
        total[lost], total_x_hat[lost] = truth
    return total, total_x_hat


def _chosen(images: Array, channels: NDArray[np.bool_]) -> Array:
    """Copy some channels, laid out in one way, so that sums do not depend on it."""
    return np.ascontiguousarray(images[:, channels])


def batch_norm_grad_input(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    scale: Array,
    mean_grad: Array,
    mean_grad_x_hat: Array,
) -> Array:
    """See `reference.batch_norm_grad_input`."""
    grad_input, row = room_like(x)
    vectors = tuple(map(dense, (mean, inverse_std, scale, mean_grad, mean_grad_x_hat)))
    segment, length, count = segments(x.size, x.shape[1])
    images = row, flat(grad_output), flat(x)
    parallel_for(_grad_input, count, *images, *vectors, segment, length)
    return grad_input


@kernel
def _statistics(sums, squares, x, segment, length, first, last):
    pivot = repeated(x[: sums.shape[1]].astype(np.float64), segment)
    segment_sums, segment_squares = (
        np.empty(segment, np.float64),
        np.empty(segment, np.float64),
    )
    for b in range(first, last):
        segment_sums[:] = 0
        segment_squares[:] = 0
        block = x[b * length : (b + 1) * length]
        fours = len(block) // (4 * segment) * (4 * segment)
        for i in range(0, fours, 4 * segment):
            four = block[i : i + 4 * segment].reshape(4, segment)
            _add_four_squares(segment_sums, segment_squares, four, pivot)
        for i in range(fours, len(block), segment):
            _add_squares(segment_sums, segment_squares, block[i : i + segment], pivot)
        fold(sums[b], segment_sums)
        fold(squares[b], segment_squares)


@kernel
def _add_squares(sums, squares, row, pivot):
    for i in range(len(row)):
        d = row[i] - pivot[i]
        sums[i] += d
        squares[i] += d * d


@kernel
def _add_four_squares(sums, squares, rows, pivot):
    # Four at a time, so that the sums go to memory and back a quarter as often.
    x, y, z, w = rows[0], rows[1], rows[2], rows[3]
    for i in range(len(pivot)):
        a, b, c, d = x[i] - pivot[i], y[i] - pivot[i], z[i] - pivot[i], w[i] - pivot[i]
        sums[i] += (a + b) + (c + d)
        squares[i] += (a * a + b * b) + (c * c + d * d)


@kernel
def fold(out, segment):
    """Add up what a segment of pixels holds for each channel."""
    C = len(out)
    out[:] = 0
    for begin in range(0, len(segment), C):
        pixel = segment[begin : begin + C]
        for c in range(C):
            out[c] += pixel[c]


@kernel
def _mean_and_variance(mean, variance, lost, sums, squares, x, first, last):
    m = len(x) // len(mean)
    for c in range(len(mean)):
        shift, square = 0.0, 0.0
        for b in range(len(sums)):
            shift += sums[b, c] / m
            square += squares[b, c] / m
        mean[c] = x[c] + shift
        spread = square - shift * shift
        variance[c] = 0.0 if spread < 0 else spread
        # Distances from k, unlike those from the mean, have squares beyond float64.
        lost[c] = not np.isfinite(spread)


@kernel
def _normalize(out, x, mean, inverse_std, weight, bias, segment, length, first, last):
    mean, bias = repeated(mean, segment), repeated(bias, segment)
    scale = repeated_product(weight, inverse_std, segment)
    out, x = out[first * length : last * length], x[first * length : last * length]
    for begin in range(0, len(x), segment):
        row, target = x[begin : begin + segment], out[begin : begin + segment]
        for i in range(len(row)):
            target[i] = (row[i] - mean[i]) * scale[i] + bias[i]


@kernel
def _grad_sums(sums, products, grad_output, x, mean, segment, length, first, last):
    mean = repeated(mean, segment)
    segment_sums, segment_products = (
        np.empty(segment, np.float64),
        np.empty(segment, np.float64),
    )
    for b in range(first, last):
        segment_sums[:] = 0
        segment_products[:] = 0
        grad_block = grad_output[b * length : (b + 1) * length]
        block = x[b * length : (b + 1) * length]
        twos = len(block) // (2 * segment) * (2 * segment)
        for i in range(0, twos, 2 * segment):
            grad_two = grad_block[i : i + 2 * segment].reshape(2, segment)
            two = block[i : i + 2 * segment].reshape(2, segment)
            add_two_products(segment_sums, segment_products, grad_two, two, mean)
        for i in range(twos, len(block), segment):
            grad, row = grad_block[i : i + segment], block[i : i + segment]
            add_products(segment_sums, segment_products, grad, row, mean)
        fold(sums[b], segment_sums)
        fold(products[b], segment_products)


@kernel
def add_products(sums, products, grad, row, mean):
    """Add a segment of the gradient, and of its products with x - mean."""
    for i in range(len(row)):
        g = np.float64(grad[i])
        sums[i] += g
        products[i] += g * (row[i] - mean[i])


@kernel
def add_two_products(sums, products, grads, rows, mean):
    """Add two segments at once, so that the sums go to memory half as often."""
    grad, other_grad = grads[0], grads[1]
    row, other_row = rows[0], rows[1]
    for i in range(len(mean)):
        g, h = np.float64(grad[i]), np.float64(other_grad[i])
        sums[i] += g + h
        products[i] += g * (row[i] - mean[i]) + h * (other_row[i] - mean[i])


@kernel
def _totals(total, total_x_hat, lost, sums, products, inverse_std, first, last):
    for c in range(len(total)):
        g, gx = 0.0, 0.0
        for b in range(len(sums)):
            g += sums[b, c]
            gx += products[b, c]
        total[c] = g
        total_x_hat[c] = gx * inverse_std[c]
        # Products with x - mean, unlike those with x_hat, are beyond float64.
        lost[c] = not (np.isfinite(g) and np.isfinite(gx))


@kernel
def _grad_input(
    grad_input,
    grad_output,
    x,
    mean,
    inverse_std,
    scale,
    mean_grad,
    mean_grad_x_hat,
    segment,
    length,
    first,
    last,
):
    # A slope for x - mean, so that x_hat is not computed apart.
    slope = repeated_product(inverse_std, mean_grad_x_hat, segment)
    mean = repeated(mean, segment)
    scale, mean_grad = repeated(scale, segment), repeated(mean_grad, segment)
    grad_input = grad_input[first * length : last * length]
    grad_output = grad_output[first * length : last * length]
    x = x[first * length : last * length]
    for begin in range(0, len(x), segment):
        row, grad = x[begin : begin + segment], grad_output[begin : begin + segment]
        target = grad_input[begin : begin + segment]
        for i in range(len(row)):
            along_x_hat = (row[i] - mean[i]) * slope[i]
            target[i] = (grad[i] - mean_grad[i] - along_x_hat) * scale[i]
