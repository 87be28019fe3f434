"""Short, wide networks for 32x32 images that are made to be trained in little time.

Between stages the image is halved by max pooling, right behind a convolution, and
every stage ends in one residual block: the layout of D. Page's ResNet-9 ("How to
train your ResNet", 2018), with the basic blocks of `blocks`.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npresnet import _arguments
from npresnet.models.blocks import BasicBlock
from npresnet.models.resnet import ResNet, Stem


class Options(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    in_channels: int
    dtype: DTypeLike
    seed: int


def pooled_resnet(
    widths: tuple[int, int, int, int],
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    dtype: DTypeLike = np.float32,
    seed: int = 0,
) -> ResNet:
    """Make a network of the family, of any width.

    Parameters
    ----------
    widths : tuple of int
        Channels of the stem and of the three stages.
    num_classes : int
        Outputs.
    in_channels, dtype, seed
        See `ResNet`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """
    stem, *stages = _arguments.wholes("widths", widths, 4)
    return ResNet(
        BasicBlock,
        (1, 1, 1),
        num_classes,
        widths=tuple(stages),
        stem=Stem(stem, kernel_size=3, stride=1, pool=False),
        halving="pool",
        fan="fan_in",
        in_channels=in_channels,
        dtype=dtype,
        seed=seed,
    )


def resnet11(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-11 (32, 64, 256 and 256 channels); see `pooled_resnet`."""
    return pooled_resnet((32, 64, 256, 256), num_classes, **options)


def resnet11_narrow(num_classes: int = 10, **options: Unpack[Options]) -> ResNet:
    """Make a ResNet-11 of 32, 64, 128 and 256 channels; see `pooled_resnet`."""
    return pooled_resnet((32, 64, 128, 256), num_classes, **options)
