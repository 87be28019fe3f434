"""A linear layer is a 1x1 convolution of 1x1 planes, so that is how it runs.

A product through BLAS may add in another order with another number of threads;
these kernels never do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.conv2d import conv2d, conv2d_grad_input
from npresnet.backend.kernels.conv2d_grad_weight import conv2d_grad_weight

Array = NDArray[np.floating[Any]]

_POINT = Geometry.of((1, 1), (1, 1))


def _planes(matrix: Array) -> Array:
    return matrix[:, :, None, None]


def linear(x: Array, weight: Array) -> Array:
    """See `reference.linear`."""
    return conv2d(_planes(x), _planes(weight), _POINT)[:, :, 0, 0]


def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """See `reference.linear_grad_input`."""
    planes = conv2d_grad_input(_planes(grad_output), _planes(weight), _POINT)
    return planes[:, :, 0, 0]


def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """See `reference.linear_grad_weight`."""
    return conv2d_grad_weight(_planes(grad_output), _planes(x), _POINT)[:, :, 0, 0]
