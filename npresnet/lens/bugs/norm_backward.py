"""Batch norm's backward pass gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import batch_norm_backward as right_backward
from npresnet.functional.norm import BatchNormCache
from npresnet.lens.bugs.registry import bug

Array = NDArray[np.floating[Any]]
Backward = tuple[Array, Array | None, Array | None]

_BACKWARD = "npresnet.functional.norm:batch_norm_backward"
_AXES = (0, 2, 3)  # N, H, W


def planes(vector: Array) -> Array:
    """Turn a vector (C,) so that it meets planes: (C, 1, 1)."""
    return vector[:, None, None]


def normalised(cache: BatchNormCache) -> Array:
    """Compute x_hat: (N, C, H, W)."""
    return (cache.x - planes(cache.mean)) * planes(cache.inverse_std)


@bug(
    _BACKWARD,
    seen_in="RESNET_NUMPY, and any suite whose upstream gradient is all ones lets it "
    "live (numpy-ml, needle, Odyssey)",
    symptom="exactly right on an all-ones gradient, far off on a random one; networks "
    "train, worse",
)
def batch_norm_drops_variance_term(
    grad_output: Array, cache: BatchNormCache
) -> Backward:
    """Forget that the variance depends on x as well: grad_x lacks its second term."""
    grad_x, grad_weight, grad_bias = right_backward(grad_output, cache)
    if cache.training:
        centred = grad_output - grad_output.mean(axis=_AXES, keepdims=True)
        grad_x = centred * planes(cache.weight * cache.inverse_std)
    return grad_x, grad_weight, grad_bias


@bug(
    _BACKWARD,
    seen_in="RESNET_NUMPY",
    symptom="gradients of a batch no longer sum to zero in each channel",
)
def batch_norm_drops_mean_term(grad_output: Array, cache: BatchNormCache) -> Backward:
    """Forget that the mean depends on x: grad_x lacks its first term."""
    grad_x, grad_weight, grad_bias = right_backward(grad_output, cache)
    if cache.training:
        x_hat = normalised(cache)
        along = (grad_output * x_hat).mean(axis=_AXES, keepdims=True)
        grad_x = (grad_output - x_hat * along) * planes(
            cache.weight * cache.inverse_std
        )
    return grad_x, grad_weight, grad_bias


@bug(
    _BACKWARD,
    seen_in="RESNET_NUMPY: dX = g * gamma",
    symptom="gradients of another size at every batch norm; the deeper the network, "
    "the worse",
)
def batch_norm_backward_scales_only(
    grad_output: Array, cache: BatchNormCache
) -> Backward:
    """Multiply the gradient with gamma and leave it at that: not even 1/std."""
    _, grad_weight, grad_bias = right_backward(grad_output, cache)
    return grad_output * planes(cache.weight), grad_weight, grad_bias


@bug(
    _BACKWARD,
    seen_in="a textbook slip: the statistics are taken for constants",
    symptom="training is unstable: gradients point along directions in which the "
    "output cannot change",
)
def batch_norm_frozen_formula_in_training(
    grad_output: Array, cache: BatchNormCache
) -> Backward:
    """Use the backward pass of evaluation, in which statistics are constants."""
    return right_backward(grad_output, cache._replace(training=False))


@bug(
    _BACKWARD,
    seen_in="ASGDLO can only assert that it never happens; TinyTorch has both formulas",
    symptom="wrong gradients in fine-tuning with frozen batch norm, and in saliency "
    "maps",
)
def batch_norm_training_formula_when_frozen(
    grad_output: Array, cache: BatchNormCache
) -> Backward:
    """Use the backward pass of training although the statistics were constants."""
    return right_backward(grad_output, cache._replace(training=True))


@bug(
    _BACKWARD,
    seen_in="a public repository: np.sum(x_hat, ...)",
    symptom="gamma's gradient is zero up to rounding, whatever the loss: gamma never "
    "learns",
)
def gamma_gradient_without_upstream(
    grad_output: Array, cache: BatchNormCache
) -> Backward:
    """Sum x_hat instead of grad_output * x_hat for gamma's gradient."""
    grad_x, grad_weight, grad_bias = right_backward(grad_output, cache)
    if grad_weight is not None:
        grad_weight = normalised(cache).sum(axis=_AXES)
    return grad_x, grad_weight, grad_bias
