"""Pooling, plane by plane: planes are independent, so threads share them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry, Pair
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]


def _planes(x: NDArray[Any]) -> NDArray[Any]:
    """See (N, C, H, W) as planes: (N*C, H, W)."""
    return dense(x).reshape(-1, *x.shape[2:])


def max_pool2d(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.int32]]:
    """See `reference.max_pool2d`; exactly equal, winners included."""
    out = np.empty((*x.shape[:2], *geometry.output_size), x.dtype)
    winners = np.empty(out.shape, np.int32)
    planes = _planes(x)
    share_out(_max_pool, len(planes), _planes(out), _planes(winners), planes, geometry)
    return out, winners


def max_pool2d_grad(
    grad_output: Array, winners: NDArray[np.int32], geometry: Geometry
) -> Array:
    """See `reference.max_pool2d_grad`."""
    shape = (*grad_output.shape[:2], *geometry.input_size)
    grad_input = np.zeros(shape, grad_output.dtype)
    planes = _planes(grad_output)
    flat = grad_input.reshape(len(planes), -1)
    share_out(_max_pool_grad, len(planes), flat, planes, _planes(winners))
    return grad_input


def avg_pool2d(x: Array, divisor: Array, geometry: Geometry) -> Array:
    """See `reference.avg_pool2d`."""
    out = np.empty((*x.shape[:2], *geometry.output_size), x.dtype)
    planes = _planes(x)
    share_out(_avg_pool, len(planes), _planes(out), planes, dense(divisor), geometry)
    return out


def avg_pool2d_grad(grad_output: Array, divisor: Array, geometry: Geometry) -> Array:
    """See `reference.avg_pool2d_grad`."""
    shape = (*grad_output.shape[:2], *geometry.input_size)
    grad_input = np.zeros(shape, grad_output.dtype)
    planes = _planes(grad_output)
    share_out(
        _avg_pool_grad,
        len(planes),
        _planes(grad_input),
        planes,
        dense(divisor),
        geometry,
    )
    return grad_input


def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    """See `reference.adaptive_avg_pool2d`; sums are kept in float64."""
    out = np.empty((*x.shape[:2], *output_size), x.dtype)
    planes = _planes(x)
    share_out(_adaptive_avg_pool, len(planes), _planes(out), planes)
    return out


def adaptive_avg_pool2d_grad(grad_output: Array, input_size: Pair) -> Array:
    """See `reference.adaptive_avg_pool2d_grad`."""
    shape = (*grad_output.shape[:2], *input_size)
    grad_input = np.zeros(shape, grad_output.dtype)
    planes = _planes(grad_output)
    share_out(_adaptive_avg_pool_grad, len(planes), _planes(grad_input), planes)
    return grad_input


@kernel
def _max_pool(out, winners, x, geometry, first, last):
    # Tap by tap over whole rows of outputs, not window by window: rows vectorise,
    # once what a tap sees lies side by side.
    H, W = geometry.input_size
    KH, KW = geometry.kernel_size
    SH, SW = geometry.stride
    PH, PW = geometry.padding
    DH, DW = geometry.dilation
    OH, OW = geometry.output_size
    seen = np.empty(OW, x.dtype)
    columns = (np.arange(OW) * SW).astype(np.int32)
    for p in range(first, last):
        for oh in range(OH):
            best, winner = out[p, oh], winners[p, oh]
            winner[:] = -1
            for i in range(KH):
                h = oh * SH + i * DH - PH
                if not 0 <= h < H:
                    continue
                for j in range(KW):
                    shift = j * DW - PW  # column that output 0 sees through this tap
                    begin = max(0, -(shift // SW))
                    end = max(begin, min(OW, (W - 1 - shift) // SW + 1))
                    row = x[p, h, begin * SW + shift :]
                    values = seen[: end - begin]
                    for ow in range(len(values)):
                        values[ow] = row[ow * SW]
                    _keep_larger(
                        best[begin:end],
                        winner[begin:end],
                        values,
                        columns,
                        np.int32(h * W + begin * SW + shift),
                    )


@kernel
def _keep_larger(best, winner, values, columns, place):
    """Let values win where they are larger; the first of equals, and NaN, stays."""
    for ow in range(len(values)):
        value, old = values[ow], best[ow]
        # Written so that a NaN that has won is never beaten, and always wins.
        wins = (winner[ow] < 0) | (not (value <= old) and old == old)
        best[ow] = value if wins else old
        winner[ow] = place + columns[ow] if wins else winner[ow]


@kernel
def _max_pool_grad(grad_input, grad_output, winners, first, last):
    _, OH, OW = grad_output.shape
    for p in range(first, last):
        for oh in range(OH):
            for ow in range(OW):
                grad_input[p, winners[p, oh, ow]] += grad_output[p, oh, ow]


@kernel
def _avg_pool(out, x, divisor, geometry, first, last):
    H, W = geometry.input_size
    KH, KW = geometry.kernel_size
    OH, OW = geometry.output_size
    for p in range(first, last):
        for oh in range(OH):
            top = oh * geometry.stride[0] - geometry.padding[0]
            for ow in range(OW):
                left = ow * geometry.stride[1] - geometry.padding[1]
                total = x.dtype.type(0)
                for h in range(max(top, 0), min(top + KH, H)):
                    for w in range(max(left, 0), min(left + KW, W)):
                        total += x[p, h, w]
                out[p, oh, ow] = total / divisor[oh, ow]


@kernel
def _avg_pool_grad(grad_input, grad_output, divisor, geometry, first, last):
    H, W = geometry.input_size
    KH, KW = geometry.kernel_size
    OH, OW = geometry.output_size
    for p in range(first, last):
        for oh in range(OH):
            top = oh * geometry.stride[0] - geometry.padding[0]
            for ow in range(OW):
                left = ow * geometry.stride[1] - geometry.padding[1]
                share = grad_output[p, oh, ow] / divisor[oh, ow]
                for h in range(max(top, 0), min(top + KH, H)):
                    for w in range(max(left, 0), min(left + KW, W)):
                        grad_input[p, h, w] += share


@kernel
def _adaptive_avg_pool(out, x, first, last):
    _, H, W = x.shape
    _, OH, OW = out.shape
    for p in range(first, last):
        for oh in range(OH):
            top, bottom = oh * H // OH, -(-(oh + 1) * H // OH)
            for ow in range(OW):
                left, right = ow * W // OW, -(-(ow + 1) * W // OW)
                total = 0.0
                for h in range(top, bottom):
                    for w in range(left, right):
                        total += x[p, h, w]
                out[p, oh, ow] = total / ((bottom - top) * (right - left))


@kernel
def _adaptive_avg_pool_grad(grad_input, grad_output, first, last):
    _, H, W = grad_input.shape
    _, OH, OW = grad_output.shape
    for p in range(first, last):
        for oh in range(OH):
            top, bottom = oh * H // OH, -(-(oh + 1) * H // OH)
            for ow in range(OW):
                left, right = ow * W // OW, -(-(ow + 1) * W // OW)
                area = (bottom - top) * (right - left)
                share = grad_output[p, oh, ow] / grad_output.dtype.type(area)
                for h in range(top, bottom):
                    for w in range(left, right):
                        grad_input[p, h, w] += share
