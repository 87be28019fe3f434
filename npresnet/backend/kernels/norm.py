"""Batch norm's passes over memory.

Sums belong to one channel, and one channel to one thread. They are kept in float64,
in as many running sums as a vector has lanes, so that they vectorise although the
order of additions is fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

_LANES = 32  # running sums: four vectors of 8 float64


def _planes(x: Array) -> Array:
    """See x (N, C, H, W) as rows: (N, C, H*W)."""
    return dense(x).reshape(*x.shape[:2], -1)


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """See `reference.batch_norm_statistics`."""
    C = x.shape[1]
    mean, variance = np.empty(C, x.dtype), np.empty(C, x.dtype)
    share_out(_statistics, C, mean, variance, _planes(x))
    return mean, variance


def batch_norm_normalize(
    x: Array, mean: Array, inverse_std: Array, weight: Array, bias: Array
) -> Array:
    """See `reference.batch_norm_normalize`."""
    out = np.empty(x.shape, x.dtype)
    share_out(
        _normalize, len(x), _planes(out), _planes(x), mean, weight * inverse_std, bias
    )
    return out


def batch_norm_grad_sums(
    grad_output: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array]:
    """See `reference.batch_norm_grad_sums`."""
    C = x.shape[1]
    total, total_x_hat = np.empty(C, x.dtype), np.empty(C, x.dtype)
    share_out(
        _grad_sums,
        C,
        total,
        total_x_hat,
        _planes(grad_output),
        _planes(x),
        mean,
        inverse_std,
    )
    return total, total_x_hat


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
    grad_input = np.empty(x.shape, x.dtype)
    share_out(
        _grad_input,
        len(x),
        _planes(grad_input),
        _planes(grad_output),
        _planes(x),
        mean,
        inverse_std * mean_grad_x_hat,
        scale,
        mean_grad,
    )
    return grad_input


@kernel
def _statistics(mean, variance, x, first, last):
    # One pass: sums of x - k and of its square, for some pixel k of the channel. It
    # is never so far from the mean that digits are lost: its own distance is one of
    # the squares that the variance is made of.
    N, _, P = x.shape
    whole = P // _LANES * _LANES
    sums, squares = np.empty(_LANES, np.float64), np.empty(_LANES, np.float64)
    for c in range(first, last):
        sums[:] = 0
        squares[:] = 0
        k = np.float64(x[0, c, 0])
        for n in range(N):
            row = x[n, c]
            for i in range(0, whole, _LANES):
                part = row[i : i + _LANES]
                for lane in range(_LANES):
                    d = part[lane] - k
                    sums[lane] += d
                    squares[lane] += d * d
            for i in range(whole, P):
                d = row[i] - k
                sums[0] += d
                squares[0] += d * d
        shift = sums.sum() / (N * P)
        mean[c] = k + shift
        variance[c] = max(squares.sum() / (N * P) - shift * shift, 0.0)


@kernel
def _normalize(out, x, mean, scale, bias, first, last):
    _, C, P = x.shape
    for n in range(first, last):
        for c in range(C):
            m, s, b = mean[c], scale[c], bias[c]
            row, target = x[n, c], out[n, c]
            for i in range(P):
                target[i] = (row[i] - m) * s + b


@kernel
def _grad_sums(total, total_x_hat, grad_output, x, mean, inverse_std, first, last):
    N, _, P = x.shape
    whole = P // _LANES * _LANES
    sums, products = np.empty(_LANES, np.float64), np.empty(_LANES, np.float64)
    for c in range(first, last):
        sums[:] = 0
        products[:] = 0
        m = mean[c]
        for n in range(N):
            row, grad = x[n, c], grad_output[n, c]
            for i in range(0, whole, _LANES):
                part, grad_part = row[i : i + _LANES], grad[i : i + _LANES]
                for lane in range(_LANES):
                    g = np.float64(grad_part[lane])
                    sums[lane] += g
                    products[lane] += g * (part[lane] - m)
            for i in range(whole, P):
                g = np.float64(grad[i])
                sums[0] += g
                products[0] += g * (row[i] - m)
        total[c] = sums.sum()
        total_x_hat[c] = products.sum() * inverse_std[c]


@kernel
def _grad_input(grad_input, grad_output, x, mean, slope, scale, mean_grad, first, last):
    # slope = inverse_std * mean_grad_x_hat, so that x_hat is not computed apart.
    _, C, P = x.shape
    for n in range(first, last):
        for c in range(C):
            m, k, s, g = mean[c], slope[c], scale[c], mean_grad[c]
            row, grad, target = x[n, c], grad_output[n, c], grad_input[n, c]
            for i in range(P):
                target[i] = (grad[i] - g - (row[i] - m) * k) * s
