"""The pooling layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet.backend import as_pair
from npresnet.backend.geometry import Pair
from npresnet.functional import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from npresnet.functional.pool import check_padding
from npresnet.nn.module import Gradient, Module

Array = NDArray[np.floating[Any]]


class MaxPool2d(Module):
    """Maxima of windows; see `npresnet.functional.max_pool2d_forward`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or pair of int
        In pixels; the stride is the kernel's size unless given.
    ceil_mode : bool
        Whether pixels left over get a window, too.

    Raises
    ------
    TypeError, ValueError
        If an argument makes no sense.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.ceil_mode = _arguments.truth("ceil_mode", ceil_mode)
        _check_window(kernel_size, self.stride, padding, dilation)

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = max_pool2d_forward(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.pop_cache()
        return max_pool2d_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """Averages of windows; see `npresnet.functional.avg_pool2d_forward`.

    Parameters
    ----------
    kernel_size, stride, padding : int or pair of int
        In pixels; the stride is the kernel's size unless given.
    ceil_mode : bool
        Whether pixels left over get a window, too.
    count_include_pad : bool
        Whether the border counts when the sum is divided.
    divisor_override : int, optional
        Divide every sum by this instead.

    Raises
    ------
    TypeError, ValueError
        If an argument makes no sense.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = _arguments.truth("ceil_mode", ceil_mode)
        self.count_include_pad = _arguments.truth(
            "count_include_pad", count_include_pad
        )
        self.divisor_override = divisor_override
        if divisor_override is not None:
            _arguments.whole("divisor_override", divisor_override, 1)
        _check_window(kernel_size, self.stride, padding, 1)

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = avg_pool2d_forward(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
            divisor_override=self.divisor_override,
        )
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.pop_cache()
        return avg_pool2d_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class AdaptiveAvgPool2d(Module):
    """Averages of bins; see `npresnet.functional.adaptive_avg_pool2d_forward`.

    Parameters
    ----------
    output_size : int or pair of int
        Bins down and across.

    Raises
    ------
    TypeError, ValueError
        If it is no such thing, or below 1.
    """

    def __init__(self, output_size: int | Pair) -> None:
        super().__init__()
        as_pair("output_size", output_size, least=1)
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = adaptive_avg_pool2d_forward(x, self.output_size)
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.pop_cache()
        return adaptive_avg_pool2d_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return f"output_size={self.output_size}"


def _check_window(
    kernel_size: int | Pair,
    stride: int | Pair,
    padding: int | Pair,
    dilation: int | Pair,
) -> None:
    """Refuse sizes that make no sense; they are kept as given, for printing."""
    size = as_pair("kernel_size", kernel_size, least=1)
    as_pair("stride", stride, least=1)
    check_padding(
        size,
        as_pair("padding", padding, least=0),
        as_pair("dilation", dilation, least=1),
    )
