"""A network's twin for inference: batch norm folded in, forward only.

In evaluation mode batch norm multiplies every channel with one number and adds
another. Both can be had for nothing: the first in the weights of the convolution
before it, the second as that convolution's bias. What is left of a block is two
convolutions (or three) that add and rectify while they are at it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.backend import Geometry
from npresnet.functional import _check
from npresnet.models.blocks import BasicBlock, Bottleneck, PlainBlock
from npresnet.models.cifar import CifarResNet
from npresnet.models.resnet import ResNet
from npresnet.nn import (
    BatchNorm2d,
    Conv2d,
    Gradient,
    LoadResult,
    Module,
    ReLU,
    Sequential,
    no_grad,
)

Array = NDArray[np.floating[Any]]

_geometry = functools.lru_cache(maxsize=512)(Geometry.of)  # by values: they may change


def inference(model: Module) -> InferenceModel:
    """Make a forward-only twin of a network, with batch norm folded in.

    Parameters
    ----------
    model : ResNet or CifarResNet
        Left as it is. Its running statistics are used, whatever its mode.

    Returns
    -------
    InferenceModel
        Called like the model, gives the same logits to rounding. It is a snapshot:
        what happens to the model later does not reach it. Its weights can be
        replaced (``twin.conv1.weight = ...``, `load_state_dict`) but not changed in
        place: NumPy raises ValueError.

    Raises
    ------
    TypeError
        If it is no network from `npresnet.models`.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> model = nr.models.resnet8().eval()
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    >>> bool(np.allclose(nr.inference(model)(x), model(x), atol=1e-5))
    True
    """
    if not isinstance(model, ResNet | CifarResNet):
        raise TypeError(
            "model must be a ResNet or a CifarResNet from npresnet.models, got "
            f"{type(model).__name__}"
        )
    return InferenceModel(model)


class InferenceModel(Module):
    """What `inference` makes: stem, blocks, global average, classifier."""

    def __init__(self, model: ResNet | CifarResNet) -> None:
        super().__init__()
        self.conv1 = _convolution(model.conv1, model.bn1, rectify=True)
        self.maxpool: Module = Sequential()
        if isinstance(model, ResNet):
            self.maxpool = copy.deepcopy(model.maxpool)
        self.blocks = Sequential(*(FusedBlock(block) for block in _blocks(model)))
        self.avgpool = copy.deepcopy(model.avgpool)
        self.fc = copy.deepcopy(model.fc)
        self._fix_weights()
        self.eval()

    def _fix_weights(self) -> None:
        """Make all weights constants, which kernels put in order once."""
        for module in self.modules():
            if isinstance(module, FusedConv2d):
                module.weight = backend.constant(module.weight)
            elif isinstance(module, Conv2d):  # where nothing could be folded
                module.weight.data = backend.constant(module.weight.data)
        self.fc.weight.data = backend.constant(self.fc.weight.data)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become a copy, or what was pickled: arrays do not stay constants by it."""
        self.__dict__.update(state)
        self._fix_weights()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> LoadResult:
        """See `Module.load_state_dict`."""
        result = super().load_state_dict(state_dict, strict)
        self._fix_weights()
        return result

    def forward(self, x: Array) -> Array:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        with no_grad():
            x = self.blocks(self.maxpool(self.conv1(x)))
            x = self.avgpool(x)
            logits: Array = self.fc(x[:, :, 0, 0])
        return logits

    def backward(self, *gradients: Any, **options: Any) -> Gradient:
        """Refuse: the readable model goes backward, its twin does not."""
        raise RuntimeError(
            "a model made by inference() has no backward pass; use the model that it "
            "was made from"
        )


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

    def forward(self, x: Array, addend: Array | None = None) -> Array:
        """Convolve x, add `addend`, and cut off at zero if there is a ReLU."""
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
        out: Array = backend.fused_conv2d(
            x, self.weight, self.bias, addend, self.rectify, geometry
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
        self.conv, self.bn = copy.deepcopy(conv), copy.deepcopy(bn)
        self.relu = ReLU()
        self.rectify = rectify
        self.discard_caches()

    def forward(self, x: Array, addend: Array | None = None) -> Array:
        """Convolve and normalise x, add `addend`, rectify if there is a ReLU."""
        out: Array = self.bn(self.conv(x))
        if addend is not None:
            out = out + addend
        if self.rectify:
            out = self.relu(out)
        return out


def _convolution(
    conv: Conv2d, bn: BatchNorm2d, *, rectify: bool
) -> FusedConv2d | LayeredConv2d:
    tracks = bn.running_mean is not None
    return (FusedConv2d if tracks else LayeredConv2d)(conv, bn, rectify=rectify)


class FusedBlock(Module):
    """A block of any kind: convolutions in a row, the last one adds the shortcut."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            layers.append((block.conv3, block.bn3))
        self.convs = Sequential(
            *(_convolution(conv, bn, rectify=True) for conv, bn in layers)
        )
        self.adds = not isinstance(block, PlainBlock)
        self.downsample: Module = copy.deepcopy(block.downsample)
        if isinstance(block.downsample, Sequential) and len(block.downsample):
            conv, bn = block.downsample
            assert isinstance(conv, Conv2d) and isinstance(bn, BatchNorm2d)
            self.downsample = _convolution(conv, bn, rectify=False)

    def forward(self, x: Array) -> Array:
        """Compute relu(F(x) + shortcut(x)), or relu(F(x)) in a plain network."""
        shortcut = self.downsample(x) if self.adds else None
        *first, last = self.convs
        for conv in first:
            x = conv(x)
        out: Array = last(x, shortcut)
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


def _blocks(model: ResNet | CifarResNet) -> Iterator[BasicBlock | Bottleneck]:
    for module in model.modules():
        if isinstance(module, BasicBlock | Bottleneck):
            yield module
