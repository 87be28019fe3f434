"""Convolutions of a network for inference, with what follows them.

In evaluation mode batch norm multiplies every channel with one number and adds
another. Both can be had for nothing: the first in the weights of the convolution
before it, the second as that convolution's bias.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import Geometry, fused
from npresnet.functional import _check
from npresnet.nn import BatchNorm2d, Conv2d, Module, ReLU

Array = NDArray[np.floating[Any]]

_geometry = functools.lru_cache(maxsize=512)(Geometry.of)  # by values: they may change


class FusedConv2d(Module):
    """A convolution with the batch norm after it, an addition and a ReLU.

    Parameters
    ----------
    conv : Conv2d
        The convolution.
    bn : BatchNorm2d
        The batch norm after it, as it is when frozen.
    rectify : bool
        Whether a ReLU ends it.
    """

    def __init__(self, conv: Conv2d, bn: BatchNorm2d, *, rectify: bool) -> None:
        super().__init__()
        weight, bias = _fold(conv, bn)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.stride, self.padding = conv.stride, conv.padding
        self.dilation, self.groups = conv.dilation, conv.groups
        self.rectify = rectify

    weight: Array
    bias: Array

    def forward(self, x: Array, residual: Array | None = None) -> Array:
        """Convolve x, add `residual`, and cut off at zero if there is a ReLU."""
        _, C, KH, KW = self.weight.shape
        if (
            type(x) is not np.ndarray
            or x.ndim != 4
            or x.shape[1] != C * self.groups
            or x.dtype != self.weight.dtype
            or not x.size
        ):
            x = self._checked(x)
        geometry = _geometry(
            (x.shape[2], x.shape[3]),
            (KH, KW),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )
        out: Array = fused.fused_conv2d(
            x, self.weight, self.bias, residual, self.rectify, geometry
        )
        return out

    def _checked(self, x: Any) -> Array:
        """Say what is wrong with x, if anything is; return it as a plain array."""
        found = _check.array("x", x, "N C H W")
        _check.array("weight", self.weight, "K C/groups KH KW", like=found)
        channels = self.weight.shape[1] * self.groups
        if found.shape[1] != channels:
            raise ValueError(
                f"x must have {channels} channels for a weight of shape "
                f"{self.weight.shape} and groups={self.groups}, got {found.shape[1]}"
            )
        return found

    def extra_repr(self) -> str:
        """Say how it was made."""
        K, C, KH, KW = self.weight.shape
        return (
            f"{C * self.groups}, {K}, kernel_size={(KH, KW)}, stride={self.stride}, "
            f"padding={self.padding}, rectify={self.rectify}"
        )


class LayeredConv2d(Module):
    """What `FusedConv2d` is, where nothing can be folded.

    Batch norm without running statistics uses those of each batch, which are not known
    before it comes.

    Parameters
    ----------
    conv, bn, rectify
        As for `FusedConv2d`.
    """

    def __init__(self, conv: Conv2d, bn: BatchNorm2d, *, rectify: bool) -> None:
        super().__init__()
        self.conv, self.bn = conv, bn
        self.relu = ReLU()
        self.rectify = rectify

    def forward(self, x: Array, residual: Array | None = None) -> Array:
        """Convolve and normalise x, add `residual`, rectify if there is a ReLU."""
        out: Array = self.bn(self.conv(x))
        if residual is not None:
            out = out + residual
        if self.rectify:
            out = self.relu(out)
        return out


@np.errstate(under="ignore")  # what is too small for a float is zero, no error
def _fold(conv: Conv2d, bn: BatchNorm2d) -> tuple[Array, Array]:
    """Make one weight and one bias of a convolution and the batch norm after it."""
    # In float64, so that folding costs no digits: rounded once at the end.
    variance = bn.running_var.astype(np.float64)
    weight = 1.0 if bn.weight is None else bn.weight.data
    scale = weight / np.sqrt(variance + bn.eps)  # (K,)
    bias = 0.0 if bn.bias is None else bn.bias.data
    shift = bias - bn.running_mean * scale
    if conv.bias is not None:
        shift = shift + conv.bias.data * scale
    kernels = conv.weight.data * scale[:, None, None, None]
    dtype = conv.weight.dtype
    return kernels.astype(dtype), shift.astype(dtype)
