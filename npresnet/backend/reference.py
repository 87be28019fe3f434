"""The hot operations in NumPy, made to be read.

This file is the specification: `npresnet.backend.kernels` computes the same
things, under the same names, faster. No validation (that is done one floor up, in
`npresnet.functional`), no cleverness, no loop longer than a window.

Notation
--------
N : images in the batch;  C : channels in;  K : channels out
H, W : height and width in;  OH, OW : height and width out;  KH, KW : of the kernel
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.geometry import Geometry, Pair

Array = NDArray[np.floating[Any]]
Bits = NDArray[np.uint8]

# ---------------------------------------------------------------- windows


def pad(x: Array, padding: Pair, value: float = 0.0, overhang: Pair = (0, 0)) -> Array:
    """Put a border of `value` around every plane: (N, C, H+2*PH, W+2*PW).

    A pooling window may hang over it at the bottom and on the right; there the border
    is wider by `overhang`.
    """
    (PH, PW), (EH, EW) = padding, overhang
    around = (0, 0), (0, 0), (PH, PH + EH), (PW, PW + EW)
    return np.pad(x, around, constant_values=value)


def window(padded: Array, i: int, j: int, geometry: Geometry) -> Array:
    """See what kernel tap (i, j) sees from every output place: (N, C, OH, OW).

    A view into `padded`, so writing to it writes to `padded`.
    """
    (SH, SW), (DH, DW) = geometry.stride, geometry.dilation
    OH, OW = geometry.output_size
    return padded[
        :,
        :,
        i * DH : i * DH + SH * (OH - 1) + 1 : SH,
        j * DW : j * DW + SW * (OW - 1) + 1 : SW,
    ]


def crop(padded: Array, geometry: Geometry) -> Array:
    """Take the border away again, the counterpart of `pad`: (N, C, H, W)."""
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    return padded[:, :, PH : PH + H, PW : PW + W]


# ------------------------------------------------------------ convolution


def im2col(x: Array, geometry: Geometry) -> Array:
    """Lay out every receptive field of `x` as a column: (N, C*KH*KW, OH*OW)."""
    N, C = x.shape[:2]
    (KH, KW), (OH, OW) = geometry.kernel_size, geometry.output_size
    padded = pad(x, geometry.padding)
    columns = np.empty((N, C, KH, KW, OH, OW), x.dtype)
    for i in range(KH):
        for j in range(KW):
            columns[:, :, i, j] = window(padded, i, j, geometry)
    return columns.reshape(N, C * KH * KW, OH * OW)


def col2im(columns: Array, geometry: Geometry) -> Array:
    """Add every column back to the pixels it was read from: (N, C, H, W).

    The transpose of `im2col`, not its inverse: a pixel that several windows saw
    gets the sum of what they bring back, hence ``+=``; one that none saw gets 0.
    """
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    (KH, KW), (OH, OW) = geometry.kernel_size, geometry.output_size
    N = len(columns)
    columns = columns.reshape(N, -1, KH, KW, OH, OW)
    C = columns.shape[1]
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW), columns.dtype)
    for i in range(KH):
        for j in range(KW):
            window(padded, i, j, geometry)[...] += columns[:, :, i, j]
    return crop(padded, geometry)


def conv2d(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Multiply the weights by the columns, group by group: (N, K, OH, OW).

    x is (N, C, H, W), weight (K, C/groups, KH, KW). Group g reads channels
    g*C/groups ... and writes channels g*K/groups ...
    """
    N, G = len(x), geometry.groups
    columns = im2col(x, geometry)  # (N, C*KH*KW, OH*OW)
    columns = columns.reshape(N, G, -1, columns.shape[-1])
    kernels = weight.reshape(G, len(weight) // G, -1)  # (G, K/G, C/G*KH*KW)
    out: Array = kernels @ columns  # (N, G, K/G, OH*OW)
    return out.reshape(N, -1, *geometry.output_size)


def conv2d_grad_input(grad_output: Array, weight: Array, geometry: Geometry) -> Array:
    """Spread grad_output through the transposed weights: (N, C, H, W)."""
    N, G = len(grad_output), geometry.groups
    grad_rows = grad_output.reshape(N, G, len(weight) // G, -1)  # (N, G, K/G, OH*OW)
    kernels = weight.reshape(G, len(weight) // G, -1)  # (G, K/G, C/G*KH*KW)
    grad_columns = kernels.transpose(0, 2, 1) @ grad_rows  # (N, G, C/G*KH*KW, OH*OW)
    return col2im(grad_columns.reshape(N, -1, grad_rows.shape[-1]), geometry)


def conv2d_grad_weight(grad_output: Array, x: Array, geometry: Geometry) -> Array:
    """Correlate grad_output with what each weight saw: (K, C/groups, KH, KW)."""
    N, K = grad_output.shape[:2]
    G = geometry.groups
    columns = im2col(x, geometry)  # rebuilt, not kept: KH*KW times as large as x
    columns = columns.reshape(N, G, -1, columns.shape[-1])
    grad_rows = grad_output.reshape(N, G, K // G, -1)  # (N, G, K/G, OH*OW)
    grad_kernels = grad_rows @ columns.transpose(0, 1, 3, 2)  # (N, G, K/G, C/G*KH*KW)
    grad_weight: Array = grad_kernels.sum(axis=0)
    return grad_weight.reshape(K, -1, *geometry.kernel_size)


# ----------------------------------------------------------------- linear


def linear(x: Array, weight: Array) -> Array:
    """Multiply x (N, I) by the rows of weight (O, I): (N, O)."""
    return x @ weight.T


def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return grad_output (N, O) times weight (O, I): (N, I)."""
    return grad_output @ weight


def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return the sum over the batch of outer products: (O, I)."""
    return grad_output.T @ x


# ---------------------------------------------------------------- pooling


def max_pool2d(x: Array, geometry: Geometry) -> tuple[Array, NDArray[np.int32]]:
    """Take the largest value of every window, and remember where it stood.

    Returns the maxima (N, C, OH, OW) and the winners, of the same shape: each
    winner's place in its plane, row*W + column. The border is minus infinity, so
    it never wins. Of equal values the first in the window wins, as in PyTorch,
    and NaN beats everything.
    """
    W = geometry.input_size[1]
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = geometry[1:5]
    OH, OW = geometry.output_size
    padded = pad(x, geometry.padding, -np.inf, geometry.overhang)
    taps = np.stack(
        [window(padded, i, j, geometry) for i in range(KH) for j in range(KW)]
    )
    winner = taps.argmax(axis=0)  # (N, C, OH, OW): the first of equals, NaN above all
    # A window may hold nothing but minus infinity; its first pixel inside wins then.
    first = _first_tap_inside(geometry)
    winner = np.where(np.isneginf(taps.max(axis=0)), first, winner)
    out = np.take_along_axis(taps, winner[None], axis=0)[0]
    row = np.arange(OH)[:, None] * SH + winner // KW * DH - PH
    column = np.arange(OW) * SW + winner % KW * DW - PW
    return out, (row * W + column).astype(np.int32)


def _first_tap_inside(geometry: Geometry) -> NDArray[np.intp]:
    """Find, for every output place, the first tap that is not border: (OH, OW)."""

    def first(places: int, stride: int, padding: int, dilation: int) -> Any:
        border = np.maximum(padding - np.arange(places) * stride, 0)  # pixels
        return -(-border // dilation)  # taps, rounded up

    (_, KW), (SH, SW), (PH, PW), (DH, DW) = geometry[1:5]
    OH, OW = geometry.output_size
    rows, columns = first(OH, SH, PH, DH), first(OW, SW, PW, DW)
    return np.asarray(rows[:, None] * KW + columns, np.intp)


def max_pool2d_grad(
    grad_output: Array, winners: NDArray[np.int32], geometry: Geometry
) -> Array:
    """Hand each window's gradient to its winner; windows overlap: (N, C, H, W)."""
    N, C = grad_output.shape[:2]
    H, W = geometry.input_size
    grad_planes = np.zeros((N * C, H * W), grad_output.dtype)
    plane = np.arange(N * C)[:, None]
    pairs = (plane, winners.reshape(N * C, -1))
    np.add.at(grad_planes, pairs, grad_output.reshape(N * C, -1))
    return grad_planes.reshape(N, C, H, W)


def avg_pool2d(x: Array, divisor: Array, geometry: Geometry) -> Array:
    """Add up every window and divide by `divisor` (OH, OW): (N, C, OH, OW)."""
    KH, KW = geometry.kernel_size
    padded = pad(x, geometry.padding, overhang=geometry.overhang)
    total = np.zeros((*x.shape[:2], *geometry.output_size), x.dtype)
    for i in range(KH):
        for j in range(KW):
            total += window(padded, i, j, geometry)
    return total / divisor


def avg_pool2d_grad(grad_output: Array, divisor: Array, geometry: Geometry) -> Array:
    """Give every pixel of a window its share of the gradient: (N, C, H, W)."""
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    (KH, KW), (EH, EW) = geometry.kernel_size, geometry.overhang
    share = grad_output / divisor
    padded_size = H + 2 * PH + EH, W + 2 * PW + EW
    padded = np.zeros((*share.shape[:2], *padded_size), share.dtype)
    for i in range(KH):
        for j in range(KW):
            window(padded, i, j, geometry)[...] += share
    return crop(padded, geometry)


def adaptive_bins(length: int, bins: int) -> list[tuple[int, int]]:
    """Cut `length` pixels into `bins` half-open intervals, as PyTorch does.

    Bin i is floor(i*length/bins) ... ceil((i+1)*length/bins): neighbours share
    pixels where `bins` does not divide `length`.
    """
    return [
        (i * length // bins, -(-(i + 1) * length // bins))  # -(-a // b): ceiling
        for i in range(bins)
    ]


def adaptive_avg_pool2d(x: Array, output_size: Pair) -> Array:
    """Average over the bins of `adaptive_bins`: (N, C, OH, OW)."""
    H, W = x.shape[2:]
    out = np.empty((*x.shape[:2], *output_size), x.dtype)
    for i, (top, bottom) in enumerate(adaptive_bins(H, output_size[0])):
        for j, (left, right) in enumerate(adaptive_bins(W, output_size[1])):
            out[:, :, i, j] = x[:, :, top:bottom, left:right].mean(axis=(2, 3))
    return out


def adaptive_avg_pool2d_grad(grad_output: Array, input_size: Pair) -> Array:
    """Spread each bin's gradient evenly over its pixels; bins overlap: (N, C, H, W)."""
    H, W = input_size
    OH, OW = grad_output.shape[2:]
    grad_input = np.zeros((*grad_output.shape[:2], H, W), grad_output.dtype)
    for i, (top, bottom) in enumerate(adaptive_bins(H, OH)):
        for j, (left, right) in enumerate(adaptive_bins(W, OW)):
            area = (bottom - top) * (right - left)
            share = grad_output[:, :, i, j] / area
            grad_input[:, :, top:bottom, left:right] += share[:, :, None, None]
    return grad_input


# ------------------------------------------------------------- batch norm
# Per-channel vectors (C,) meet planes (N, C, H, W) as v[:, None, None].


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of each channel over (N, H, W): two vectors (C,).

    Two passes, summed in float64: E[x^2] - E[x]^2 in float32 would lose the digits
    that matter.
    """
    mean = x.mean(axis=(0, 2, 3), dtype=np.float64)
    centred = x - mean[:, None, None]
    variance = (centred * centred).mean(axis=(0, 2, 3))
    return mean.astype(x.dtype), variance.astype(x.dtype)


def batch_norm_normalize(
    x: Array, mean: Array, inverse_std: Array, weight: Array, bias: Array
) -> Array:
    """Return weight * (x - mean) * inverse_std + bias: (N, C, H, W)."""
    scale = (weight * inverse_std)[:, None, None]
    return (x - mean[:, None, None]) * scale + bias[:, None, None]


def batch_norm_grad_sums(
    grad_output: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array]:
    """Sum grad_output, and grad_output * x_hat, over (N, H, W): two vectors (C,)."""
    x_hat = (x - mean[:, None, None]) * inverse_std[:, None, None]
    total = grad_output.sum(axis=(0, 2, 3), dtype=np.float64)
    total_x_hat = (grad_output * x_hat).sum(axis=(0, 2, 3), dtype=np.float64)
    return total.astype(x.dtype), total_x_hat.astype(x.dtype)


def batch_norm_grad_input(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    scale: Array,
    mean_grad: Array,
    mean_grad_x_hat: Array,
) -> Array:
    """Return scale * (grad_output - mean_grad - x_hat * mean_grad_x_hat).

    All but the first two are vectors (C,); the result is (N, C, H, W).
    """
    x_hat = (x - mean[:, None, None]) * inverse_std[:, None, None]
    centred = grad_output - mean_grad[:, None, None]
    along_x_hat = x_hat * mean_grad_x_hat[:, None, None]
    return (centred - along_x_hat) * scale[:, None, None]


# ------------------------------------------------- addition and activation


def add(a: Array, b: Array) -> Array:
    """Add two arrays of the same shape: branch and shortcut, forward or backward."""
    return a + b


def relu(x: Array) -> tuple[Array, Bits]:
    """Return max(x, 0) for an array of any shape, and its mask; NaN stays NaN.

    The mask is 1 where x was positive (or NaN), 0 where nothing passes: see `packed`.
    """
    positive = ~(x <= 0)
    return np.where(positive, x, x.dtype.type(0)), packed(positive)


def relu_grad(grad_output: Array, mask: Bits) -> Array:
    """Let the gradient through where the mask is 1 (so: none at x = 0)."""
    positive = unpacked(mask, grad_output.shape)
    return np.where(positive, grad_output, grad_output.dtype.type(0))


def packed(truths: NDArray[np.bool_]) -> Bits:
    """Put an array's truths into bits, eight to a byte: (ceil(size/8),).

    Images (N, C, H, W) go pixel by pixel, with a pixel's channels side by side; other
    arrays in C order. The first truth is a byte's lowest bit.
    """
    in_order = truths.transpose(0, 2, 3, 1) if truths.ndim == 4 else truths
    return np.packbits(in_order, axis=None, bitorder="little")


def unpacked(bits: Bits, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Get the truths back that `packed` has put into bits, in an array of a shape."""
    truths = np.unpackbits(bits, count=math.prod(shape), bitorder="little").view(bool)
    if len(shape) != 4:
        return truths.reshape(shape)
    N, C, H, W = shape
    return truths.reshape(N, H, W, C).transpose(0, 3, 1, 2)


# ------------------------------------------------- shortcut and optimiser


def zero_pad_shortcut(x: Array, out_channels: int, first: int, stride: int) -> Array:
    """Take every stride-th pixel; channel c of x becomes channel first + c.

    Returns (N, out_channels, ceil(H/stride), ceil(W/stride)): the rest is zero.
    """
    N, C, H, W = x.shape
    out = np.zeros((N, out_channels, -(-H // stride), -(-W // stride)), x.dtype)
    out[:, first : first + C] = x[:, :, ::stride, ::stride]
    return out


def zero_pad_shortcut_grad(
    grad_output: Array, x_shape: tuple[int, ...], first: int, stride: int
) -> Array:
    """Bring gradients back to the pixels of x that were taken: (N, C, H, W)."""
    grad_x = np.zeros(x_shape, grad_output.dtype)
    taken = grad_output[:, first : first + x_shape[1]]
    grad_x[:, :, ::stride, ::stride] = taken
    return grad_x


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
    """Move `data` one step, and `velocity` with it, in place; all of one shape.

    Without momentum there is no velocity, and that array is not looked at.
    """
    direction: Array = data * weight_decay + grad
    if momentum:
        velocity *= momentum
        velocity += keep * direction
        direction = velocity * momentum + direction if nesterov else velocity
    data -= direction * lr


# ------------------------------------------------- several of these as one pass
# For `npresnet.backend.fused`; what each does is written as what it puts together.


def fused_conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    residual: Array | None,
    rectify: bool,
    geometry: Geometry,
) -> Array:
    """Do what follows a convolution at inference along with it: (N, K, OH, OW).

    Batch norm folded into weight and bias (K,), the shortcut's addition (of `residual`,
    of the output's shape), and the ReLU.
    """
    out = conv2d(x, weight, geometry) + bias[:, None, None]
    if residual is not None:
        out = out + residual
    return relu(out)[0] if rectify else out


def conv2d_grad_input_add(
    grad_output: Array, weight: Array, other: Array, geometry: Geometry
) -> Array:
    """Add another gradient (N, C, H, W) to that of a convolution's input."""
    return add(conv2d_grad_input(grad_output, weight, geometry), other)


def batch_norm_relu(
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
    residual: Array | None = None,
) -> Array:
    """Normalise, add the shortcut (of the shape of x) if there is one, rectify."""
    out = batch_norm_normalize(x, mean, inverse_std, weight, bias)
    return relu(out if residual is None else add(out, residual))[0]


def batch_norm_relu_grad_sums(
    grad_output: Array, out: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array, Array]:
    """Go back through the ReLU that gave `out`; return that gradient and its sums.

    Below the ReLU, the gradient is that of the normalised x and of the residual alike:
    (N, C, H, W). The sums are those of `batch_norm_grad_sums`: two vectors (C,).
    """
    grad_sum = relu_grad_below(grad_output, out)
    return grad_sum, *batch_norm_grad_sums(grad_sum, x, mean, inverse_std)


def rectified_batch_norm_grad_sums(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
) -> tuple[Array, Array]:
    """Sum as `batch_norm_grad_sums` does, below a ReLU without a residual.

    What the ReLU gave follows from x, so it need not have been kept.
    """
    out = batch_norm_relu(x, mean, inverse_std, weight, bias)
    return batch_norm_grad_sums(relu_grad_below(grad_output, out), x, mean, inverse_std)


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
    out = batch_norm_relu(x, mean, inverse_std, weight, bias)
    return batch_norm_grad_input(
        relu_grad_below(grad_output, out),
        x,
        mean,
        inverse_std,
        weight * inverse_std,
        mean_grad,
        mean_grad_x_hat,
    )


def relu_grad_below(grad_output: Array, out: Array) -> Array:
    """Go back through the ReLU that gave `out`, which is 0 where it was closed."""
    return np.where(out <= 0, out.dtype.type(0), grad_output)
