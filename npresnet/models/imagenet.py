"""The ImageNet family: ResNet-18, 34, 50, 101 and 152, as torchvision lays them out.

He et al., arXiv 1512.03385, Table 1. Names, order, shapes and initialisation are
torchvision's, so weights go either way.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npresnet.models.blocks import BasicBlock, Bottleneck
from npresnet.models.resnet import ResNet, StrideIn


class Options(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    zero_init_residual: bool
    stride_in: StrideIn
    in_channels: int
    dtype: DTypeLike
    seed: int


def _imagenet(
    block: type[BasicBlock] | type[Bottleneck],
    layers: tuple[int, int, int, int],
    num_classes: int,
    *,
    zero_init_residual: bool = False,
    stride_in: StrideIn = "3x3",
    in_channels: int = 3,
    dtype: DTypeLike = np.float32,
    seed: int = 0,
) -> ResNet:
    return ResNet(
        block,
        layers,
        num_classes,
        zero_init_residual=zero_init_residual,
        stride_in=stride_in,
        in_channels=in_channels,
        dtype=dtype,
        seed=seed,
    )


def resnet18(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-18 (basic blocks 2, 2, 2, 2); see `ResNet` for the options."""
    return _imagenet(BasicBlock, (2, 2, 2, 2), num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-34 (basic blocks 3, 4, 6, 3); see `ResNet` for the options."""
    return _imagenet(BasicBlock, (3, 4, 6, 3), num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-50 (bottlenecks 3, 4, 6, 3); see `ResNet` for the options."""
    return _imagenet(Bottleneck, (3, 4, 6, 3), num_classes, **options)


def resnet101(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-101 (bottlenecks 3, 4, 23, 3); see `ResNet` for the options."""
    return _imagenet(Bottleneck, (3, 4, 23, 3), num_classes, **options)


def resnet152(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-152 (bottlenecks 3, 8, 36, 3); see `ResNet` for the options."""
    return _imagenet(Bottleneck, (3, 8, 36, 3), num_classes, **options)
