"""The mathematics: one file per operation, forward above backward, no state.

``op_forward(...)`` returns the output and a cache; ``op_backward(grad_output,
cache)`` returns gradients in the order of the forward's arguments. What a cache
keeps, and why, stands in its definition.
"""

from npresnet.functional.activation import ReluCache, relu_backward, relu_forward
from npresnet.functional.conv import Conv2dCache, conv2d_backward, conv2d_forward
from npresnet.functional.linear import LinearCache, linear_backward, linear_forward
from npresnet.functional.loss import (
    CrossEntropyCache,
    cross_entropy_backward,
    cross_entropy_forward,
    softmax,
)
from npresnet.functional.norm import (
    BatchNormCache,
    batch_norm_backward,
    batch_norm_forward,
)
from npresnet.functional.pool import (
    AdaptiveAvgPool2dCache,
    AvgPool2dCache,
    MaxPool2dCache,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from npresnet.functional.shortcut import (
    ZeroPadShortcutCache,
    zero_pad_shortcut_backward,
    zero_pad_shortcut_forward,
)

__all__ = [
    "AdaptiveAvgPool2dCache",
    "AvgPool2dCache",
    "BatchNormCache",
    "Conv2dCache",
    "CrossEntropyCache",
    "LinearCache",
    "MaxPool2dCache",
    "ReluCache",
    "ZeroPadShortcutCache",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "conv2d_backward",
    "conv2d_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "linear_backward",
    "linear_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "relu_backward",
    "relu_forward",
    "softmax",
    "zero_pad_shortcut_backward",
    "zero_pad_shortcut_forward",
]
