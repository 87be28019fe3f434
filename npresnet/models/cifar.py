"""The CIFAR family: ResNet-20 to 1202 of the paper, smaller ones, and plain twins.

He et al., arXiv 1512.03385, section 4.2: a 3x3 convolution, three stages of n basic
blocks on 32x32, 16x16 and 8x8 pixels with 16, 32 and 64 channels, a global average,
a linear classifier; 6n+2 layers with weights.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npresnet import _arguments
from npresnet.models.blocks import BasicBlock, PlainBlock
from npresnet.models.resnet import ResNet, Shortcut, Stem


class PlainOptions(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    in_channels: int
    dtype: DTypeLike
    seed: int


class Options(PlainOptions, total=False):
    """What builders of networks with shortcuts take besides."""

    shortcut: Shortcut


def cifar_resnet(
    depth: int,
    num_classes: int = 10,
    *,
    shortcut: Shortcut | None = "A",
    in_channels: int = 3,
    dtype: DTypeLike = np.float32,
    seed: int = 0,
) -> ResNet:
    """Make a network of the family, of any depth.

    Parameters
    ----------
    depth : int
        Layers with weights: 6n+2 for n blocks a stage.
    num_classes : int
        Outputs.
    shortcut : {"A", "B", "C"} or None
        See `ResNet`; "A" is the paper's choice for CIFAR. None cuts the shortcuts: a
        plain network.
    in_channels, dtype, seed
        See `ResNet`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """
    blocks, rest = divmod(_arguments.whole("depth", depth, 8) - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth must be 6n+2 with n of at least 1, got {depth}")
    _arguments.one_of("shortcut", shortcut, "A", "B", "C", None)
    return ResNet(
        PlainBlock if shortcut is None else BasicBlock,
        (blocks, blocks, blocks),
        num_classes,
        widths=(16, 32, 64),
        stem=Stem(16, kernel_size=3, stride=1, pool=False),
        shortcut=shortcut or "A",
        fan="fan_in",
        draw_classifier=True,
        in_channels=in_channels,
        dtype=dtype,
        seed=seed,
    )


def resnet8(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-8 (1 block a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(8, num_classes, **options)


def resnet14(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-14 (2 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(14, num_classes, **options)


def resnet20(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-20 (3 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(20, num_classes, **options)


def resnet32(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-32 (5 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(32, num_classes, **options)


def resnet44(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-44 (7 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(44, num_classes, **options)


def resnet56(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-56 (9 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(56, num_classes, **options)


def resnet110(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-110 (18 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(110, num_classes, **options)


def resnet1202(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-1202 (200 blocks a stage); see `cifar_resnet` for the options."""
    return cifar_resnet(1202, num_classes, **options)


def plain8(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-8 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(8, num_classes, shortcut=None, **options)


def plain14(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-14 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(14, num_classes, shortcut=None, **options)


def plain20(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-20 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(20, num_classes, shortcut=None, **options)


def plain32(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-32 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(32, num_classes, shortcut=None, **options)


def plain44(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-44 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(44, num_classes, shortcut=None, **options)


def plain56(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-56 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(56, num_classes, shortcut=None, **options)


def plain110(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-110 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(110, num_classes, shortcut=None, **options)


def plain1202(num_classes: int = 10, **options: Unpack[PlainOptions]) -> ResNet:
    """Make ResNet-1202 without its shortcuts; see `cifar_resnet` for the options."""
    return cifar_resnet(1202, num_classes, shortcut=None, **options)
