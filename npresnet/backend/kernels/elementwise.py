"""ReLU and addition: flat loops over memory, in blocks that threads share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels import memory
from npresnet.backend.kernels.channels_last import pixels
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.masks import rectify_eight, stop_eight
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]
Bits = NDArray[np.uint8]

_BLOCK = 1 << 17  # elements; half of it is done before another thread has woken up
_CACHE_LINE = 16  # elements, at least: blocks end where a cache line does


def flat(x: Array) -> Array:
    """See images (N, C, H, W) pixel by pixel, other arrays in C order, as one row."""
    return (pixels(x) if x.ndim == 4 else dense(x)).reshape(-1)


def room_like(x: Array) -> tuple[Array, Array]:
    """Make room for a result of the shape of `x`; return it, and `flat` of it."""
    if x.ndim == 4:
        N, C, H, W = x.shape
        room = memory.empty((N, H, W, C), x.dtype)
        return room.transpose(0, 3, 1, 2), room.reshape(-1)
    out = np.empty(x.shape, x.dtype)
    return out, out.reshape(-1)


@functools.lru_cache(maxsize=512)
def blocks(size: int, multiple: int, least: int = 1) -> tuple[int, int]:
    """Cut `size` elements evenly: return a block's length, and how many there are.

    A block is `multiple` elements, `least` times or more. The number of threads plays
    no role, so that what is summed block by block does not depend on it either.
    """
    count = max(1, size // max(_BLOCK, least * multiple))
    length = -(-size // (count * multiple)) * multiple
    return length, -(-size // length) if size else 0


def relu(x: Array) -> tuple[Array, Bits]:
    """See `reference.relu`."""
    out, row = room_like(x)
    mask = memory.empty((-(-x.size // 8),), np.uint8)
    length, count = blocks(x.size, _CACHE_LINE)
    parallel_for(_relu, count, row, mask, flat(x), length)
    return out, mask


def relu_grad(grad_output: Array, mask: Bits) -> Array:
    """See `reference.relu_grad`."""
    grad_input, row = room_like(grad_output)
    length, count = blocks(grad_output.size, _CACHE_LINE)
    parallel_for(_relu_grad, count, row, flat(grad_output), mask, length)
    return grad_input


def relu_grad_below(grad_output: Array, out: Array) -> Array:
    """See `reference.relu_grad_below`."""
    grad_input, row = room_like(out)
    length, count = blocks(out.size, _CACHE_LINE)
    parallel_for(_relu_grad_below, count, row, flat(grad_output), flat(out), length)
    return grad_input


def add(a: Array, b: Array) -> Array:
    """See `reference.add`."""
    out, row = room_like(a)
    length, count = blocks(a.size, _CACHE_LINE)
    parallel_for(_add, count, row, flat(a), flat(b), length)
    return out


@kernel
def _relu(out, mask, x, length, first, last):
    begin, end = first * length, min(last * length, len(x))
    whole = end - end % 8  # blocks begin at whole bytes; the last may end within one
    for i in range(begin, whole, 8):
        mask[i >> 3] = rectify_eight(out, x, i)
    if whole < end:
        zero, bits = x.dtype.type(0), 0
        for i in range(whole, end):
            if x[i] <= zero:
                out[i] = zero
            else:
                out[i] = x[i]
                bits |= 1 << (i - whole)
        mask[whole >> 3] = bits


@kernel
def _relu_grad(grad_input, grad_output, mask, length, first, last):
    begin, end = first * length, min(last * length, len(grad_output))
    whole = end - end % 8
    for i in range(begin, whole, 8):
        stop_eight(grad_input, grad_output, i, mask[i >> 3])
    if whole < end:
        zero, bits = grad_output.dtype.type(0), mask[whole >> 3]
        for i in range(whole, end):
            passes = bits >> (i - whole) & 1
            grad_input[i] = grad_output[i] if passes else zero


@kernel
def _relu_grad_below(grad_input, grad_output, out, length, first, last):
    grad_input = grad_input[first * length : last * length]
    grad_output = grad_output[first * length : last * length]
    out = out[first * length : last * length]
    zero = out.dtype.type(0)
    for i in range(len(out)):
        grad_input[i] = zero if out[i] <= zero else grad_output[i]


@kernel
def _add(out, a, b, length, first, last):
    out = out[first * length : last * length]
    a, b = a[first * length : last * length], b[first * length : last * length]
    for i in range(len(out)):
        out[i] = a[i] + b[i]
