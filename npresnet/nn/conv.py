"""The convolution layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.backend import as_pair
from npresnet.backend.geometry import Pair
from npresnet.functional import conv2d_backward, conv2d_forward
from npresnet.nn import init, modes
from npresnet.nn.module import Gradient, Module
from npresnet.nn.parameter import Parameter

Array = NDArray[np.floating[Any]]


class Conv2d(Module):
    """A convolution with weights of its own; see `npresnet.functional.conv2d_forward`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output.
    kernel_size, stride, padding, dilation : int or pair of int
        In pixels, vertical and horizontal.
    groups : int
        Both numbers of channels must be multiples of it.
    bias : bool
        Whether a number is added to each output channel. Before batch norm it would
        be taken away again.
    dtype : dtype
        float32 or float64.
    rng : Generator, int or None
        Source of the first weights, or its seed; None draws anew each time.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels/groups, KH, KW)
        The kernels.
    bias : Parameter of shape (out_channels,) or None
        The shifts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: init.Rng = None,
    ) -> None:
        super().__init__()
        in_channels = _arguments.whole("in_channels", in_channels, 1)
        out_channels = _arguments.whole("out_channels", out_channels, 1)
        groups = _arguments.whole("groups", groups, 1)
        _arguments.truth("bias", bias)
        dtype = _arguments.floating("dtype", dtype)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels ({in_channels}) and out_channels "
                f"({out_channels}), got {groups}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = as_pair("kernel_size", kernel_size, least=1)
        self.stride = as_pair("stride", stride, least=1)
        self.padding = as_pair("padding", padding, least=0)
        self.dilation = as_pair("dilation", dilation, least=1)
        self.groups = groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        fan_in, _ = init.fans(shape)
        rng = init.generator(rng)
        self.weight = Parameter(init.uniform_fan_in(shape, fan_in, rng, dtype))
        self.bias: Parameter | None = None
        if bias:
            values = init.uniform_fan_in((out_channels,), fan_in, rng, dtype)
            self.bias = Parameter(values)

    def forward(self, x: Array) -> Array:
        """Convolve x (N, C, H, W) to (N, K, OH, OW)."""
        out, cache = conv2d_forward(
            x,
            self.weight.data,
            None if self.bias is None else self.bias.data,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, K, OH, OW) to (N, C, H, W), or to None if spared."""
        grad_x, grad_weight, grad_bias = conv2d_backward(
            grad_output,
            self.pop_cache(),
            input_grad=input_grad,
            weight_grad=not modes.is_replaying(),
        )
        self.weight.accumulate(grad_weight)
        if self.bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x

    def extra_repr(self) -> str:
        """Name what differs from PyTorch's defaults, in PyTorch's order."""
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1, 1):
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)
