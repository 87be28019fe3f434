"""Convolutions gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import Geometry, reference
from npresnet.functional import conv2d_backward as right_backward
from npresnet.functional.conv import Conv2dCache
from npresnet.lens.bugs.registry import bug

Array = NDArray[np.floating[Any]]

# Kept by their own names, because injecting puts wrong ones into `reference`.
right_conv2d = reference.conv2d
right_grad_input = reference.conv2d_grad_input


def _grad_columns(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """Compute the columns' gradient correctly: (N, C, KH, KW, OH, OW)."""
    N, G = len(grad_output), geometry.groups
    grad_rows = grad_output.reshape(N, G, len(weight) // G, -1)
    kernels = weight.reshape(G, len(weight) // G, -1)
    columns: Array = kernels.transpose(0, 2, 1) @ grad_rows
    return columns.reshape(N, -1, *geometry.kernel_size, *geometry.output_size)


def _padded_grad_input(
    grad_output: Array, weight: Array, geometry: Geometry, add: bool = True
) -> Array:
    """Run col2im without its crop: (N, C, H+2*PH, W+2*PW)."""
    columns = _grad_columns(grad_output, weight, geometry)
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    padded = np.zeros((*columns.shape[:2], H + 2 * PH, W + 2 * PW), columns.dtype)
    for i in range(geometry.kernel_size[0]):
        for j in range(geometry.kernel_size[1]):
            seen = reference.window(padded, i, j, geometry)
            seen[...] = columns[:, :, i, j] + (seen if add else 0)
    return padded


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="oreilly-japan/deep-learning-from-scratch #27, hguomin #2, "
    "PyDeepFlow PR #85",
    symptom="1x1 convolutions are right, 3x3 ones are not: the input gradient is "
    "too small and training is slow, not broken",
)
def col2im_overwrites(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """Write columns back with = instead of +=: of overlapping windows one is left."""
    padded = _padded_grad_input(grad_output, weight, geometry, add=False)
    return reference.crop(padded, geometry)


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="CNNumpy crops the wrong axes altogether; this is the mistake's quieter "
    "form",
    symptom="nothing with equal padding on both axes; another shape or shifted "
    "gradients otherwise",
)
def padding_cropped_on_wrong_axes(
    grad_output: Array, weight: Array, geometry: Geometry
) -> Array:
    """Take the horizontal padding off the rows and the vertical off the columns."""
    padded = _padded_grad_input(grad_output, weight, geometry)
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    return padded[:, :, PW : PW + H, PH : PH + W]


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="common wherever padding is cropped by a[p:-p]",
    symptom="an empty input gradient from every convolution without padding",
)
def crop_by_negative_index(
    grad_output: Array, weight: Array, geometry: Geometry
) -> Array:
    """Crop the padding as a[p:-p], which is empty for p = 0."""
    padded = _padded_grad_input(grad_output, weight, geometry)
    PH, PW = geometry.padding
    return padded[:, :, PH:-PH, PW:-PW]


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="a textbook slip: the input size is inferred from the output's, and the "
    "rest made up; suites with divisible sizes only do not notice",
    symptom="wrong gradients at the right and bottom edge of odd sizes",
)
def leftover_pixels_get_gradient(
    grad_output: Array, weight: Array, geometry: Geometry
) -> Array:
    """Fill pixels that no window reached with their neighbour's gradient, not 0."""
    grad_x = right_grad_input(grad_output, weight, geometry)
    reach = [
        stride * (places - 1) + dilation * (kernel - 1) + 1 - padding
        for stride, places, dilation, kernel, padding in zip(
            geometry.stride,
            geometry.output_size,
            geometry.dilation,
            geometry.kernel_size,
            geometry.padding,
            strict=True,
        )
    ]
    grad_x[:, :, reach[0] :] = grad_x[:, :, reach[0] - 1 : reach[0]]
    grad_x[:, :, :, reach[1] :] = grad_x[:, :, :, reach[1] - 1 : reach[1]]
    return grad_x


@bug(
    "npresnet.backend:conv2d",
    seen_in="common: the convolution of signal processing turns its kernel, that of "
    "deep learning does not",
    symptom="training from scratch works if the backward pass agrees; foreign "
    "weights give nonsense, and gradient checks fail if it does not",
)
def kernel_flipped(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Turn the kernel by 180 degrees before sliding it: a true convolution."""
    return right_conv2d(x, weight[:, :, ::-1, ::-1], geometry)


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="a textbook slip: the input gradient is a full correlation with the "
    "turned kernel",
    symptom="right for symmetric kernels such as an all-ones test kernel, wrong for "
    "all others",
)
def grad_input_kernel_not_turned(
    grad_output: Array, weight: Array, geometry: Geometry
) -> Array:
    """Spread the gradient through the kernel the wrong way round."""
    return right_grad_input(grad_output, weight[:, :, ::-1, ::-1], geometry)


@bug(
    "npresnet.backend:conv2d",
    seen_in="a textbook slip: reshape to (C/groups, groups) for (groups, C/groups)",
    symptom="invisible with one group, and with as many groups as channels; foreign "
    "ResNeXt weights give nonsense",
)
def groups_interleaved(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Deal the channels out to the groups like cards, not in runs."""
    N, C, H, W = x.shape
    dealt = x.reshape(N, C // geometry.groups, geometry.groups, H, W).swapaxes(1, 2)
    return right_conv2d(dealt.reshape(N, C, H, W), weight, geometry)


@bug(
    "npresnet.backend:conv2d_grad_input",
    seen_in="a textbook slip: an argument that was added to the forward pass only",
    symptom="invisible with dilation 1; gradients land on the wrong pixels otherwise",
)
def dilation_ignored_in_backward(
    grad_output: Array, weight: Array, geometry: Geometry
) -> Array:
    """Send gradients back as if the kernel's taps stood side by side."""
    return right_grad_input(grad_output, weight, geometry._replace(dilation=(1, 1)))


@bug(
    "npresnet.backend:conv2d",
    seen_in="ASGDLO, numpy-ml, TinyTorch",
    symptom="float64 from the first convolution on: twice the memory, half the "
    "speed, or an error where dtypes meet",
)
def convolution_returns_float64(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Collect the result in np.zeros(shape), whose dtype is float64."""
    out = np.zeros((len(x), len(weight), *geometry.output_size))
    out += right_conv2d(x, weight, geometry)
    return out


@bug(
    "npresnet.backend.geometry:output_length",
    seen_in="ASGDLO: int((H - k + 1) / s)",
    symptom="right at stride 1 and for some sizes; elsewhere a row and a column "
    "short, and shortcuts that do not fit their branch",
)
def output_size_loses_a_window(
    length: int, kernel_size: int, stride: int, padding: int, dilation: int
) -> int:
    """Add the 1 before dividing by the stride, so that the first window is lost."""
    reach = dilation * (kernel_size - 1) + 1
    return (length + 2 * padding - reach + 1) // stride


@bug(
    "npresnet.functional.conv:conv2d_backward",
    seen_in="common: .mean() where the derivation has a sum",
    symptom="biases learn N*OH*OW times too slowly; nobody notices before batch norm",
)
def bias_gradient_averaged(
    grad_output: Array,
    cache: Conv2dCache,
    *,
    input_grad: bool = True,
    weight_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Average the bias gradient over images and pixels instead of summing it."""
    grad_x, grad_weight, grad_bias = right_backward(
        grad_output, cache, input_grad=input_grad, weight_grad=weight_grad
    )
    if grad_bias is not None:
        grad_bias = grad_output.mean(axis=(0, 2, 3))
    return grad_x, grad_weight, grad_bias
