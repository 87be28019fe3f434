"""Pooling gone wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import Geometry, reference
from npresnet.backend.geometry import Pair
from npresnet.functional import max_pool2d_backward as right_backward
from npresnet.functional import max_pool2d_forward as right_forward
from npresnet.functional.pool import MaxPool2dCache, _window_areas
from npresnet.lens.bugs.registry import bug

Array = NDArray[np.floating[Any]]
Winners = NDArray[np.int32]

right_max_pool2d = reference.max_pool2d
right_window_areas = _window_areas


def _taps(x: Array, geometry: Geometry, border: float) -> Array:
    """Stack what each place of the window sees: (KH*KW, N, C, OH, OW)."""
    KH, KW = geometry.kernel_size
    padded = reference.pad(x, geometry.padding, border, geometry.overhang)
    return np.stack(
        [reference.window(padded, i, j, geometry) for i in range(KH) for j in range(KW)]
    )


@bug(
    "npresnet.backend:max_pool2d",
    seen_in="numpy-ml, DeZero, ASGDLO, RESNET_NUMPY; PyTorch's own documentation "
    "said so for years (#33382, #41294, #86559)",
    symptom="nothing after a ReLU, where no pixel is below 0; zeros along the border "
    "elsewhere",
)
def max_pool_pads_zero(x: Array, geometry: Geometry) -> tuple[Array, Winners]:
    """Pad with 0, which beats negative pixels, instead of minus infinity."""
    _, winners = right_max_pool2d(x, geometry)
    return _taps(x, geometry, 0.0).max(axis=0), winners


@bug(
    "npresnet.backend:max_pool2d",
    seen_in="a textbook slip: >= for > in the search",
    symptom="the same maxima; gradients at other pixels than PyTorch's wherever "
    "windows have ties, as after every ReLU",
)
def max_pool_last_tie_wins(x: Array, geometry: Geometry) -> tuple[Array, Winners]:
    """Let the last of equal pixels win instead of the first."""
    (H, W), (KH, KW) = geometry.input_size, geometry.kernel_size
    (SH, SW), (PH, PW), (DH, DW) = geometry.stride, geometry.padding, geometry.dilation
    OH, OW = geometry.output_size
    taps = _taps(x, geometry, -np.inf)
    winner = KH * KW - 1 - taps[::-1].argmax(axis=0)
    row = np.arange(OH)[:, None] * SH + winner // KW * DH - PH
    column = np.arange(OW) * SW + winner % KW * DW - PW
    row, column = np.clip(row, 0, H - 1), np.clip(column, 0, W - 1)
    return taps.max(axis=0), (row * W + column).astype(np.int32)


@bug(
    "npresnet.backend:max_pool2d",
    seen_in="Chainer's pooling defaults to cover_all=True",
    symptom="one more row and column than PyTorch for odd sizes; a network for 224 "
    "pixels ends with other shapes",
)
def max_pool_rounds_up(x: Array, geometry: Geometry) -> tuple[Array, Winners]:
    """Round the output size up, so that leftover pixels get a window as well."""
    H, W = geometry.input_size
    # Make room for the last window, as Chainer does, with a border that never wins.
    spare = geometry.stride
    x = np.pad(
        x, ((0, 0), (0, 0), (0, spare[0]), (0, spare[1])), constant_values=-np.inf
    )
    wider = geometry._replace(
        input_size=(x.shape[2], x.shape[3]),
        output_size=(_rounded_up(geometry, 0), _rounded_up(geometry, 1)),
    )
    out, winners = right_max_pool2d(x, wider)
    row, column = np.divmod(winners, x.shape[3])
    row, column = np.minimum(row, H - 1), np.minimum(column, W - 1)
    return out, (row * W + column).astype(np.int32)


def _rounded_up(geometry: Geometry, side: int) -> int:
    (length, kernel, stride, padding, dilation) = (g[side] for g in geometry[:5])
    reach = dilation * (kernel - 1) + 1
    places = -(-(length + 2 * padding - reach) // stride) + 1
    starts_outside = (places - 1) * stride >= length + padding
    return places - 1 if starts_outside else places


@bug(
    "npresnet.backend:max_pool2d_grad",
    seen_in="a textbook slip: fancy indexing with = or +=, which counts a place once",
    symptom="right for windows that do not overlap; the 3x3/2 pool of the ResNet stem "
    "loses gradients",
)
def max_pool_overlap_overwrites(
    grad_output: Array, winners: Winners, geometry: Geometry
) -> Array:
    """Keep one gradient where a pixel won several windows, instead of their sum."""
    N, C = grad_output.shape[:2]
    H, W = geometry.input_size
    grad_planes = np.zeros((N * C, H * W), grad_output.dtype)
    plane = np.arange(N * C)[:, None]
    grad_planes[plane, winners.reshape(N * C, -1)] += grad_output.reshape(N * C, -1)
    return grad_planes.reshape(N, C, H, W)


class _MaskCache(NamedTuple):
    x: Array
    out: Array
    right: MaxPool2dCache


def _gradient_to_every_maximum(grad_output: Array, cache: _MaskCache) -> Array:
    x, out, right = cache
    right_backward(grad_output, right)  # only for its complaints
    geometry = right.geometry
    KH, KW = geometry.kernel_size
    padded = reference.pad(x, geometry.padding, -np.inf, geometry.overhang)
    grad = np.zeros_like(padded)
    for i in range(KH):
        for j in range(KW):
            is_maximum = reference.window(padded, i, j, geometry) == out
            reference.window(grad, i, j, geometry)[...] += grad_output * is_maximum
    return reference.crop(grad, geometry)


@bug(
    "npresnet.functional.pool:max_pool2d_forward",
    seen_in="RESNET_NUMPY: mask = x == max; CS231n's fast path then splits equally",
    symptom="a window of four zeros passes on four times its gradient, and after a "
    "ReLU such windows are common",
    also={"npresnet.functional.pool:max_pool2d_backward": _gradient_to_every_maximum},
)
def max_pool_ties_all_win(
    x: Array,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    *,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, _MaskCache]:
    """Give the whole gradient to every pixel that equals the maximum."""
    out, cache = right_forward(
        x, kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode
    )
    return out, _MaskCache(x, out, cache)


@bug(
    "npresnet.functional.pool:_window_areas",
    seen_in="common: a mean over what is inside the image, which is PyTorch's "
    "count_include_pad=False",
    symptom="larger averages along the border than PyTorch's",
)
def avg_pool_divides_by_valid_pixels(
    geometry: Geometry, count_include_pad: bool
) -> NDArray[np.int64]:
    """Leave the padding out of the divisor, whatever was asked for."""
    return right_window_areas(geometry, False)


@bug(
    "npresnet.backend:adaptive_avg_pool2d_grad",
    seen_in="a textbook slip: the gradient of a mean taken for that of a sum",
    symptom="everything below the global average gets gradients H*W times too large; "
    "the learning rate seems too high",
)
def average_gradient_not_divided(grad_output: Array, input_size: Pair) -> Array:
    """Hand each bin's whole gradient to each of its pixels."""
    OH, OW = grad_output.shape[2:]
    grad_input = np.zeros((*grad_output.shape[:2], *input_size), grad_output.dtype)
    for i, (top, bottom) in enumerate(reference.adaptive_bins(input_size[0], OH)):
        for j, (left, right) in enumerate(reference.adaptive_bins(input_size[1], OW)):
            grad = grad_output[:, :, i, j]
            grad_input[:, :, top:bottom, left:right] += grad[:, :, None, None]
    return grad_input


def _bins_floor(length: int, bins: int) -> list[slice]:
    """Cut at floor(i*length/bins): the bins never overlap."""
    cuts = [i * length // bins for i in range(bins + 1)]
    return [slice(a, max(b, a + 1)) for a, b in pairwise(cuts)]


def _adaptive_grad_floor(grad_output: Array, input_size: Pair) -> Array:
    OH, OW = grad_output.shape[2:]
    grad_input = np.zeros((*grad_output.shape[:2], *input_size), grad_output.dtype)
    for i, rows in enumerate(_bins_floor(input_size[0], OH)):
        for j, columns in enumerate(_bins_floor(input_size[1], OW)):
            bin_ = grad_input[:, :, rows, columns]
            area = bin_.shape[2] * bin_.shape[3]
            bin_ += grad_output[:, :, i, j, None, None] / area
    return grad_input


@bug(
    "npresnet.backend:adaptive_avg_pool2d",
    seen_in="FlagGems #4915, whose tests had divisible sizes only; PyTorch's "
    "documentation is still being put right (#194438, #196346)",
    symptom="right for a global average and for sizes that divide; other values "
    "elsewhere",
    also={"npresnet.backend:adaptive_avg_pool2d_grad": _adaptive_grad_floor},
)
def adaptive_bins_floor(x: Array, output_size: Pair) -> Array:
    """End each bin at the floor, where the next begins, instead of at the ceiling."""
    out = np.empty((*x.shape[:2], *output_size), x.dtype)
    for i, rows in enumerate(_bins_floor(x.shape[2], output_size[0])):
        for j, columns in enumerate(_bins_floor(x.shape[3], output_size[1])):
            out[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return out
