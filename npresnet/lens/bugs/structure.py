"""Networks gone wrong: strides, projections and biases in the wrong place."""

from __future__ import annotations

from typing import Any

from npresnet.lens.bugs.registry import bug
from npresnet.models.blocks import (
    BasicBlock,
    Bottleneck,
    projection,
)
from npresnet.models.resnet import ResNet
from npresnet.nn import Conv2d, Module

right_basic_init = BasicBlock.__init__
right_bottleneck_init = Bottleneck.__init__
right_resnet_init = ResNet.__init__


@bug(
    "npresnet.models.blocks:BasicBlock.__init__",
    seen_in="dm-haiku #85",
    symptom="the same parameters and output shapes, more multiplications, other "
    "numbers than everyone's",
)
def stride_on_second_conv(
    self: BasicBlock,
    in_channels: int,
    channels: int,
    stride: int = 1,
    downsample: Module | None = None,
    **options: Any,
) -> None:
    """Give the stride to the basic block's second convolution."""
    right_basic_init(self, in_channels, channels, stride, downsample, **options)
    self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


@bug(
    "npresnet.models.blocks:Bottleneck.__init__",
    seen_in="the paper and torchvision differ: pytorch/vision #191, #457, #606, #1266",
    symptom="the same parameters; 3.86 instead of 4.09 billion multiplications for "
    "ResNet-50, and torchvision's weights lose accuracy",
)
def bottleneck_stride_on_1x1(
    self: Bottleneck,
    in_channels: int,
    channels: int,
    stride: int = 1,
    downsample: Module | None = None,
    **options: Any,
) -> None:
    """Take the stride in the first 1x1 convolution, whatever was asked for."""
    options["stride_in"] = "1x1"
    right_bottleneck_init(self, in_channels, channels, stride, downsample, **options)


@bug(
    "npresnet.models.resnet:ResNet.__init__",
    seen_in="labml; the parameter count does not change",
    symptom="feature maps are twice as large from the second stage on, and four "
    "times the work",
)
def stage_stride_wrong(
    self: ResNet,
    block: type[BasicBlock] | type[Bottleneck],
    layers: tuple[int, ...],
    num_classes: int = 1000,
    **options: Any,
) -> None:
    """Leave the second stage at the size of the first."""
    right_resnet_init(self, block, layers, num_classes, **options)
    for first in [next(stage.children()) for stage in self.stages()[1:2]]:
        for module in first.modules():
            if isinstance(module, Conv2d) and module.out_channels in (128, 512):
                module.stride = (1, 1)  # in ImageNet's networks


@bug(
    "npresnet.models.resnet:ResNet.__init__",
    seen_in="ASGDLO",
    symptom="ResNet-18 and 34 have more parameters than published; weights do not load",
)
def projection_in_stage_one(
    self: ResNet,
    block: type[BasicBlock] | type[Bottleneck],
    layers: tuple[int, ...],
    num_classes: int = 1000,
    **options: Any,
) -> None:
    """Project in the first block of every stage, needed or not."""
    right_resnet_init(self, block, layers, num_classes, **options)
    channels, dtype = self.conv1.out_channels, self.conv1.weight.dtype
    first = next(self.stages()[0].children())
    if type(first) is BasicBlock and not any(first.downsample.children()):
        first.downsample = projection(channels, channels, 1, dtype=dtype, rng=0)


@bug(
    "npresnet.models.blocks:conv3x3",
    seen_in="labml, d2l, RESNET_NUMPY",
    symptom="more parameters than published; the biases' gradients are zero up to "
    "rounding, for batch norm takes each bias away again",
)
def bias_before_batch_norm(
    in_channels: int, out_channels: int, stride: int = 1, **options: Any
) -> Conv2d:
    """Give convolutions a bias although batch norm follows."""
    return Conv2d(in_channels, out_channels, 3, stride, 1, bias=True, **options)
