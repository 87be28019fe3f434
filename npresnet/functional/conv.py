"""Convolution: every output is the sum of a window's pixels times the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments, backend
from npresnet.backend import Geometry
from npresnet.backend.geometry import Pair
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class Conv2dCache(NamedTuple):
    """What the backward pass of a convolution needs."""

    # (N, C, H, W): grad_weight correlates it with grad_output. The columns of im2col
    # are rebuilt rather than kept: they are KH*KW times as large.
    x: Array
    # (K, C/groups, KH, KW): grad_x spreads grad_output through it.
    weight: Array
    geometry: Geometry
    has_bias: bool


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Slide the kernels over the padded images.

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        Images, float32 or float64.
    weight : ndarray of shape (K, C/groups, KH, KW)
        One kernel per output channel.
    bias : ndarray of shape (K,), optional
        Added to every pixel of an output channel.
    stride, padding, dilation : int or pair of int
        In pixels, vertical and horizontal; the padding is zeros on both sides.
    groups : int
        Output channels see only their own group of C/groups input channels.

    Returns
    -------
    out : ndarray of shape (N, K, OH, OW)
        ``OH = floor((H + 2*padding - dilation*(KH-1) - 1)/stride) + 1``: pixels that
        the last step does not reach are left over.
    cache : Conv2dCache
        For `conv2d_backward`.

    Raises
    ------
    ValueError
        If shapes do not fit together, or the kernel not into the image.
    TypeError
        If dtypes differ or are not floating.

    Notes
    -----
    With padding folded into x, for one group::

        out[n,k,y,x] = bias[k] + sum_{c,i,j} weight[k,c,i,j] *
                       x[n, c, y*stride + i*dilation, x*stride + j*dilation]

    It is a correlation: the kernel is not turned, as in all deep learning.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning",
    arXiv 1603.07285, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> out, cache = conv2d_forward(np.ones((1, 1, 7, 7)), np.ones((1, 1, 3, 3)),
    ...                             stride=2, padding=1)
    >>> out[0, 0, 0]
    array([4., 6., 6., 4.])
    """
    x = _check.array("x", x, "N C H W")
    weight = _check.array("weight", weight, "K C/groups KH KW", like=x)
    _check_channels(x, weight, groups)
    if bias is not None:
        bias = _check.array("bias", bias, "K", like=x)
        _check.shape("bias", bias, (len(weight),), "(one per output channel)")
    geometry = Geometry.of(
        (x.shape[2], x.shape[3]),
        (weight.shape[2], weight.shape[3]),
        stride,
        padding,
        dilation,
        groups,
    )
    out: Array = backend.conv2d(x, weight, geometry)
    if bias is not None:
        out += bias[:, None, None]
    return out, Conv2dCache(x, weight, geometry, bias is not None)


def conv2d_backward(
    grad_output: Array,
    cache: Conv2dCache,
    *,
    input_grad: bool = True,
    weight_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Carry the gradient of a convolution's output back to its arguments.

    Parameters
    ----------
    grad_output : ndarray of shape (N, K, OH, OW)
        Gradient of the loss with respect to the output.
    cache : Conv2dCache
        From `conv2d_forward`.
    input_grad, weight_grad : bool
        Whether to compute these at all; what is spared is None. The bias goes with
        the weight.

    Returns
    -------
    grad_x : ndarray of shape (N, C, H, W) or None
        Every output pixel spreads its gradient over the window it came from; pixels
        left over get zero.
    grad_weight : ndarray of shape (K, C/groups, KH, KW) or None
        Every weight collects what it multiplied.
    grad_bias : ndarray of shape (K,) or None
        None also where there was no bias.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not of the output's shape and dtype.

    Notes
    -----
    See ``docs/derivations/conv2d.md``.
    """
    x, weight, geometry, has_bias = cache
    out_shape = (len(x), len(weight), *geometry.output_size)
    grad_output = _check.gradient(grad_output, out_shape, like=x)
    grad_x = grad_weight = grad_bias = None
    if input_grad:
        grad_x = backend.conv2d_grad_input(grad_output, weight, geometry)
    if weight_grad:
        grad_weight = backend.conv2d_grad_weight(grad_output, x, geometry)
        if has_bias:
            grad_bias = grad_output.sum(axis=(0, 2, 3))
    return grad_x, grad_weight, grad_bias


def _check_channels(x: Array, weight: Array, groups: int) -> None:
    C, K = x.shape[1], len(weight)
    if type(groups) is not int or groups < 1:
        groups = _arguments.whole("groups", groups, 1)
    if C != weight.shape[1] * groups and not K % groups:
        raise ValueError(
            f"x must have {weight.shape[1] * groups} channels for a weight of shape "
            f"{weight.shape} and groups={groups}, got {C}"
        )
    if C % groups or K % groups:
        raise ValueError(
            f"groups must divide the input channels ({C}) and the output channels "
            f"({K}), got {groups}"
        )
