"""Batch norm's forward pass gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.functional import batch_norm_forward as right_forward
from npresnet.functional.norm import BatchNormCache, Statistics
from npresnet.lens.bugs.norm_backward import normalised, planes
from npresnet.lens.bugs.registry import bug
from npresnet.nn import BatchNorm2d

Array = NDArray[np.floating[Any]]
Forward = tuple[Array, BatchNormCache, Statistics, Statistics]

_FORWARD = "npresnet.functional.norm:batch_norm_forward"
_AXES = (0, 2, 3)  # N, H, W

right_init = BatchNorm2d.__init__


def _scaled(x_hat: Array, cache: BatchNormCache, bias: Array | None) -> Array:
    """Do what comes after normalising."""
    out: Array = x_hat * planes(cache.weight)
    return out if bias is None else out + planes(bias)


@bug(
    _FORWARD,
    seen_in="RESNET_NUMPY, ML-From-Scratch",
    symptom="every pixel has statistics of its own: noisy with small batches, and "
    "bound to one image size",
)
def batch_norm_statistics_over_n_only(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Take mean and variance over the batch alone, as for vectors, not pixels too."""
    statistics = running_mean, running_var
    _, cache, *statistics_after = right_forward(
        x, weight, bias, *statistics, training=training, momentum=momentum, eps=eps
    )
    if training:
        x_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
    else:
        x_hat = normalised(cache)
    out = _scaled(x_hat, cache, bias)
    return out, cache, statistics_after[0], statistics_after[1]


@bug(
    _FORWARD,
    seen_in="numpy-ml, TinyTorch, ASGDLO, ARENA #415; eight PyTorch threads ask "
    "about it",
    symptom="running_var is too small by (m-1)/m: evaluation differs from PyTorch's, "
    "most with small batches",
)
def running_var_biased(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Store the biased variance, which is for normalising, in running_var."""
    statistics = running_mean, running_var
    out, cache, new_mean, new_var = right_forward(
        x, weight, bias, *statistics, training=training, momentum=momentum, eps=eps
    )
    if training and running_var is not None:
        biased = x.var(axis=_AXES)
        new_var = (1 - momentum) * running_var + momentum * biased
    return out, cache, new_mean, new_var


def _normalised_with(
    inverse_std: Array, bias: Array | None, forward: Forward
) -> Forward:
    """Redo a forward pass's last step with another 1/std."""
    _, cache, new_mean, new_var = forward
    cache = cache._replace(inverse_std=inverse_std)
    out = _scaled(normalised(cache), cache, bias)
    return out, cache, new_mean, new_var


@bug(
    _FORWARD,
    seen_in="common: np.var(x, ddof=1), or a framework whose var() is unbiased",
    symptom="small differences from PyTorch that grow as batches shrink",
)
def batch_normalised_with_unbiased_variance(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Normalise the batch with the unbiased variance, which is for running_var."""
    statistics = running_mean, running_var
    forward = right_forward(
        x, weight, bias, *statistics, training=training, momentum=momentum, eps=eps
    )
    if not training:
        return forward
    unbiased = x.var(axis=_AXES, ddof=1)
    return _normalised_with(1 / np.sqrt(unbiased + eps), bias, forward)


@bug(
    _FORWARD,
    seen_in="a textbook slip: 1 / (std + eps), as Adam has it",
    symptom="invisible where the variance is large; channels that are nearly constant "
    "explode",
)
def eps_outside_sqrt(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Add eps to the standard deviation instead of to the variance."""
    statistics = running_mean, running_var
    forward = right_forward(
        x, weight, bias, *statistics, training=training, momentum=momentum, eps=eps
    )
    variance = x.var(axis=_AXES) if training else running_var
    return _normalised_with(1 / (np.sqrt(variance) + eps), bias, forward)


@bug(
    _FORWARD,
    seen_in="numpy-ml and Chainer weigh the old value with 0.9; PyTorch the new one "
    "with 0.1",
    symptom="running statistics jump with every batch; evaluation is erratic",
)
def momentum_convention_reversed(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Weigh the old statistics with momentum, and the new ones with 1 - momentum."""
    statistics = running_mean, running_var
    return right_forward(
        x, weight, bias, *statistics, training=training, momentum=1 - momentum, eps=eps
    )


@bug(
    _FORWARD,
    seen_in="resnet-numpy-cifar10 forgets the evaluation mode",
    symptom="an image's class depends on its neighbours in the batch; a batch of one "
    "fails",
)
def batch_statistics_in_evaluation(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Forward:
    """Normalise with the batch's own statistics in evaluation mode, too."""
    out, cache, new_mean, new_var = right_forward(
        x, weight, bias, running_mean, running_var, training=True, momentum=momentum
    )
    if not training:
        new_mean, new_var = running_mean, running_var
    return out, cache, new_mean, new_var


@bug(
    "npresnet.backend:batch_norm_statistics",
    seen_in="common; in float32 it loses the digits that matter",
    symptom="right on data around 0; wrong, even negative, variances where the mean "
    "is large",
)
def naive_variance_in_float32(x: Array) -> tuple[Array, Array]:
    """Compute the variance in one pass as E[x^2] - E[x]^2, in the input's dtype."""
    mean = x.mean(axis=_AXES)
    return mean, (x * x).mean(axis=_AXES) - mean * mean


@bug(
    "npresnet.nn.norm:BatchNorm2d.__init__",
    seen_in="numpy-ml, ASGDLO",
    symptom="each layer loses half of its signal at the start; deep networks begin "
    "slowly",
)
def gamma_drawn_at_random(
    self: BatchNorm2d,
    num_features: int,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
    *,
    dtype: DTypeLike = np.float32,
) -> None:
    """Draw gamma evenly from 0 to 1 instead of starting at 1."""
    options = affine, track_running_stats
    right_init(self, num_features, eps, momentum, *options, dtype=dtype)
    rng = np.random.default_rng(num_features)
    if self.weight is not None:
        self.weight.data = rng.uniform(0, 1, num_features).astype(dtype)


@bug(
    "npresnet.nn.norm:BatchNorm2d.__init__",
    seen_in="ML-From-Scratch has 1e-2, Keras 1e-3, Chainer and DeZero 2e-5",
    symptom="foreign weights give slightly other logits; nothing else",
)
def eps_of_another_framework(
    self: BatchNorm2d,
    num_features: int,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    track_running_stats: bool = True,
    *,
    dtype: DTypeLike = np.float32,
) -> None:
    """Use 1e-3 for eps where PyTorch's networks were trained with 1e-5."""
    options = affine, track_running_stats
    right_init(self, num_features, 1e-3, momentum, *options, dtype=dtype)
