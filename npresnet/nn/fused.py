"""Batch norm, an addition and ReLU in one pass over memory, where nobody looks between.

The layers' own passes are what to read; these leave the same numbers and the same
caches behind, so that a backward pass may take either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional.norm_relu import (
    batch_norm_relu_backward,
    batch_norm_relu_forward,
)
from npresnet.nn import modes
from npresnet.nn.activation import ReLU
from npresnet.nn.norm import BatchNorm2d

Array = NDArray[np.floating[Any]]


def norm_relu(
    bn: BatchNorm2d, relu: ReLU, x: Array, addend: Array | None = None
) -> Array:
    """Compute ``relu(bn(x) + addend)``: two passes over memory instead of five."""
    if not _may_fuse(bn, relu):
        out = bn(x)
        rectified: Array = relu(out if addend is None else out + addend)
        return rectified
    out, norm_cache, relu_cache, running_mean, running_var = batch_norm_relu_forward(
        x,
        bn.weight.data,
        bn.bias.data,
        bn.running_mean,
        bn.running_var,
        addend,
        training=bn.training,
        momentum=bn.momentum,
        eps=bn.eps,
    )
    bn.track(running_mean, running_var)
    bn.keep(norm_cache)
    relu.keep(relu_cache)
    return out


def norm_relu_backward(
    bn: BatchNorm2d, relu: ReLU, grad_output: Array, *, added: bool = False
) -> tuple[Array, Array | None]:
    """Go back through both; return the gradients by x and, if `added`, by the addend.

    The gradient by the addend is what the ReLU lets through.
    """
    if not _may_fuse(bn, relu):
        grad_sum: Array = relu.backward(grad_output)
        return bn.backward(grad_sum), grad_sum if added else None
    grad_x, grad_weight, grad_bias, grad_addend = batch_norm_relu_backward(
        grad_output, bn.take(), relu.take(), bn.bias.data, added=added
    )
    bn.weight.accumulate(grad_weight)
    bn.bias.accumulate(grad_bias)
    return grad_x, grad_addend


def _may_fuse(bn: BatchNorm2d, relu: ReLU) -> bool:
    return modes.is_fusing() and type(bn) is BatchNorm2d and type(relu) is ReLU
