"""Batch norm, an addition and ReLU in one pass over memory, where nobody looks between.

The layers' own passes are what to read; these leave the same numbers and the same
caches behind, so that a backward pass may take either way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional.activation import ReluCache
from npresnet.functional.norm import BatchNormCache
from npresnet.functional.norm_relu import (
    batch_norm_relu_backward,
    batch_norm_relu_forward,
)
from npresnet.nn import modes
from npresnet.nn.activation import ReLU
from npresnet.nn.conv import Conv2d
from npresnet.nn.module import Module, Recomputed
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
    assert bn.weight is not None and bn.bias is not None  # or it may not be fused
    out, norm_cache, relu_cache, running_mean, running_var = batch_norm_relu_forward(
        x,
        bn.weight.data,
        bn.bias.data,
        bn.running_mean,
        bn.running_var,
        addend,
        training=bn.training,
        momentum=bn.new_share(),
        eps=bn.eps,
    )
    bn.track(running_mean, running_var)
    bn.keep(norm_cache)
    if addend is None:
        again = _recompute(norm_cache, bn.bias.data)
        relu.keep(Recomputed(lambda: ReluCache(again())))
    else:
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
    assert bn.weight is not None and bn.bias is not None
    norm_cache = bn.take()
    # Where the ReLU was closed follows from batch norm's input, unless there was more.
    relu_cache = relu.take() if added else None
    if not added:
        relu.drop()
    grad_x, grad_weight, grad_bias, grad_addend = batch_norm_relu_backward(
        grad_output, norm_cache, relu_cache, bn.bias.data
    )
    bn.weight.accumulate(grad_weight)
    bn.bias.accumulate(grad_bias)
    return grad_x, grad_addend


def forget_input(conv: Conv2d, bn: BatchNorm2d, relu: ReLU) -> None:
    """Keep no input of `conv`, which is ``relu(bn(x))``.

    Batch norm keeps x, from which it follows at the cost of one pass over memory.
    """
    if not (modes.is_keeping() and _may_fuse(bn, relu) and type(conv) is Conv2d):
        return
    assert bn.bias is not None
    again = _recompute(bn.caches[-1], bn.bias.data)
    kept = conv.caches[-1]._replace(x=None)
    conv.caches[-1] = Recomputed(lambda: kept._replace(x=again()))


def _recompute(cache: BatchNormCache, bias: Array) -> Callable[[], Array]:
    def again() -> Array:
        out: Array = backend.batch_norm_relu(
            cache.x, cache.mean, cache.inverse_std, cache.weight, bias
        )
        return out

    return again


def _may_fuse(bn: BatchNorm2d, relu: ReLU) -> bool:
    """Tell whether nobody looks at these layers, and both are as we wrote them."""
    if not modes.is_fusing() or type(bn) is not BatchNorm2d or type(relu) is not ReLU:
        return False
    if bn.weight is None or bn.bias is None or bn.running_mean is None:
        return False
    return bn.track_running_stats and not _is_patched(bn) and not _is_patched(relu)


def _is_patched(module: Module) -> bool:
    """Tell whether somebody has replaced a pass of this very module."""
    own = vars(module)
    return "forward" in own or "backward" in own
