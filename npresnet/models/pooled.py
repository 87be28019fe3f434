"""A short, wide network for 32x32 images that is made to be trained in little time.

Between stages the image is halved by max pooling, right behind a convolution, and
every stage ends in one residual block: the layout of D. Page's ResNet-9 ("How to
train your ResNet", 2018), with the basic blocks of `blocks`.
"""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.models.blocks import BasicBlock, conv3x3
from npresnet.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Gradient,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from npresnet.nn.fused import norm_relu, norm_relu_backward

Array = NDArray[np.floating[Any]]


class Options(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    in_channels: int
    dtype: DTypeLike
    seed: int


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
        return norm_relu(self.bn, self.relu, self.maxpool(self.conv(x)))

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Map the gradient by the output to that by x, or to None."""
        grad, _ = norm_relu_backward(self.bn, self.relu, grad_output)
        return self.conv.backward(self.maxpool.backward(grad), input_grad)


class PooledResNet(Module):
    """Stem, three stages of a pooled convolution and a residual block, classifier.

    Parameters
    ----------
    widths : tuple of int
        Channels of the stem and of the three stages.
    num_classes : int
        Outputs.
    in_channels : int
        Channels of the images.
    dtype : dtype
        float32 or float64; the network computes in it.
    seed : int
        Of the first weights.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _arguments.wholes("widths", widths, 4)
        _arguments.whole("num_classes", num_classes, 1)
        rng = init.generator(seed, "seed")
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.conv1 = conv3x3(in_channels, widths[0], **options)
        self.bn1 = BatchNorm2d(widths[0], dtype=dtype)
        self.relu = ReLU()
        self.layer1 = _stage(widths[0], widths[1], options)
        self.layer2 = _stage(widths[1], widths[2], options)
        self.layer3 = _stage(widths[2], widths[3], options)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(widths[3], num_classes, **options)
        for module in self.modules():
            if isinstance(module, Conv2d):
                weight = module.weight
                weight.data = init.kaiming_normal(
                    weight.shape, rng=rng, dtype=weight.dtype
                )

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        x = norm_relu(self.bn1, self.relu, self.conv1(x))  # (N, widths[0], H, W)
        x = self.layer1(x)  # (N, widths[1], H/2, W/2)
        x = self.layer2(x)  # (N, widths[2], H/4, W/4)
        x = self.layer3(x)  # (N, widths[3], H/8, W/8)
        x = self.avgpool(x)  # (N, widths[3], 1, 1)
        logits: Array = self.fc(x[:, :, 0, 0])
        return logits

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Map the gradient by the logits to that by the images, or to None."""
        grad = self.fc.backward(grad_output)
        grad = self.avgpool.backward(grad[:, :, None, None])
        for stage in (self.layer3, self.layer2, self.layer1):
            grad = stage.backward(grad)
        grad, _ = norm_relu_backward(self.bn1, self.relu, grad)
        return self.conv1.backward(grad, input_grad)


def _stage(in_channels: int, channels: int, options: dict[str, Any]) -> Sequential:
    return Sequential(
        PooledConv(in_channels, channels, **options),
        BasicBlock(channels, channels, **options),
    )


def resnet11(num_classes: int = 10, **options: Unpack[Options]) -> PooledResNet:
    """Make ResNet-11 (32, 64, 256 and 256 channels); see `PooledResNet`."""
    return PooledResNet((32, 64, 256, 256), num_classes, **options)


def resnet11_narrow(num_classes: int = 10, **options: Unpack[Options]) -> PooledResNet:
    """Make a ResNet-11 of 32, 64, 128 and 256 channels; see `PooledResNet`."""
    return PooledResNet((32, 64, 128, 256), num_classes, **options)
