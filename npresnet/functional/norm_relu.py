"""Batch norm, an addition and ReLU together: what ends the layers of a block.

The same numbers as `batch_norm_forward`, an addition and `relu_forward` one after the
other, and the same caches, in fewer passes over memory: read those first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import _check
from npresnet.functional.activation import ReluCache
from npresnet.functional.norm import (
    BatchNormCache,
    checked,
    frozen_grad_input,
    moments,
)

Array = NDArray[np.floating[Any]]


def batch_norm_relu_forward(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    addend: Array | None = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, BatchNormCache, ReluCache, Array, Array]:
    """Compute relu(batch_norm(x) + addend).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    weight, bias, running_mean, running_var : ndarray of shape (C,)
        As for `batch_norm_forward`.
    addend : ndarray of shape (N, C, H, W), optional
        What the shortcut brings.
    training, momentum, eps
        As for `batch_norm_forward`.

    Returns
    -------
    out : ndarray of shape (N, C, H, W)
        No element is negative.
    norm_cache : BatchNormCache
        As `batch_norm_forward` returns it.
    relu_cache : ReluCache
        As `relu_forward` returns it.
    running_mean, running_var : ndarray of shape (C,)
        As `batch_norm_forward` returns them.

    Raises
    ------
    ValueError, TypeError
        As for `batch_norm_forward`, and if `addend` is not like x.
    """
    x, weight, bias, running_mean, running_var = checked(
        x, weight, bias, running_mean, running_var
    )
    mean, inverse_std, running_mean, running_var = moments(
        x, running_mean, running_var, training, momentum, eps
    )
    if addend is not None:
        addend = _check.array("addend", addend, "N C H W", like=x)
        _check.shape("addend", addend, x.shape, "(as x)")
    out = backend.batch_norm_relu(x, mean, inverse_std, weight, bias, addend)
    norm_cache = BatchNormCache(x, mean, inverse_std, weight, training)
    return out, norm_cache, ReluCache(out), running_mean, running_var


@_check.may_underflow
def batch_norm_relu_backward(
    grad_output: Array,
    norm_cache: BatchNormCache,
    relu_cache: ReluCache | None,
    bias: Array,
) -> tuple[Array, Array, Array, Array | None]:
    """Turn the gradient by `batch_norm_relu_forward`'s output into those before it.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, H, W)
        Gradient of the loss by the output.
    norm_cache : BatchNormCache
        From the forward pass.
    relu_cache : ReluCache or None
        From the forward pass; None if nothing was added.
    bias : ndarray of shape (C,)
        As in the forward pass.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        Gradient by the input of batch norm.
    grad_weight, grad_bias : ndarray of shape (C,)
        Gradients by its parameters.
    grad_addend : ndarray of shape (N, C, H, W) or None
        What the ReLU lets through, which is the gradient by the sum; None if nothing
        was added.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.

    Notes
    -----
    Without an addend, where the ReLU was closed is found out again from x, instead
    of being read from memory.
    """
    x, mean, inverse_std, weight, training = norm_cache[:5]
    grad_output = _check.gradient(grad_output, x.shape, like=x)
    if not training:
        # Of x, the gradient by x needs to know no more than where the ReLU was closed.
        adds = relu_cache is not None
        if relu_cache is None:
            out = backend.batch_norm_relu(x, mean, inverse_std, weight, bias)
            relu_cache = ReluCache(out)
        grad_sum, grad_bias, grad_weight = backend.batch_norm_relu_grad_sums(
            grad_output, relu_cache.out, x, mean, inverse_std
        )
        grad_x = frozen_grad_input(grad_sum, inverse_std, weight)
        return grad_x, grad_weight, grad_bias, grad_sum if adds else None
    m = x.size // x.shape[1]
    if relu_cache is not None:
        grad_sum, grad_bias, grad_weight = backend.batch_norm_relu_grad_sums(
            grad_output, relu_cache.out, x, mean, inverse_std
        )
        scale = weight * inverse_std
        grad_x = backend.batch_norm_grad_input(
            grad_sum, x, mean, inverse_std, scale, grad_bias / m, grad_weight / m
        )
        return grad_x, grad_weight, grad_bias, grad_sum
    vectors = mean, inverse_std, weight, bias
    grad_bias, grad_weight = backend.rectified_batch_norm_grad_sums(
        grad_output, x, *vectors
    )
    grad_x = backend.rectified_batch_norm_grad_input(
        grad_output, x, *vectors, grad_bias / m, grad_weight / m
    )
    return grad_x, grad_weight, grad_bias, None
