"""Pooling, a pixel at a time: all channels of a pixel are treated alike.

Forward, threads share rows of outputs; backward, whole images, because windows of
neighbouring rows overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry, Pair
from npresnet.backend.kernels.channels_last import empty_images, pixels
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.rows import add_to
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]


def max_pool2d(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.int32]]:
    """See `reference.max_pool2d`; exactly equal, winners included."""
    shape = (*x.shape[:2], *geometry.output_size)
    out, winners = empty_images(shape, x.dtype), empty_images(shape, np.int32)
    images = pixels(out), pixels(winners), pixels(x)
    parallel_for(_max_pool, shape[0] * shape[2], *images, geometry)
    return out, winners


def max_pool2d_grad(
    grad_output: Array, winners: NDArray[np.int32], geometry: Geometry
) -> Array:
    """See `reference.max_pool2d_grad`."""
    N, C = grad_output.shape[:2]
    grad_input = empty_images((N, C, *geometry.input_size), grad_output.dtype)
    images = pixels(grad_input), pixels(grad_output), pixels(winners)
    parallel_for(_max_pool_grad, N, *images, geometry)
    return grad_input


def avg_pool2d(x: Array, divisor: Array, geometry: Geometry) -> Array:
    """See `reference.avg_pool2d`."""
    N, C = x.shape[:2]
    out = empty_images((N, C, *geometry.output_size), x.dtype)
    rows = N * geometry.output_size[0]
    parallel_for(_avg_pool, rows, pixels(out), pixels(x), dense(divisor), geometry)
    return out


def avg_pool2d_grad(grad_output: Array, divisor: Array, geometry: Geometry) -> Array:
    """See `reference.avg_pool2d_grad`."""
    N, C = grad_output.shape[:2]
    grad_input = empty_images((N, C, *geometry.input_size), grad_output.dtype)
    images = pixels(grad_input), pixels(grad_output)
    parallel_for(_avg_pool_grad, N, *images, dense(divisor), geometry)
    return grad_input


def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    """See `reference.adaptive_avg_pool2d`; sums are kept in float64."""
    out = empty_images((*x.shape[:2], *output_size), x.dtype)
    parallel_for(_adaptive_avg_pool, len(x) * output_size[0], pixels(out), pixels(x))
    return out


def adaptive_avg_pool2d_grad(grad_output: Array, input_size: Pair) -> Array:
    """See `reference.adaptive_avg_pool2d_grad`."""
    N, C = grad_output.shape[:2]
    grad_input = empty_images((N, C, *input_size), grad_output.dtype)
    parallel_for(_adaptive_avg_pool_grad, N, pixels(grad_input), pixels(grad_output))
    return grad_input


@kernel
def _inside(begin, step, count, length):
    """Find the taps, first and behind the last, that a window has within an image."""
    first, last = 0, count
    while begin + first * step < 0:
        first += 1
    while begin + (last - 1) * step >= length:
        last -= 1
    return first, last


@kernel
def _window(offsets, geometry, oh, ow):
    """List where in its plane, h*W + w, a window has pixels; return how many."""
    H, W = geometry.input_size
    (KH, KW), (DH, DW) = geometry.kernel_size, geometry.dilation
    top = oh * geometry.stride[0] - geometry.padding[0]
    left = ow * geometry.stride[1] - geometry.padding[1]
    i0, i1 = _inside(top, DH, KH, H)
    j0, j1 = _inside(left, DW, KW, W)
    count = 0
    for i in range(i0, i1):
        for j in range(j0, j1):
            offsets[count] = (top + i * DH) * W + left + j * DW
            count += 1
    return count


@kernel
def _most_pixels(geometry):
    return geometry.kernel_size[0] * geometry.kernel_size[1]


@kernel
def _max_pool(out, winners, x, geometry, first, last):
    _, H, W, C = x.shape
    OH, OW = geometry.output_size
    offsets = np.empty(_most_pixels(geometry) + 2, np.int32)
    for row in range(first, last):
        n, oh = row // OH, row % OH
        image = x[n].reshape(H * W, C)
        for ow in range(OW):
            best, winner = out[n, oh, ow], winners[n, oh, ow]
            count = _window(offsets, geometry, oh, ow)
            # Three at a time: what is best so far goes to memory and back less often.
            # The last one is repeated as needed, since no pixel wins against itself.
            offsets[count : count + 2] = offsets[count - 1]
            best[:] = -np.inf
            winner[:] = offsets[0]
            for t in range(0, count, 3):
                a, b, c = offsets[t], offsets[t + 1], offsets[t + 2]
                _keep_largest(best, winner, image[a], image[b], image[c], a, b, c)


@kernel
def _keep_largest(best, winner, x, y, z, a, b, c):
    """Let pixels x, y, z (at a, b, c) win; the first of equals, and NaN, stays."""
    for i in range(len(best)):
        value, offset = best[i], winner[i]
        # Written so that a NaN that has won is never beaten, and always wins.
        wins = (not x[i] <= value) & (value == value)
        value, offset = x[i] if wins else value, a if wins else offset
        wins = (not y[i] <= value) & (value == value)
        value, offset = y[i] if wins else value, b if wins else offset
        wins = (not z[i] <= value) & (value == value)
        value, offset = z[i] if wins else value, c if wins else offset
        best[i], winner[i] = value, offset


@kernel
def _clear_rows(image, clean, geometry, oh):
    """Set rows to 0 as far as windows of row `oh` reach: they are soon in use."""
    H, OH = image.shape[0], geometry.output_size[0]
    top = oh * geometry.stride[0] - geometry.padding[0]
    bottom = top + (geometry.kernel_size[0] - 1) * geometry.dilation[0] + 1
    end = max(clean, min(bottom, H)) if oh < OH - 1 else H
    image[clean:end] = 0
    return end


@kernel
def _max_pool_grad(grad_input, grad_output, winners, geometry, first, last):
    _, OH, OW, C = grad_output.shape
    for n in range(first, last):
        clean = 0
        flat = grad_input[n].reshape(-1)
        for oh in range(OH):
            clean = _clear_rows(grad_input[n], clean, geometry, oh)
            for ow in range(OW):
                grad, winner = grad_output[n, oh, ow], winners[n, oh, ow]
                for c in range(C):
                    flat[winner[c] * C + c] += grad[c]


@kernel
def _avg_pool(out, x, divisor, geometry, first, last):
    _, H, W, C = x.shape
    OH, OW = geometry.output_size
    offsets = np.empty(_most_pixels(geometry), np.int32)
    total = np.empty(C, x.dtype)
    for row in range(first, last):
        n, oh = row // OH, row % OH
        image = x[n].reshape(H * W, C)
        for ow in range(OW):
            total[:] = 0
            for t in range(_window(offsets, geometry, oh, ow)):
                add_to(total, image[offsets[t]])
            _divide(out[n, oh, ow], total, divisor[oh, ow])


@kernel
def _divide(out, pixel, divisor):
    for c in range(len(out)):
        out[c] = pixel[c] / divisor


@kernel
def _avg_pool_grad(grad_input, grad_output, divisor, geometry, first, last):
    _, H, W, C = grad_input.shape
    OH, OW = geometry.output_size
    offsets = np.empty(_most_pixels(geometry), np.int32)
    share = np.empty(C, grad_output.dtype)
    for n in range(first, last):
        clean = 0
        image = grad_input[n].reshape(H * W, C)
        for oh in range(OH):
            clean = _clear_rows(grad_input[n], clean, geometry, oh)
            for ow in range(OW):
                _divide(share, grad_output[n, oh, ow], divisor[oh, ow])
                for t in range(_window(offsets, geometry, oh, ow)):
                    add_to(image[offsets[t]], share)


@kernel
def _bin(i, length, bins):
    """See `reference.adaptive_bins`."""
    return i * length // bins, -(-(i + 1) * length // bins)


@kernel
def _adaptive_avg_pool(out, x, first, last):
    _, H, W, C = x.shape
    _, OH, OW, _ = out.shape
    total = np.empty(C, np.float64)
    for row in range(first, last):
        n, oh = row // OH, row % OH
        top, bottom = _bin(oh, H, OH)
        for ow in range(OW):
            left, right = _bin(ow, W, OW)
            total[:] = 0
            for h in range(top, bottom):
                for w in range(left, right):
                    add_to(total, x[n, h, w])
            _divide(out[n, oh, ow], total, (bottom - top) * (right - left))


@kernel
def _adaptive_avg_pool_grad(grad_input, grad_output, first, last):
    _, H, W, C = grad_input.shape
    _, OH, OW, _ = grad_output.shape
    share = np.empty(C, grad_output.dtype)
    for n in range(first, last):
        grad_input[n] = 0
        for oh in range(OH):
            top, bottom = _bin(oh, H, OH)
            for ow in range(OW):
                left, right = _bin(ow, W, OW)
                area = share.dtype.type((bottom - top) * (right - left))
                _divide(share, grad_output[n, oh, ow], area)
                for h in range(top, bottom):
                    for w in range(left, right):
                        add_to(grad_input[n, h, w], share)
