"""Batch norm: every channel gets mean 0 and variance 1, then a scale and a shift."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]
# Running statistics: ndarrays, or None where nothing is tracked. Not a union, so that
# whoever has them need not ask.
Statistics = Any


class BatchNormCache(NamedTuple):
    """What the backward pass of batch norm needs."""

    # (N, C, H, W): x_hat = (x - mean) * inverse_std is recomputed in the pass that
    # uses it, which costs less than a second array of this size.
    x: Array
    mean: Array  # (C,): of the batch when training, the running one when frozen
    inverse_std: Array  # (C,): 1 / sqrt(variance + eps)
    weight: Array  # (C,): grad_x is scaled by it; ones where there was none
    training: bool  # the two modes have different formulas
    has_weight: bool = True
    has_bias: bool = True


def batch_norm_forward(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Statistics,
    running_var: Statistics,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, BatchNormCache, Statistics, Statistics]:
    """Normalise each channel, then scale and shift it.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    weight, bias : ndarray of shape (C,) or None
        Scale (gamma) and shift (beta); None: 1 and 0.
    running_mean, running_var : ndarray of shape (C,) or None
        Running statistics; read when frozen, moved on when training. None, both of
        them: nothing is tracked, and nothing can be frozen.
    training : bool
        True: normalise with the batch's own mean and variance over (N, H, W).
        False: with the running ones (frozen, or evaluation).
    momentum : float
        Weight of the *new* value, as in PyTorch (Chainer and Keras weigh the old
        one): ``running = (1 - momentum)*running + momentum*new``.
    eps : float
        Added to the variance.

    Returns
    -------
    out : ndarray of shape (N, C, H, W)
        The normalised images.
    cache : BatchNormCache
        For `batch_norm_backward`.
    running_mean, running_var : ndarray of shape (C,) or None
        The statistics after this batch: new arrays when training, the arguments
        themselves when frozen, None where nothing is tracked.

    Raises
    ------
    ValueError
        If shapes do not fit, a training batch has one value per channel only, frozen
        statistics are missing, or momentum or eps are out of range.
    TypeError
        If dtypes differ or are not floating.

    Notes
    -----
    The batch is normalised with the biased variance (divided by m = N*H*W), while
    ``running_var`` takes in the unbiased one (divided by m - 1), as in PyTorch.

    The order of the arrays is that of ``torch.batch_norm``, the operator, and of the
    gradients; ``torch.nn.functional.batch_norm`` has the statistics first.

    References
    ----------
    Ioffe and Szegedy, arXiv 1502.03167, algorithm 1 and section 3.1.
    """
    x, weight, bias, running_mean, running_var = _checked(
        x, weight, bias, running_mean, running_var
    )
    mean, inverse_std, running_mean, running_var = _moments(
        x, running_mean, running_var, training, momentum, eps
    )
    scale = np.ones_like(mean) if weight is None else weight
    shift = np.zeros_like(mean) if bias is None else bias
    out = backend.batch_norm_normalize(x, mean, inverse_std, scale, shift)
    given = weight is not None, bias is not None
    cache = BatchNormCache(x, mean, inverse_std, scale, training, *given)
    return out, cache, running_mean, running_var


def _checked(
    x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any
) -> tuple[Any, ...]:
    """Insist on images and vectors that fit; return them plain, None where it is."""
    x = _check.array("x", x, "N C H W")
    vectors = _check.vectors(
        x.shape[1],
        "(one per channel of x)",
        like=x,
        weight=weight,
        bias=bias,
        running_mean=running_mean,
        running_var=running_var,
    )
    return x, *vectors


@_check.may_underflow
def _moments(
    x: Array,
    running_mean: Statistics,
    running_var: Statistics,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Statistics, Statistics]:
    """Return mean, 1/std and the new running statistics; see `batch_norm_forward`."""
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must be given both, or neither")
    if running_mean is None and not training:
        raise ValueError("running_mean must be given where training is False, got None")
    # NumPy's own scalars would widen float32; Python's do not.
    momentum, eps = float(momentum), float(eps)
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be a number in [0, 1], got {momentum}")
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps must be a finite number of at least 0, got {eps}")
    if training:
        m = x.size // x.shape[1]
        if m < 2:
            raise ValueError(
                "x must have more than one value per channel in training mode, got "
                f"shape {x.shape}: a single value has no variance"
            )
        mean, variance = backend.batch_norm_statistics(x)
        if running_mean is not None:
            unbiased = variance * (m / (m - 1))
            running_mean = (1 - momentum) * running_mean + momentum * mean
            running_var = (1 - momentum) * running_var + momentum * unbiased
    else:
        mean, variance = running_mean, running_var
    return mean, 1 / np.sqrt(variance + eps), running_mean, running_var


@_check.may_underflow
def batch_norm_backward(
    grad_output: Array, cache: BatchNormCache
) -> tuple[Array, Array | None, Array | None]:
    """Carry the gradient of batch norm's output back to its arguments.

    Parameters
    ----------
    grad_output : ndarray of shape (N, C, H, W)
        Gradient of the loss with respect to the output.
    cache : BatchNormCache
        From `batch_norm_forward`.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        Training: also through the mean and the variance, which depend on x. Frozen:
        the statistics are constants, and it is grad_output scaled.
    grad_weight, grad_bias : ndarray of shape (C,) or None
        Sums over (N, H, W); None for what was not there.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.

    Notes
    -----
    With x_hat the normalised input, s = weight / std, and means over (N, H, W)::

        training: grad_x = s * (g - mean(g) - x_hat * mean(g * x_hat))
        frozen:   grad_x = s * g

    See ``docs/derivations/batch_norm.md``. A constant g gives exactly zero in
    training, which is why no test here uses one.
    """
    x, mean, inverse_std, weight, training, has_weight, has_bias = cache
    grad_output = _check.gradient(grad_output, x.shape, like=x)
    grad_bias, grad_weight = backend.batch_norm_grad_sums(
        grad_output, x, mean, inverse_std
    )
    if training:
        m = x.size // x.shape[1]
        scale = weight * inverse_std
        mean_grad, mean_grad_x_hat = grad_bias / m, grad_weight / m
        grad_x = backend.batch_norm_grad_input(
            grad_output, x, mean, inverse_std, scale, mean_grad, mean_grad_x_hat
        )
    else:
        grad_x = _frozen_grad_input(grad_output, inverse_std, weight)
    return grad_x, grad_weight if has_weight else None, grad_bias if has_bias else None


def _frozen_grad_input(grad_output: Array, inverse_std: Array, weight: Array) -> Array:
    """Return grad_output * weight * inverse_std: (N, C, H, W).

    Frozen batch norm is linear but for its constants, so that its gradient with respect
    to x is the same map without them: x plays no part, not even where it is not finite.
    """
    zero = np.zeros_like(weight)
    grad_x: Array = backend.batch_norm_normalize(
        grad_output, zero, inverse_std, weight, zero
    )
    return grad_x
