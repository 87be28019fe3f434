"""The shortcut without parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet.functional import zero_pad_shortcut_backward, zero_pad_shortcut_forward
from npresnet.nn.module import Gradient, Module

Array = NDArray[np.floating[Any]]


class ZeroPadShortcut(Module):
    """Option A of the paper; see `npresnet.functional.zero_pad_shortcut_forward`.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output; the rest is zeros.
    stride : int
        Every stride-th row and column is taken.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.in_channels = _arguments.whole("in_channels", in_channels, 1)
        self.out_channels = _arguments.whole("out_channels", out_channels, in_channels)
        self.stride = _arguments.whole("stride", stride, 1)

    def forward(self, x: Array) -> Array:
        """Map x (N, C, H, W) to (N, K, ceil(H/stride), ceil(W/stride))."""
        out, cache = zero_pad_shortcut_forward(x, self.out_channels, self.stride)
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward to (N, C, H, W)."""
        cache = self.pop_cache()
        return zero_pad_shortcut_backward(grad_output, cache) if input_grad else None

    def extra_repr(self) -> str:
        """Say how it was made."""
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
