"""The ImageNet family: ResNet-18, 34, 50, 101 and 152, as torchvision lays them out.

He et al., arXiv 1512.03385, Table 1. Names, order, shapes and initialisation are
torchvision's, so weights go either way.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.models.blocks import BasicBlock, Bottleneck, ResidualBlock, projection
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
StrideIn = Literal["3x3", "1x1"]


class Options(TypedDict, total=False):
    """What every builder of the family takes besides ``num_classes``."""

    zero_init_residual: bool
    stride_in: StrideIn
    in_channels: int
    dtype: DTypeLike
    seed: int


class ResNet(Module):
    """Stem, four stages of residual blocks, global average, linear classifier.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    layers : sequence of int
        Blocks in each of the four stages.
    num_classes : int
        Outputs.
    zero_init_residual : bool
        Whether each branch's last batch norm starts with weight 0, so that blocks
        start as identities (Goyal et al., arXiv 1706.02677, section 5.1).
    stride_in : {"3x3", "1x1"}
        See `Bottleneck`; basic blocks have no 1x1 convolution to put it in.
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
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        num_classes: int = 1000,
        *,
        zero_init_residual: bool = False,
        stride_in: StrideIn = "3x3",
        in_channels: int = 3,
        dtype: DTypeLike = np.float32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not (isinstance(block, type) and issubclass(block, ResidualBlock)):
            raise TypeError(
                "block must be BasicBlock, Bottleneck or a class made from them, got "
                f"{_arguments.shown(block)}"
            )
        _arguments.wholes("layers", layers, 4)
        _arguments.whole("num_classes", num_classes, 1)
        _arguments.truth("zero_init_residual", zero_init_residual)
        _arguments.one_of("stride_in", stride_in, "3x3", "1x1")
        if stride_in == "1x1" and not issubclass(block, Bottleneck):
            raise ValueError("stride_in='1x1' needs bottlenecks: ResNet-50 and up")
        rng = init.generator(seed, "seed")
        self.conv1 = Conv2d(in_channels, 64, 7, 2, 3, bias=False, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(64, dtype=dtype)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(kernel_size=3, stride=2, padding=1)
        make = _StageMaker(block, stride_in, dtype, rng)
        self.layer1 = make.stage(64, 64, layers[0], stride=1)
        self.layer2 = make.stage(64 * block.expansion, 128, layers[1], stride=2)
        self.layer3 = make.stage(128 * block.expansion, 256, layers[2], stride=2)
        self.layer4 = make.stage(256 * block.expansion, 512, layers[3], stride=2)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(512 * block.expansion, num_classes, dtype=dtype, rng=rng)
        _initialise(self, rng)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    _, last = module.layers()[-1]
                    assert last.weight is not None
                    last.weight.data[:] = 0

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        x = norm_relu(
            self.bn1, self.relu, self.conv1(x)
        )  # relu(bn1(...)): (N, 64, H/2, W/2)
        x = self.maxpool(x)  # (N, 64, H/4, W/4)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 128*expansion, H/8, W/8)
        x = self.layer3(x)  # (N, 256*expansion, H/16, W/16)
        x = self.layer4(x)  # (N, 512*expansion, H/32, W/32)
        x = self.avgpool(x)  # (N, 512*expansion, 1, 1)
        logits: Array = self.fc(x[:, :, 0, 0])
        return logits

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Map the gradient by the logits to that by the images, or to None."""
        grad = self.fc.backward(grad_output)
        grad = self.avgpool.backward(grad[:, :, None, None])
        for stage in (self.layer4, self.layer3, self.layer2, self.layer1):
            grad = stage.backward(grad)
        grad = self.maxpool.backward(grad)
        grad, _ = norm_relu_backward(self.bn1, self.relu, grad)
        return self.conv1.backward(grad, input_grad)


class _StageMaker:
    """Makes stages of blocks for one network."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        stride_in: StrideIn,
        dtype: DTypeLike,
        rng: np.random.Generator,
    ) -> None:
        self.block = block
        self.options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        self.block_options = dict(self.options)
        if issubclass(block, Bottleneck):
            self.block_options["stride_in"] = stride_in

    def stage(
        self, in_channels: int, channels: int, blocks: int, stride: int
    ) -> Sequential:
        """Make `blocks` blocks; the first one changes the shape, if anything does."""
        out_channels = channels * self.block.expansion
        shortcut = None
        if stride != 1 or in_channels != out_channels:
            shortcut = projection(in_channels, out_channels, stride, **self.options)
        first = self.block(
            in_channels, channels, stride, shortcut, **self.block_options
        )
        rest = [
            self.block(out_channels, channels, **self.block_options)
            for _ in range(blocks - 1)
        ]
        return Sequential(first, *rest)


def _initialise(model: ResNet, rng: np.random.Generator) -> None:
    """Draw the convolutions as torchvision does; batch norm and fc keep defaults."""
    for module in model.modules():
        if isinstance(module, Conv2d):
            weight = module.weight
            weight.data = init.kaiming_normal(
                weight.shape, rng=rng, dtype=weight.dtype, mode="fan_out"
            )


def resnet18(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-18 (basic blocks 2, 2, 2, 2); see `ResNet` for the options."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, **options)


def resnet34(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-34 (basic blocks 3, 4, 6, 3); see `ResNet` for the options."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, **options)


def resnet50(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-50 (bottlenecks 3, 4, 6, 3); see `ResNet` for the options."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, **options)


def resnet101(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-101 (bottlenecks 3, 4, 23, 3); see `ResNet` for the options."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes, **options)


def resnet152(num_classes: int = 1000, **options: Unpack[Options]) -> ResNet:
    """Make ResNet-152 (bottlenecks 3, 8, 36, 3); see `ResNet` for the options."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, **options)
