"""The paper's shortcut without parameters: fewer pixels, more channels of zeros."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class ZeroPadShortcutCache(NamedTuple):
    """What the backward pass of the zero-padding shortcut needs: shapes only."""

    x_shape: tuple[int, ...]  # (N, C, H, W)
    out_shape: tuple[int, ...]  # (N, K, OH, OW)
    dtype: np.dtype[Any]
    first: int  # output channel that holds the input's first
    stride: int


def _first_channel(channels: int, out_channels: int) -> int:
    """Tell which output channel holds the input's first; zeros lie on both sides."""
    return (out_channels - channels) // 2


def zero_pad_shortcut_forward(
    x: Array, out_channels: int, stride: int = 1
) -> tuple[Array, ZeroPadShortcutCache]:
    """Subsample x and put channels of zeros before and behind it (option A).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        float32 or float64.
    out_channels : int
        K, at least C; (K-C)//2 channels of zeros come first, the rest last.
    stride : int
        Every stride-th row and column is taken, beginning with the first.

    Returns
    -------
    out : ndarray of shape (N, K, ceil(H/stride), ceil(W/stride))
        A new array.
    cache : ZeroPadShortcutCache
        For `zero_pad_shortcut_backward`.

    Raises
    ------
    ValueError
        If there would be fewer channels, or the stride is below 1.
    TypeError
        If x is no ndarray of floats.

    Notes
    -----
    The paper does not say where the zeros go; equal parts on both sides is what the
    most used reimplementation does, and its published weights need it.

    References
    ----------
    He et al., arXiv 1512.03385, sections 3.3 (option A) and 4.2.
    """
    x = _check.array("x", x, "N C H W")
    N, C, H, W = x.shape
    if out_channels < C:
        raise ValueError(
            f"out_channels must be at least the input's {C}, got {out_channels}"
        )
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    out_shape = (N, out_channels, -(-H // stride), -(-W // stride))
    first = _first_channel(C, out_channels)
    out: Array = backend.zero_pad_shortcut(x, out_channels, first, stride)
    return out, ZeroPadShortcutCache(x.shape, out_shape, x.dtype, first, stride)


def zero_pad_shortcut_backward(
    grad_output: Array, cache: ZeroPadShortcutCache
) -> Array:
    """Carry the gradient back to the pixels that were taken.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, OH, OW)
        Gradient of the loss with respect to the output.
    cache : ZeroPadShortcutCache
        From `zero_pad_shortcut_forward`.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W)
        Zero at the pixels that were left out; what came to the channels of zeros is
        lost.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.
    """
    like = np.empty(0, cache.dtype)
    grad_output = _check.gradient(grad_output, cache.out_shape, like=like)
    grad_x: Array = backend.zero_pad_shortcut_grad(
        grad_output, cache.x_shape, cache.first, cache.stride
    )
    return grad_x
