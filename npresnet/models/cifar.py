"""The CIFAR family: ResNet-20 to 1202 of the paper, smaller ones, and plain twins.

He et al., arXiv 1512.03385, section 4.2: a 3x3 convolution, three stages of n basic
blocks on 32x32, 16x16 and 8x8 pixels with 16, 32 and 64 channels, a global average,
a linear classifier; 6n+2 layers with weights.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.models.blocks import BasicBlock, PlainBlock, conv3x3, projection
from npresnet.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Gradient,
    Linear,
    Module,
    ReLU,
    Sequential,
    ZeroPadShortcut,
    init,
)
from npresnet.nn.fused import norm_relu, norm_relu_backward

Array = NDArray[np.floating[Any]]
Shortcut = Literal["A", "B", "C"]


class PlainOptions(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    in_channels: int
    dtype: DTypeLike
    seed: int


class Options(PlainOptions, total=False):
    """What builders of networks with shortcuts take besides."""

    shortcut: Shortcut


class CifarResNet(Module):
    """A 3x3 convolution, three stages of basic blocks, global average, classifier.

    Parameters
    ----------
    depth : int
        Layers with weights: 6n+2 for n blocks a stage.
    num_classes : int
        Outputs.
    shortcut : {"A", "B", "C"} or None
        Where shapes change: "A" takes every other pixel and pads channels with
        zeros (the paper's choice for CIFAR), "B" projects; "C" projects in every
        block. None cuts the shortcuts: a plain network.
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
        depth: int,
        num_classes: int = 10,
        *,
        shortcut: Shortcut | None = "A",
        in_channels: int = 3,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _arguments.whole("num_classes", num_classes, 1)
        blocks, rest = divmod(_arguments.whole("depth", depth, 8) - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 6n+2 with n of at least 1, got {depth}")
        _arguments.one_of("shortcut", shortcut, "A", "B", "C", None)
        rng = init.generator(seed, "seed")
        self.conv1 = conv3x3(in_channels, 16, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(16, dtype=dtype)
        self.relu = ReLU()
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.layer1 = _stage(16, 16, blocks, 1, shortcut, options)
        self.layer2 = _stage(16, 32, blocks, 2, shortcut, options)
        self.layer3 = _stage(32, 64, blocks, 2, shortcut, options)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(64, num_classes, dtype=dtype, rng=rng)
        _initialise(self, rng)

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        x = norm_relu(
            self.bn1, self.relu, self.conv1(x)
        )  # relu(bn1(...)): (N, 16, H, W)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 32, H/2, W/2)
        x = self.layer3(x)  # (N, 64, H/4, W/4)
        x = self.avgpool(x)  # (N, 64, 1, 1)
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


def _stage(
    in_channels: int,
    channels: int,
    blocks: int,
    stride: int,
    shortcut: Shortcut | None,
    options: dict[str, Any],
) -> Sequential:
    """Make `blocks` blocks; the first one changes the shape, if anything does."""
    stage: list[Module] = []
    for _ in range(blocks):
        if shortcut is None:
            stage.append(PlainBlock(in_channels, channels, stride, **options))
        else:
            changes = stride != 1 or in_channels != channels
            downsample: Module | None = None
            if shortcut == "C" or (shortcut == "B" and changes):
                downsample = projection(in_channels, channels, stride, **options)
            elif changes:
                downsample = ZeroPadShortcut(in_channels, channels, stride)
            block = BasicBlock(in_channels, channels, stride, downsample, **options)
            stage.append(block)
        in_channels, stride = channels, 1
    return Sequential(*stage)


def _initialise(model: CifarResNet, rng: np.random.Generator) -> None:
    """Draw all weights as He et al. (arXiv 1502.01852) do, the classifier's too."""
    for module in model.modules():
        if isinstance(module, Conv2d | Linear):
            weight = module.weight
            weight.data = init.kaiming_normal(weight.shape, rng=rng, dtype=weight.dtype)


def resnet8(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-8 (1 block a stage); see `CifarResNet` for the options."""
    return CifarResNet(8, num_classes, **options)


def resnet14(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-14 (2 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(14, num_classes, **options)


def resnet20(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-20 (3 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(20, num_classes, **options)


def resnet32(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-32 (5 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(32, num_classes, **options)


def resnet44(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-44 (7 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(44, num_classes, **options)


def resnet56(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-56 (9 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(56, num_classes, **options)


def resnet110(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-110 (18 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(110, num_classes, **options)


def resnet1202(num_classes: int = 10, **options: Unpack[Options]) -> CifarResNet:
    """Make ResNet-1202 (200 blocks a stage); see `CifarResNet` for the options."""
    return CifarResNet(1202, num_classes, **options)


def plain8(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-8 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(8, num_classes, shortcut=None, **options)


def plain14(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-14 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(14, num_classes, shortcut=None, **options)


def plain20(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-20 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(20, num_classes, shortcut=None, **options)


def plain32(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-32 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(32, num_classes, shortcut=None, **options)


def plain44(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-44 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(44, num_classes, shortcut=None, **options)


def plain56(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-56 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(56, num_classes, shortcut=None, **options)


def plain110(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-110 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(110, num_classes, shortcut=None, **options)


def plain1202(num_classes: int = 10, **options: Unpack[PlainOptions]) -> CifarResNet:
    """Make ResNet-1202 without its shortcuts; see `CifarResNet` for the options."""
    return CifarResNet(1202, num_classes, shortcut=None, **options)
