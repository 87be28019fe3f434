"""The blocks: a branch of convolutions, and the shortcut around it.

``H(x) = F(x) + x``: the forward pass adds, so the gradient of the sum goes both
ways, and the two gradients that come back add again. He et al., arXiv 1512.03385,
section 3.2 and Fig. 5.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.nn import (
    BatchNorm2d,
    Conv2d,
    Gradient,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)

Array = NDArray[np.floating[Any]]


def conv3x3(
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    *,
    dtype: DTypeLike,
    rng: init.Rng,
) -> Conv2d:
    """Make a 3x3 convolution that keeps the size at stride 1; batch norm follows."""
    return Conv2d(
        in_channels, out_channels, 3, stride, 1, bias=False, dtype=dtype, rng=rng
    )


def conv1x1(
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    *,
    dtype: DTypeLike,
    rng: init.Rng,
) -> Conv2d:
    """Make a 1x1 convolution: it mixes channels and leaves space alone."""
    return Conv2d(
        in_channels, out_channels, 1, stride, bias=False, dtype=dtype, rng=rng
    )


def projection(
    in_channels: int,
    out_channels: int,
    stride: int,
    *,
    dtype: DTypeLike,
    rng: init.Rng,
) -> Sequential:
    """Make the shortcut for blocks that change shape: a 1x1 convolution, batch norm."""
    return Sequential(
        conv1x1(in_channels, out_channels, stride, dtype=dtype, rng=rng),
        BatchNorm2d(out_channels, dtype=dtype),
    )


def _check_block(channels: int, stride: int, downsample: Module | None) -> None:
    """Look at what the layers of a block would call by another name."""
    _arguments.whole("channels", channels, 1)
    _arguments.whole("stride", stride, 1)
    if downsample is not None:
        _arguments.instance("downsample", downsample, Module, "a Module or None")


class ResidualBlock(Module):
    """What both residual blocks share: the addition, and how gradients pass it.

    A subclass makes the layers of its branch, a `relu`, and `downsample`, the
    shortcut, where an empty `Sequential` is the identity.

    Attributes
    ----------
    expansion : int
        Channels out of the block per channel of its 3x3 convolution.
    """

    expansion = 1
    relu: ReLU
    downsample: Module

    def layers(self) -> list[tuple[Conv2d, BatchNorm2d]]:
        """List the branch's convolutions, with the batch norm behind each."""
        raise TypeError(f"{type(self).__name__} does not define layers()")

    def branch_forward(self, x: Array) -> Array:
        """Compute F(x), before the addition."""
        raise TypeError(f"{type(self).__name__} does not define branch_forward(x)")

    def branch_backward(self, grad_sum: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the sum back through F."""
        raise TypeError(f"{type(self).__name__} does not define branch_backward(grad)")

    def shortcut_forward(self, x: Array) -> Array:
        """Compute what is added to F(x): x itself, or its projection."""
        shortcut: Array = self.downsample(x)
        return shortcut

    def shortcut_backward(self, grad_sum: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the sum back through the shortcut."""
        return self.downsample.backward(grad_sum, input_grad)

    def forward(self, x: Array) -> Array:
        """Compute relu(F(x) + shortcut(x))."""
        branch = self.branch_forward(x)
        shortcut = self.shortcut_forward(x)
        out: Array = self.relu(branch + shortcut)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward along both ways."""
        grad_sum = self.relu.backward(grad_output)  # the last ReLU masks both paths
        grad_branch = self.branch_backward(grad_sum, input_grad)
        grad_shortcut = self.shortcut_backward(grad_sum, input_grad)
        if not input_grad:
            return None
        return grad_branch + grad_shortcut  # a fork's gradients add


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, each with batch norm; ResNet-18, 34 and CIFAR's.

    Parameters
    ----------
    in_channels, channels : int
        Channels of the input, and of both convolutions.
    stride : int
        Of the first convolution.
    downsample : Module, optional
        The shortcut; by default the identity.
    dtype, rng
        As for `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: Module | None = None,
        *,
        dtype: DTypeLike = np.float32,
        rng: init.Rng = None,
    ) -> None:
        super().__init__()
        _check_block(channels, stride, downsample)
        rng = init.generator(rng)
        self.conv1 = conv3x3(in_channels, channels, stride, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(channels, dtype=dtype)
        self.relu = ReLU()
        self.conv2 = conv3x3(channels, channels, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(channels, dtype=dtype)
        self.downsample = Sequential() if downsample is None else downsample

    def layers(self) -> list[tuple[Conv2d, BatchNorm2d]]:
        """List the branch's convolutions, with the batch norm behind each."""
        return [(self.conv1, self.bn1), (self.conv2, self.bn2)]

    def branch_forward(self, x: Array) -> Array:
        """Compute F(x): (N, channels, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        branch: Array = self.bn2(self.conv2(out))
        return branch

    def branch_backward(self, grad_sum: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the sum back through F."""
        grad = self.bn2.backward(grad_sum)
        grad = self.conv2.backward(grad)
        grad = self.relu.backward(grad)
        grad = self.bn1.backward(grad)
        return self.conv1.backward(grad, input_grad)


class PlainBlock(BasicBlock):
    """A `BasicBlock` whose shortcut has been cut: the paper's plain network."""

    def forward(self, x: Array) -> Array:
        """Compute relu(F(x))."""
        out: Array = self.relu(self.branch_forward(x))
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward along the only way there is."""
        grad_branch = self.relu.backward(grad_output)
        return self.branch_backward(grad_branch, input_grad)


class Bottleneck(ResidualBlock):
    """1x1 down to `channels`, 3x3, 1x1 up to four times as many; ResNet-50 and up.

    Parameters
    ----------
    in_channels, channels : int
        Channels of the input, and of the 3x3 convolution.
    stride : int
        Of the block.
    downsample : Module, optional
        The shortcut; by default the identity.
    stride_in : {"3x3", "1x1"}
        Which convolution takes the stride: the 3x3 (torchvision's "v1.5") or the
        first 1x1 (the paper's).
    dtype, rng
        As for `Conv2d`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        downsample: Module | None = None,
        *,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        dtype: DTypeLike = np.float32,
        rng: init.Rng = None,
    ) -> None:
        super().__init__()
        _check_block(channels, stride, downsample)
        _arguments.one_of("stride_in", stride_in, "3x3", "1x1")
        rng = init.generator(rng)
        wide = channels * self.expansion
        first, second = (1, stride) if stride_in == "3x3" else (stride, 1)
        self.conv1 = conv1x1(in_channels, channels, first, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(channels, dtype=dtype)
        self.conv2 = conv3x3(channels, channels, second, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(channels, dtype=dtype)
        self.conv3 = conv1x1(channels, wide, dtype=dtype, rng=rng)
        self.bn3 = BatchNorm2d(wide, dtype=dtype)
        self.relu = ReLU()
        self.downsample = Sequential() if downsample is None else downsample

    def layers(self) -> list[tuple[Conv2d, BatchNorm2d]]:
        """List the branch's convolutions, with the batch norm behind each."""
        return [(self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)]

    def branch_forward(self, x: Array) -> Array:
        """Compute F(x): (N, 4*channels, H/stride, W/stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        branch: Array = self.bn3(self.conv3(out))
        return branch

    def branch_backward(self, grad_sum: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the sum back through F."""
        grad = self.bn3.backward(grad_sum)
        grad = self.conv3.backward(grad)
        grad = self.relu.backward(grad)
        grad = self.bn2.backward(grad)
        grad = self.conv2.backward(grad)
        grad = self.relu.backward(grad)
        grad = self.bn1.backward(grad)
        return self.conv1.backward(grad, input_grad)


class PooledConv(Module):
    """A 3x3 convolution, 2x2 max pooling, batch norm, ReLU: halves the image.

    Pooling comes first, so that batch norm and ReLU see a quarter of the pixels. ReLU
    and max pooling may change places, since ReLU keeps the order of numbers; batch norm
    may not: here its statistics are those of the pixels that are left.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images that come and go.
    dtype : dtype
        float32 or float64.
    rng : numpy.random.Generator
        Draws the weights.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: init.Rng = None,
    ) -> None:
        super().__init__()
        self.conv = conv3x3(in_channels, out_channels, dtype=dtype, rng=rng)
        self.maxpool = MaxPool2d(kernel_size=2, stride=2)
        self.bn = BatchNorm2d(out_channels, dtype=dtype)
        self.relu = ReLU()

    def forward(self, x: Array) -> Array:
        """Map (N, in_channels, H, W) to (N, out_channels, H/2, W/2)."""
        out: Array = self.relu(self.bn(self.maxpool(self.conv(x))))
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient back to x; None if spared."""
        grad = self.relu.backward(grad_output)
        grad = self.bn.backward(grad)
        grad = self.maxpool.backward(grad)
        return self.conv.backward(grad, input_grad)
