"""Pooling: a window of pixels becomes one, the largest or the average."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments, backend
from npresnet.backend import Geometry, as_pair
from npresnet.backend.geometry import Pair
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class MaxPool2dCache(NamedTuple):
    """What the backward pass of max pooling needs."""

    # (N, C, OH, OW): where in its H*W plane each maximum stood; the pixels
    # themselves are not needed any more.
    winners: NDArray[np.int32]
    dtype: np.dtype[Any]
    geometry: Geometry


class AvgPool2dCache(NamedTuple):
    """What the backward pass of average pooling needs: no pixels, only sizes."""

    divisor: Array  # (OH, OW): what each window's sum was divided by
    out_shape: tuple[int, ...]
    geometry: Geometry


class AdaptiveAvgPool2dCache(NamedTuple):
    """What the backward pass of adaptive average pooling needs: only sizes."""

    x_shape: tuple[int, int, int, int]  # (N, C, H, W)
    output_size: Pair
    dtype: np.dtype[Any]


def max_pool2d_forward(
    x: Array,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    *,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, MaxPool2dCache]:
    """Take the largest pixel of every window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    kernel_size : int or pair of int
        Height and width of the window, in pixels.
    stride : int or pair of int, optional
        Step of the window; by default its size.
    padding : int or pair of int
        Border of minus infinity, so that it never wins; at most half the kernel.
    dilation : int or pair of int
        Distance of the window's pixels.
    ceil_mode : bool
        Whether the output's size is rounded up: pixels left over get a window, too.

    Returns
    -------
    out : ndarray of shape (N, C, OH, OW)
        Maxima.
    cache : MaxPool2dCache
        For `max_pool2d_backward`.

    Raises
    ------
    ValueError
        If the window does not fit, or the padding is more than half of it.
    TypeError
        If x is no ndarray of floats.

    Notes
    -----
    Of equal pixels the first one in the window, row by row, wins and alone gets the
    gradient, as in PyTorch. After a ReLU ties are common: windows of zeros.
    """
    x = _check.array("x", x, "N C H W")
    geometry = _pool_geometry(x, kernel_size, stride, padding, dilation, ceil_mode)
    out, winners = backend.max_pool2d(x, geometry)
    return out, MaxPool2dCache(winners, x.dtype, geometry)


def max_pool2d_backward(grad_output: Array, cache: MaxPool2dCache) -> Array:
    """Hand every window's gradient to its winner.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    cache : MaxPool2dCache
        From `max_pool2d_forward`.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        A pixel that won several overlapping windows gets the sum.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    winners, dtype, geometry = cache
    grad_output = _check.gradient(grad_output, winners.shape, like=np.empty(0, dtype))
    grad_x: Array = backend.max_pool2d_grad(grad_output, winners, geometry)
    return grad_x


def avg_pool2d_forward(
    x: Array,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Array, AvgPool2dCache]:
    """Average every window.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    kernel_size : int or pair of int
        Height and width of the window, in pixels.
    stride : int or pair of int, optional
        Step of the window; by default its size.
    padding : int or pair of int
        Border of zeros; at most half the kernel.
    ceil_mode : bool
        Whether the output's size is rounded up: pixels left over get a window, too.
        What of it lies beyond the border counts in no way.
    count_include_pad : bool
        Whether the border counts when the sum is divided, as PyTorch does by
        default.
    divisor_override : int, optional
        Divide every sum by this instead.

    Returns
    -------
    out : ndarray of shape (N, C, OH, OW)
        Averages.
    cache : AvgPool2dCache
        For `avg_pool2d_backward`.

    Raises
    ------
    ValueError
        If the window does not fit, or the padding is more than half of it.
    TypeError
        If x is no ndarray of floats.
    """
    x = _check.array("x", x, "N C H W")
    geometry = _pool_geometry(x, kernel_size, stride, padding, 1, ceil_mode)
    include = _arguments.truth("count_include_pad", count_include_pad)
    divisor = _window_areas(geometry, include).astype(x.dtype)
    if divisor_override is not None:
        divisor[:] = _arguments.whole("divisor_override", divisor_override, 1)
    out = backend.avg_pool2d(x, divisor, geometry)
    return out, AvgPool2dCache(divisor, out.shape, geometry)


def avg_pool2d_backward(grad_output: Array, cache: AvgPool2dCache) -> Array:
    """Share every window's gradient among its pixels.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    cache : AvgPool2dCache
        From `avg_pool2d_forward`.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        Pixels under several windows get the sum of their shares.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    divisor, out_shape, geometry = cache
    grad_output = _check.gradient(grad_output, out_shape, like=divisor)
    grad_x: Array = backend.avg_pool2d_grad(grad_output, divisor, geometry)
    return grad_x


def adaptive_avg_pool2d_forward(
    x: Array, output_size: int | Pair
) -> tuple[Array, AdaptiveAvgPool2dCache]:
    """Average over as many bins as asked for, whatever the input's size.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    output_size : int or pair of int
        Bins down and across; 1 is the global average that ends a ResNet.

    Returns
    -------
    out : ndarray of shape (N, C, OH, OW)
        One average per bin.
    cache : AdaptiveAvgPool2dCache
        For `adaptive_avg_pool2d_backward`.

    Raises
    ------
    ValueError
        If the output size is below 1.
    TypeError
        If x is no ndarray of floats.

    Notes
    -----
    Bin i of n over a length L is ``floor(i*L/n) ... ceil((i+1)*L/n)``, as in
    PyTorch: where n does not divide L, neighbouring bins share pixels.
    """
    x = _check.array("x", x, "N C H W")
    size = as_pair("output_size", output_size, least=1)
    out = backend.adaptive_avg_pool2d(x, size)
    return out, AdaptiveAvgPool2dCache(x.shape, size, x.dtype)


def adaptive_avg_pool2d_backward(
    grad_output: Array, cache: AdaptiveAvgPool2dCache
) -> Array:
    """Share every bin's gradient among its pixels.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, OH, OW)
        Gradient of the loss with respect to the output.
    cache : AdaptiveAvgPool2dCache
        From `adaptive_avg_pool2d_forward`.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        Pixels in several bins get the sum of their shares.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    x_shape, output_size, dtype = cache
    out_shape = (*x_shape[:2], *output_size)
    grad_output = _check.gradient(grad_output, out_shape, like=np.empty(0, dtype))
    grad_x: Array = backend.adaptive_avg_pool2d_grad(grad_output, x_shape[2:])
    return grad_x


def check_padding(kernel_size: Pair, padding: Pair, dilation: Pair) -> None:
    """Insist on windows of which more than the border is inside the image."""
    for side in (0, 1):
        reach = dilation[side] * (kernel_size[side] - 1) + 1
        if padding[side] > reach // 2:
            raise ValueError(
                f"padding must be at most half of kernel_size {kernel_size}, got "
                f"{padding}"
            )


def _pool_geometry(
    x: Array,
    kernel_size: int | Pair,
    stride: int | Pair | None,
    padding: int | Pair,
    dilation: int | Pair,
    ceil_mode: bool,
) -> Geometry:
    geometry = Geometry.of(
        (x.shape[2], x.shape[3]),
        kernel_size,
        kernel_size if stride is None else stride,
        padding,
        dilation,
        ceil_mode=_arguments.truth("ceil_mode", ceil_mode),
    )
    check_padding(geometry.kernel_size, geometry.padding, geometry.dilation)
    for side in (0, 1):
        # Windows that begin in the border go on in steps of the dilation; the first
        # step inside must not be beyond the other border.
        starts = range(geometry.output_size[side])
        begins = [i * geometry.stride[side] - geometry.padding[side] for i in starts]
        step, length = geometry.dilation[side], geometry.input_size[side]
        if any(begin < 0 and begin % step >= length for begin in begins):
            raise ValueError(
                f"dilation {geometry.dilation} with padding {geometry.padding} steps "
                f"over the whole input of {x.shape[2]}x{x.shape[3]} pixels"
            )
    return geometry


def _window_areas(geometry: Geometry, count_include_pad: bool) -> NDArray[np.int64]:
    """Count the pixels that each window is divided by: (OH, OW)."""
    sides = []
    for axis in (0, 1):
        length, kernel = geometry.input_size[axis], geometry.kernel_size[axis]
        padding, stride = geometry.padding[axis], geometry.stride[axis]
        begin = np.arange(geometry.output_size[axis]) * stride - padding
        end = np.minimum(begin + kernel, length + padding)
        if not count_include_pad:
            begin, end = np.maximum(begin, 0), np.minimum(end, length)
        sides.append(end - begin)
    return np.asarray(sides[0][:, None] * sides[1])
