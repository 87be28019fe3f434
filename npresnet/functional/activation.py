"""ReLU: what is negative becomes zero."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class ReluCache(NamedTuple):
    """What the backward pass of ReLU needs."""

    # (ceil(size/8),): a bit for every element of x, 1 where it was positive. The output
    # would say the same in 32 times the memory. See `packed` in `backend.reference`.
    mask: NDArray[np.uint8]
    shape: tuple[int, ...]  # of x
    dtype: np.dtype[Any]


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Return max(x, 0); NaN stays NaN.

    Parameters
    ----------
    x : ndarray of any shape
        float32 or float64.

    Returns
    -------
    out : ndarray of the shape of x
        A new array.
    cache : ReluCache
        For `relu_backward`.

    Raises
    ------
    TypeError
        If x is no ndarray of floats.

    References
    ----------
    Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines",
    ICML 2010.
    """
    x = _check.array("x", x, "...")
    out, mask = backend.relu(x)
    return out, ReluCache(mask, x.shape, x.dtype)


def relu_backward(grad_output: Array, cache: ReluCache) -> Array:
    """Stop the gradient wherever x was not positive.

    Parameters
    ----------
    grad_output : ndarray of the shape of x
        Gradient of the loss with respect to the output.
    cache : ReluCache
        From `relu_forward`.

    Returns
    -------
    grad_x : ndarray of the shape of x
        ``grad_output * (x > 0)``: the derivative at exactly 0 is taken as 0, as in
        PyTorch.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    grad_output = _check.gradient(grad_output, cache.shape, like=cache)
    return backend.relu_grad(grad_output, cache.mask)
