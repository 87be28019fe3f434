"""The seam: every hot operation, and the one place that knows of two ways to run it.

``backend.conv2d(...)`` is `reference.conv2d`, plain NumPy made to be read, or
`kernels.conv2d`, compiled and made to be run, whichever is switched on (see `switch`).
The two have the same names, signatures and results (to rounding); what each operation
does stands in `reference`.

Operations take whole arrays, validate nothing and keep no state: `npresnet.functional`
does that above them. `fused` has the operations that do several of these at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import reference
from npresnet.backend.algorithm import (
    get_algorithm,
    set_algorithm,
    using_algorithm,
)
from npresnet.backend.constants import constant
from npresnet.backend.geometry import Geometry, Pair, as_pair
from npresnet.backend.switch import (
    get_backend,
    is_plain,
    lazy_kernels,
    quietly,
    set_backend,
    using_backend,
)
from npresnet.backend.threads import available_threads, get_threads, set_threads

if TYPE_CHECKING:
    from npresnet.backend import kernels as compiled
else:
    compiled = lazy_kernels(__name__)

__all__ = [
    "Geometry",
    "as_pair",
    "available_threads",
    "constant",
    "get_algorithm",
    "get_backend",
    "get_threads",
    "set_algorithm",
    "set_backend",
    "set_threads",
    "using_algorithm",
    "using_backend",
]

Array = NDArray[np.floating[Any]]
Bits = NDArray[np.uint8]


# ------------------------------------------------------------- convolution


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Multiply the weights by the columns, group by group: (N, K, OH, OW)."""
    if is_plain():
        return quietly(reference.conv2d, x, weight, geometry)
    return compiled.conv2d(x, weight, geometry)


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """Spread grad_output through the transposed weights: (N, C, H, W)."""
    if is_plain():
        return quietly(reference.conv2d_grad_input, grad_output, weight, geometry)
    return compiled.conv2d_grad_input(grad_output, weight, geometry)


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """Correlate grad_output with what each weight saw: (K, C/groups, KH, KW)."""
    if is_plain():
        return quietly(reference.conv2d_grad_weight, grad_output, x, geometry)
    return compiled.conv2d_grad_weight(grad_output, x, geometry)


# ------------------------------------------------------------------ linear


def linear(x: Array, weight: Array) -> Array:
    """Multiply x (N, I) by the rows of weight (O, I): (N, O)."""
    if is_plain():
        return quietly(reference.linear, x, weight)
    return compiled.linear(x, weight)


def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return grad_output (N, O) times weight (O, I): (N, I)."""
    if is_plain():
        return quietly(reference.linear_grad_input, grad_output, weight)
    return compiled.linear_grad_input(grad_output, weight)


def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return the sum over the batch of outer products: (O, I)."""
    if is_plain():
        return quietly(reference.linear_grad_weight, grad_output, x)
    return compiled.linear_grad_weight(grad_output, x)


# ----------------------------------------------------------------- pooling


def max_pool2d(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.int32]]:
    """Take the largest value of every window, and remember where it stood."""
    if is_plain():
        return quietly(reference.max_pool2d, x, geometry)
    return compiled.max_pool2d(x, geometry)


def max_pool2d_grad(
    grad_output: Array, winners: NDArray[np.int32], geometry: Geometry
) -> Array:
    """Hand each window's gradient to its winner; windows overlap: (N, C, H, W)."""
    if is_plain():
        return quietly(reference.max_pool2d_grad, grad_output, winners, geometry)
    return compiled.max_pool2d_grad(grad_output, winners, geometry)


def avg_pool2d(x: Array, divisor: Array, geometry: Geometry) -> Array:
    """Add up every window and divide by `divisor` (OH, OW): (N, C, OH, OW)."""
    if is_plain():
        return quietly(reference.avg_pool2d, x, divisor, geometry)
    return compiled.avg_pool2d(x, divisor, geometry)


def avg_pool2d_grad(grad_output: Array, divisor: Array, geometry: Geometry) -> Array:
    """Give every pixel of a window its share of the gradient: (N, C, H, W)."""
    if is_plain():
        return quietly(reference.avg_pool2d_grad, grad_output, divisor, geometry)
    return compiled.avg_pool2d_grad(grad_output, divisor, geometry)


def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    """Average over the bins of `adaptive_bins`: (N, C, OH, OW)."""
    if is_plain():
        return quietly(reference.adaptive_avg_pool2d, x, output_size)
    return compiled.adaptive_avg_pool2d(x, output_size)


def adaptive_avg_pool2d_grad(grad_output: Array, input_size: Pair) -> Array:
    """Spread each bin's gradient evenly over its pixels; bins overlap: (N, C, H, W)."""
    if is_plain():
        return quietly(reference.adaptive_avg_pool2d_grad, grad_output, input_size)
    return compiled.adaptive_avg_pool2d_grad(grad_output, input_size)


# -------------------------------------------------------------- batch norm


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over (N, H, W): two vectors (C,)."""
    if is_plain():
        return quietly(reference.batch_norm_statistics, x)
    return compiled.batch_norm_statistics(x)


def batch_norm_normalize(
    x: Array, mean: Array, inverse_std: Array, weight: Array, bias: Array
) -> Array:
    """Return weight * (x - mean) * inverse_std + bias: (N, C, H, W)."""
    if is_plain():
        return quietly(
            reference.batch_norm_normalize, x, mean, inverse_std, weight, bias
        )
    return compiled.batch_norm_normalize(x, mean, inverse_std, weight, bias)


def batch_norm_grad_sums(
    grad_output: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array]:
    """Sum grad_output, and grad_output * x_hat, over (N, H, W): two vectors (C,)."""
    if is_plain():
        return quietly(
            reference.batch_norm_grad_sums, grad_output, x, mean, inverse_std
        )
    return compiled.batch_norm_grad_sums(grad_output, x, mean, inverse_std)


def batch_norm_grad_input(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    scale: Array,
    mean_grad: Array,
    mean_grad_x_hat: Array,
) -> Array:
    """Return scale * (grad_output - mean_grad - x_hat * mean_grad_x_hat)."""
    if is_plain():
        return quietly(
            reference.batch_norm_grad_input,
            grad_output,
            x,
            mean,
            inverse_std,
            scale,
            mean_grad,
            mean_grad_x_hat,
        )
    return compiled.batch_norm_grad_input(
        grad_output, x, mean, inverse_std, scale, mean_grad, mean_grad_x_hat
    )


# ------------------------------------------------- addition and activation


def add(a: Array, b: Array) -> Array:
    """Add two arrays of the same shape: branch and shortcut, forward or backward."""
    if is_plain():
        return quietly(reference.add, a, b)
    return compiled.add(a, b)


def relu(x: Array) -> tuple[Array, Bits]:
    """Return max(x, 0) for an array of any shape, and its mask; NaN stays NaN."""
    if is_plain():
        return quietly(reference.relu, x)
    return compiled.relu(x)


def relu_grad(grad_output: Array, mask: Bits) -> Array:
    """Let the gradient through where the mask is 1 (so: none at x = 0)."""
    if is_plain():
        return quietly(reference.relu_grad, grad_output, mask)
    return compiled.relu_grad(grad_output, mask)


# -------------------------------------------------- shortcut and optimiser


def zero_pad_shortcut(x: Array, out_channels: int, first: int, stride: int) -> Array:
    """Take every stride-th pixel; channel c of x becomes channel first + c."""
    if is_plain():
        return quietly(reference.zero_pad_shortcut, x, out_channels, first, stride)
    return compiled.zero_pad_shortcut(x, out_channels, first, stride)


def zero_pad_shortcut_grad(
    grad_output: Array, x_shape: tuple[int, ...], first: int, stride: int
) -> Array:
    """Bring gradients back to the pixels of x that were taken: (N, C, H, W)."""
    if is_plain():
        return quietly(
            reference.zero_pad_shortcut_grad, grad_output, x_shape, first, stride
        )
    return compiled.zero_pad_shortcut_grad(grad_output, x_shape, first, stride)


def sgd_update(
    data: Array,
    grad: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    keep: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """Move `data` one step, and `velocity` with it, in place; all of one shape."""
    if is_plain():
        return quietly(
            reference.sgd_update,
            data,
            grad,
            velocity,
            lr,
            momentum,
            keep,
            weight_decay,
            nesterov,
        )
    return compiled.sgd_update(
        data, grad, velocity, lr, momentum, keep, weight_decay, nesterov
    )
