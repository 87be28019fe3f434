"""The pooling layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Pair
from npresnet.functional import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from npresnet.nn.module import Gradient, Module

Array = NDArray[np.floating[Any]]


class MaxPool2d(Module):
    """Maxima of windows; see `npresnet.functional.max_pool2d_forward`.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or pair of int
        In pixels; the stride is the kernel's size unless given.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = max_pool2d_forward(
            x, self.kernel_size, self.stride, self.padding, dilation=self.dilation
        )
        self.keep(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.take()
        return max_pool2d_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, ceil_mode=False"
        )


class AvgPool2d(Module):
    """Averages of windows; see `npresnet.functional.avg_pool2d_forward`.

    Parameters
    ----------
    kernel_size, stride, padding : int or pair of int
        In pixels; the stride is the kernel's size unless given.
    count_include_pad : bool
        Whether the border counts when the sum is divided.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.count_include_pad = padding, count_include_pad

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = avg_pool2d_forward(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            count_include_pad=self.count_include_pad,
        )
        self.keep(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.take()
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
    """

    def __init__(self, output_size: int | Pair) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Array) -> Array:
        """Pool x (N, C, H, W) to (N, C, OH, OW)."""
        out, cache = adaptive_avg_pool2d_forward(x, self.output_size)
        self.keep(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, OH, OW) to (N, C, H, W)."""
        cache = self.take()
        return adaptive_avg_pool2d_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return f"output_size={self.output_size}"
