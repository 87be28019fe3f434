"""Operations that do several of the seam's at once, in fewer passes over memory.

For programs that are made from models (`npresnet.compiler`): what one reads in
`npresnet.models` and `npresnet.nn` calls the operations one by one. Same bits, same
switch; in `reference` each is written as what it puts together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import reference
from npresnet.backend.geometry import Geometry
from npresnet.backend.switch import is_plain, lazy_kernels, quietly

if TYPE_CHECKING:
    from npresnet.backend import kernels as compiled
else:
    compiled = lazy_kernels(__name__)

Array = NDArray[np.floating[Any]]


def fused_conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    rectify: bool,
    geometry: Geometry,
) -> Array:
    """Do what follows a convolution at inference along with it: (N, K, OH, OW)."""
    if is_plain():
        return quietly(
            reference.fused_conv2d, x, weight, bias, residual, rectify, geometry
        )
    return compiled.fused_conv2d(x, weight, bias, residual, rectify, geometry)


def conv2d_grad_input_add(
    grad_output: Array, weight: Array, other: Array, geometry: Geometry
) -> Array:
    """Add another gradient (N, C, H, W) while `conv2d_grad_input` writes its own."""
    if is_plain():
        return quietly(
            reference.conv2d_grad_input_add, grad_output, weight, other, geometry
        )
    return compiled.conv2d_grad_input_add(grad_output, weight, other, geometry)


def batch_norm_relu(
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
    residual: Array | None = None,
) -> Array:
    """Normalise, add the shortcut (of the shape of x) if there is one, rectify."""
    if is_plain():
        return quietly(
            reference.batch_norm_relu, x, mean, inverse_std, weight, bias, residual
        )
    return compiled.batch_norm_relu(x, mean, inverse_std, weight, bias, residual)


def batch_norm_relu_grad_sums(
    grad_output: Array, out: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array, Array]:
    """Go back through the ReLU that gave `out`; return that gradient and its sums."""
    if is_plain():
        return quietly(
            reference.batch_norm_relu_grad_sums, grad_output, out, x, mean, inverse_std
        )
    return compiled.batch_norm_relu_grad_sums(grad_output, out, x, mean, inverse_std)


def rectified_batch_norm_grad_sums(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
) -> tuple[Array, Array]:
    """Sum as `batch_norm_grad_sums` does, below a ReLU without a residual."""
    if is_plain():
        return quietly(
            reference.rectified_batch_norm_grad_sums,
            grad_output,
            x,
            mean,
            inverse_std,
            weight,
            bias,
        )
    return compiled.rectified_batch_norm_grad_sums(
        grad_output, x, mean, inverse_std, weight, bias
    )


def rectified_batch_norm_grad_input(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
    mean_grad: Array,
    mean_grad_x_hat: Array,
) -> Array:
    """Do `batch_norm_grad_input`, below a ReLU without a residual: (N, C, H, W)."""
    if is_plain():
        return quietly(
            reference.rectified_batch_norm_grad_input,
            grad_output,
            x,
            mean,
            inverse_std,
            weight,
            bias,
            mean_grad,
            mean_grad_x_hat,
        )
    return compiled.rectified_batch_norm_grad_input(
        grad_output, x, mean, inverse_std, weight, bias, mean_grad, mean_grad_x_hat
    )


def relu_grad_below(grad_output: Array, out: Array) -> Array:
    """Do `relu_grad` by what the ReLU gave, where no mask was kept."""
    if is_plain():
        return quietly(reference.relu_grad_below, grad_output, out)
    return compiled.relu_grad_below(grad_output, out)
