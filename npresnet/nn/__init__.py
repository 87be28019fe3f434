"""State: parameters, modules and layers around `npresnet.functional`."""

from npresnet.nn import init
from npresnet.nn.activation import ReLU
from npresnet.nn.container import Sequential
from npresnet.nn.conv import Conv2d
from npresnet.nn.doors import watching
from npresnet.nn.linear import Linear
from npresnet.nn.loss import CrossEntropyLoss
from npresnet.nn.modes import no_grad, replaying
from npresnet.nn.module import Gradient, LoadResult, Module
from npresnet.nn.norm import BatchNorm2d
from npresnet.nn.parameter import Parameter
from npresnet.nn.pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from npresnet.nn.shortcut import ZeroPadShortcut

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Gradient",
    "Linear",
    "LoadResult",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "ZeroPadShortcut",
    "init",
    "no_grad",
    "replaying",
    "watching",
]
