"""The residual network: a stem, stages of blocks, a global average, a classifier.

One class for every family; what tells them apart stands in the files that build them:
`imagenet`, `cifar` and `pooled`. He et al., arXiv 1512.03385, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.models.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PooledConv,
    ResidualBlock,
    projection,
)
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
    ZeroPadShortcut,
    init,
)

Array = NDArray[np.floating[Any]]
Shortcut = Literal["A", "B", "C"]
StrideIn = Literal["3x3", "1x1"]


class Stem(NamedTuple):
    """What an image meets first: a convolution, batch norm, ReLU, perhaps pooling.

    Attributes
    ----------
    channels : int
        That the convolution gives.
    kernel_size, stride : int
        Of the convolution, in pixels; its padding keeps the size at stride 1.
    pool : bool
        Whether 3x3 max pooling with stride 2 follows.
    """

    channels: int = 64
    kernel_size: int = 7
    stride: int = 2
    pool: bool = True


class ResNet(Module):
    """Stem, stages of residual blocks, global average, linear classifier.

    Parameters
    ----------
    block : type
        `BasicBlock`, `Bottleneck`, `PlainBlock` or a class made from one of them.
    layers : tuple of int
        Blocks in each stage.
    num_classes : int
        Outputs.
    widths : tuple of int
        Channels of each stage's 3x3 convolutions.
    stem : Stem
        By default ImageNet's: from 224x224 pixels to 56x56.
    shortcut : {"A", "B", "C"}
        What leads around a block that changes the shape: "A" takes every other pixel
        and pads channels with zeros, "B" projects; "C" projects around every block.
        Plain blocks have none.
    halving : {"stride", "pool"}
        What halves the image: the stride of the first block of each stage but the
        first, or a `PooledConv` before the blocks of each stage.
    zero_init_residual : bool
        Whether each branch's last batch norm starts with weight 0, so that blocks
        start as identities (Goyal et al., arXiv 1706.02677, section 5.1).
    stride_in : {"3x3", "1x1"}
        See `Bottleneck`; basic blocks have no 1x1 convolution to put it in.
    fan : {"fan_out", "fan_in"}
        What keeps its size while weights are new: gradients ("fan_out", as in
        torchvision), or activations; see `npresnet.nn.init.kaiming_normal`.
    draw_classifier : bool
        Whether the classifier's weights are drawn like those of convolutions.
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

    maxpool: MaxPool2d | None

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, ...],
        num_classes: int = 1000,
        *,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        stem: Stem = Stem(),  # noqa: B008 (a tuple: it cannot change)
        shortcut: Shortcut = "B",
        halving: Literal["stride", "pool"] = "stride",
        zero_init_residual: bool = False,
        stride_in: StrideIn = "3x3",
        fan: Literal["fan_out", "fan_in"] = "fan_out",
        draw_classifier: bool = False,
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
        widths = _arguments.wholes("widths", widths)
        layers = _arguments.wholes("layers", layers, len(widths))
        _arguments.instance("stem", stem, Stem, "a Stem")
        _arguments.whole("num_classes", num_classes, 1)
        _arguments.truth("zero_init_residual", zero_init_residual)
        _arguments.truth("draw_classifier", draw_classifier)
        _arguments.one_of("fan", fan, "fan_out", "fan_in")
        _arguments.one_of("shortcut", shortcut, "A", "B", "C")
        _arguments.one_of("halving", halving, "stride", "pool")
        _arguments.one_of("stride_in", stride_in, "3x3", "1x1")
        if stride_in == "1x1" and not issubclass(block, Bottleneck):
            raise ValueError("stride_in='1x1' needs bottlenecks: ResNet-50 and up")
        rng = init.generator(seed, "seed")
        options: dict[str, Any] = {"dtype": dtype, "rng": rng}
        if issubclass(block, Bottleneck):
            options["stride_in"] = stride_in

        self.conv1 = Conv2d(
            in_channels,
            stem.channels,
            stem.kernel_size,
            stem.stride,
            stem.kernel_size // 2,
            bias=False,
            dtype=dtype,
            rng=rng,
        )
        self.bn1 = BatchNorm2d(stem.channels, dtype=dtype)
        self.relu = ReLU()
        self.maxpool = None
        if stem.pool:
            self.maxpool = MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = stem.channels
        for i, (width, blocks) in enumerate(zip(widths, layers, strict=True)):
            stage: list[Module] = []
            stride = 2 if i and halving == "stride" else 1
            if halving == "pool":
                stage.append(PooledConv(channels, width, dtype=dtype, rng=rng))
                channels = width
            for _ in range(blocks):
                out_channels = width * block.expansion
                around = None
                if not issubclass(block, PlainBlock):
                    around = _shortcut(
                        shortcut, channels, out_channels, stride, dtype, rng
                    )
                stage.append(block(channels, width, stride, around, **options))
                channels, stride = out_channels, 1
            setattr(self, f"layer{i + 1}", Sequential(*stage))
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(channels, num_classes, dtype=dtype, rng=rng)

        self._draw_weights(fan, draw_classifier, rng)
        if zero_init_residual:
            self._start_as_identities()

    def stages(self) -> list[Module]:
        """List the stages: ``layer1``, ``layer2`` and so on."""
        return [
            module for name, module in self.named_children() if name.startswith("layer")
        ]

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for stage in self.stages():  # each but the first: half the size, more channels
            x = stage(x)
        x = self.avgpool(x)  # (N, channels, 1, 1), whatever the images' size
        logits: Array = self.fc(x[:, :, 0, 0])
        return logits

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the logits back to the images; None if spared."""
        grad = self.fc.backward(grad_output)
        grad = self.avgpool.backward(grad[:, :, None, None])
        for stage in reversed(self.stages()):
            grad = stage.backward(grad)
        if self.maxpool is not None:
            grad = self.maxpool.backward(grad)
        grad = self.relu.backward(grad)  # one name: each gradient frees the one before
        grad = self.bn1.backward(grad)
        return self.conv1.backward(grad, input_grad)

    def _draw_weights(
        self,
        fan: Literal["fan_out", "fan_in"],
        draw_classifier: bool,
        rng: np.random.Generator,
    ) -> None:
        """Draw weights as He et al. (arXiv 1502.01852) do; batch norm keeps 1 and 0."""
        for module in self.modules():
            if isinstance(module, Conv2d) or (draw_classifier and module is self.fc):
                weight = module.weight
                weight.data = init.kaiming_normal(
                    weight.shape, rng=rng, dtype=weight.dtype, mode=fan
                )

    def _start_as_identities(self) -> None:
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                _, last = module.layers()[-1]
                assert last.weight is not None
                last.weight.data[:] = 0


def _shortcut(
    kind: Shortcut,
    in_channels: int,
    out_channels: int,
    stride: int,
    dtype: DTypeLike,
    rng: np.random.Generator,
) -> Module | None:
    """Make what leads around a block; None is the identity."""
    changes = stride != 1 or in_channels != out_channels
    if kind == "C" or (kind == "B" and changes):
        return projection(in_channels, out_channels, stride, dtype=dtype, rng=rng)
    return ZeroPadShortcut(in_channels, out_channels, stride) if changes else None
