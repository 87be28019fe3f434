"""The linear layer: every output is a weighted sum of all inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class LinearCache(NamedTuple):
    """What the backward pass of a linear layer needs."""

    x: Array  # (N, I): grad_weight is made of it
    weight: Array  # (O, I): grad_x goes through it
    has_bias: bool


def linear_forward(
    x: Array, weight: Array, bias: Array | None = None
) -> tuple[Array, LinearCache]:
    """Return ``x @ weight.T + bias``.

    Parameters
    ----------
    x : ndarray of shape (N, I)
        One row of I features per example, float32 or float64.
    weight : ndarray of shape (O, I)
        One row per output, as in PyTorch.
    bias : ndarray of shape (O,), optional
        Added to every row.

    Returns
    -------
    out : ndarray of shape (N, O)
        One row per example.
    cache : LinearCache
        For `linear_backward`.

    Raises
    ------
    ValueError
        If shapes do not fit together.
    TypeError
        If dtypes differ or are not floating.
    """
    x = _check.array("x", x, "N I")
    weight = _check.array("weight", weight, "O I", like=x)
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"x must have {weight.shape[1]} features for a weight of shape "
            f"{weight.shape}, got {x.shape[1]}"
        )
    out: Array = backend.linear(x, weight)
    if bias is not None:
        bias = _check.array("bias", bias, "O", like=x)
        _check.shape("bias", bias, (len(weight),), "(one per output)")
        out += bias
    return out, LinearCache(x, weight, bias is not None)


def linear_backward(
    grad_output: Array,
    cache: LinearCache,
    *,
    input_grad: bool = True,
    weight_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Carry the gradient of a linear layer's output back to its arguments.

    Parameters
    ----------
    grad_output : ndarray of shape (N, O)
        Gradient of the loss with respect to the output.
    cache : LinearCache
        From `linear_forward`.
    input_grad, weight_grad : bool
        Whether to compute these at all; what is spared is None. The bias goes with
        the weight.

    Returns
    -------
    grad_x : ndarray of shape (N, I) or None
        ``grad_output @ weight``.
    grad_weight : ndarray of shape (O, I) or None
        ``grad_output.T @ x``.
    grad_bias : ndarray of shape (O,) or None
        The sum over the batch; None also where there was no bias.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    x, weight, has_bias = cache
    grad_output = _check.gradient(grad_output, (len(x), len(weight)), like=x)
    grad_x = grad_weight = grad_bias = None
    if input_grad:
        grad_x = backend.linear_grad_input(grad_output, weight)
    if weight_grad:
        grad_weight = backend.linear_grad_weight(grad_output, x)
        if has_bias:
            grad_bias = grad_output.sum(axis=0)
    return grad_x, grad_weight, grad_bias
