"""Batch norm with the ReLU behind it, and the addition between: one pass, not three.

The arithmetic is that of the separate passes, in the same order: the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.elementwise import flat, relu_grad_below, room_like
from npresnet.backend.kernels.norm import (
    add_products,
    add_two_products,
    empty_sums,
    fold,
    repeated,
    repeated_product,
    segments,
    totals,
)
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]


def batch_norm_relu(
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
    residual: Array | None = None,
) -> Array:
    """See `reference.batch_norm_relu`."""
    out, row = room_like(x)
    vectors = tuple(map(dense, (mean, inverse_std, weight, bias)))
    segment, length, count = segments(x.size, x.shape[1])
    if residual is None:
        parallel_for(_normalize_relu, count, row, flat(x), *vectors, segment, length)
    else:
        images = row, flat(x), flat(residual)
        parallel_for(_normalize_add_relu, count, *images, *vectors, segment, length)
    return out


def batch_norm_relu_grad_sums(
    grad_output: Array, out: Array, x: Array, mean: Array, inverse_std: Array
) -> tuple[Array, Array, Array]:
    """See `reference.batch_norm_relu_grad_sums`."""
    mean, inverse_std = dense(mean), dense(inverse_std)
    grad_sum, row = room_like(x)
    segment, length, count = segments(x.size, x.shape[1])
    sums, products = empty_sums(count, x.shape[1])
    images = row, flat(grad_output), flat(out), flat(x)
    parallel_for(_mask_and_sum, count, sums, products, *images, mean, segment, length)
    return grad_sum, *totals(sums, products, lambda: grad_sum, x, mean, inverse_std)


def rectified_batch_norm_grad_sums(
    grad_output: Array,
    x: Array,
    mean: Array,
    inverse_std: Array,
    weight: Array,
    bias: Array,
) -> tuple[Array, Array]:
    """See `reference.rectified_batch_norm_grad_sums`."""
    vectors = tuple(map(dense, (mean, inverse_std, weight, bias)))
    segment, length, count = segments(x.size, x.shape[1])
    sums, products = empty_sums(count, x.shape[1])
    images = flat(grad_output), flat(x)
    parallel_for(
        _rectified_sums, count, sums, products, *images, *vectors, segment, length
    )

    def masked() -> Array:
        return relu_grad_below(grad_output, batch_norm_relu(x, *vectors))

    return totals(sums, products, masked, x, *vectors[:2])


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
    """See `reference.rectified_batch_norm_grad_input`."""
    grad_input, row = room_like(x)
    affine = mean, inverse_std, weight, bias
    vectors = tuple(map(dense, (*affine, mean_grad, mean_grad_x_hat)))
    segment, length, count = segments(x.size, x.shape[1])
    images = row, flat(grad_output), flat(x)
    parallel_for(_rectified_grad_input, count, *images, *vectors, segment, length)
    return grad_input


@kernel
def _normalize_relu(
    out, x, mean, inverse_std, weight, bias, segment, length, first, last
):
    zero = x.dtype.type(0)
    mean, bias = repeated(mean, segment), repeated(bias, segment)
    scale = repeated_product(weight, inverse_std, segment)
    out, x = out[first * length : last * length], x[first * length : last * length]
    for begin in range(0, len(x), segment):
        row, target = x[begin : begin + segment], out[begin : begin + segment]
        for i in range(len(row)):
            value = (row[i] - mean[i]) * scale[i] + bias[i]
            target[i] = zero if value <= zero else value


@kernel
def _normalize_add_relu(
    out, x, residual, mean, inverse_std, weight, bias, segment, length, first, last
):
    zero = x.dtype.type(0)
    mean, bias = repeated(mean, segment), repeated(bias, segment)
    scale = repeated_product(weight, inverse_std, segment)
    out, x = out[first * length : last * length], x[first * length : last * length]
    residual = residual[first * length : last * length]
    for begin in range(0, len(x), segment):
        row, target = x[begin : begin + segment], out[begin : begin + segment]
        added = residual[begin : begin + segment]
        for i in range(len(row)):
            value = ((row[i] - mean[i]) * scale[i] + bias[i]) + added[i]
            target[i] = zero if value <= zero else value


@kernel
def _mask_and_sum(
    sums, products, grad_sum, grad_output, out, x, mean, segment, length, first, last
):
    mean = repeated(mean, segment)
    segment_sums, segment_products = (
        np.empty(segment, np.float64),
        np.empty(segment, np.float64),
    )
    for b in range(first, last):
        segment_sums[:] = 0
        segment_products[:] = 0
        masked = grad_sum[b * length : (b + 1) * length]
        grad = grad_output[b * length : (b + 1) * length]
        gate, block = (
            out[b * length : (b + 1) * length],
            x[b * length : (b + 1) * length],
        )
        twos = len(block) // (2 * segment) * (2 * segment)
        for i in range(0, twos, 2 * segment):
            both = masked[i : i + 2 * segment]
            _mask(both, grad[i : i + 2 * segment], gate[i : i + 2 * segment])
            two = block[i : i + 2 * segment].reshape(2, segment)
            add_two_products(
                segment_sums, segment_products, both.reshape(2, segment), two, mean
            )
        for i in range(twos, len(block), segment):
            one = masked[i : i + segment]
            _mask(one, grad[i : i + segment], gate[i : i + segment])
            add_products(
                segment_sums, segment_products, one, block[i : i + segment], mean
            )
        fold(sums[b], segment_sums)
        fold(products[b], segment_products)


@kernel
def _mask(masked, grad, gate):
    zero = gate.dtype.type(0)
    for i in range(len(masked)):
        masked[i] = zero if gate[i] <= zero else grad[i]


@kernel
def _rectified_sums(
    sums,
    products,
    grad_output,
    x,
    mean,
    inverse_std,
    weight,
    bias,
    segment,
    length,
    first,
    last,
):
    mean, bias = repeated(mean, segment), repeated(bias, segment)
    scale = repeated_product(weight, inverse_std, segment)
    segment_sums, segment_products = (
        np.empty(segment, np.float64),
        np.empty(segment, np.float64),
    )
    masked = np.empty(segment, x.dtype)
    for b in range(first, last):
        segment_sums[:] = 0
        segment_products[:] = 0
        grad = grad_output[b * length : (b + 1) * length]
        block = x[b * length : (b + 1) * length]
        twos = len(block) // (2 * segment) * (2 * segment)
        for i in range(0, twos, 2 * segment):
            grad_two = grad[i : i + 2 * segment].reshape(2, segment)
            two = block[i : i + 2 * segment].reshape(2, segment)
            _add_two_rectified(
                segment_sums, segment_products, grad_two, two, mean, scale, bias
            )
        for i in range(twos, len(block), segment):
            one = block[i : i + segment]
            kept = masked[: len(one)]
            _mask_again(kept, grad[i : i + segment], one, mean, scale, bias)
            add_products(segment_sums, segment_products, kept, one, mean)
        fold(sums[b], segment_sums)
        fold(products[b], segment_products)


@kernel
def _add_two_rectified(sums, products, grads, rows, mean, scale, bias):
    """Mask, and do as `add_two_products` does, in one loop."""
    zero = rows.dtype.type(0)
    grad, other_grad = grads[0], grads[1]
    row, other_row = rows[0], rows[1]
    for i in range(len(mean)):
        d, e = row[i] - mean[i], other_row[i] - mean[i]
        g = np.float64(zero if d * scale[i] + bias[i] <= zero else grad[i])
        h = np.float64(zero if e * scale[i] + bias[i] <= zero else other_grad[i])
        sums[i] += g + h
        products[i] += g * d + h * e


@kernel
def _mask_again(masked, grad, x, mean, scale, bias):
    """Stop the gradient where the ReLU did, which is found out anew."""
    zero = x.dtype.type(0)
    for i in range(len(masked)):
        value = (x[i] - mean[i]) * scale[i] + bias[i]
        masked[i] = zero if value <= zero else grad[i]


@kernel
def _rectified_grad_input(
    grad_input,
    grad_output,
    x,
    mean,
    inverse_std,
    weight,
    bias,
    mean_grad,
    mean_grad_x_hat,
    segment,
    length,
    first,
    last,
):
    zero = x.dtype.type(0)
    mean, bias = repeated(mean, segment), repeated(bias, segment)
    scale = repeated_product(weight, inverse_std, segment)
    mean_grad = repeated(mean_grad, segment)
    slope = repeated_product(inverse_std, mean_grad_x_hat, segment)
    grad_input = grad_input[first * length : last * length]
    grad_output = grad_output[first * length : last * length]
    x = x[first * length : last * length]
    for begin in range(0, len(x), segment):
        row, grad = x[begin : begin + segment], grad_output[begin : begin + segment]
        target = grad_input[begin : begin + segment]
        for i in range(len(row)):
            centred = row[i] - mean[i]
            value = centred * scale[i] + bias[i]
            masked = zero if value <= zero else grad[i]
            target[i] = (masked - mean_grad[i] - centred * slope[i]) * scale[i]
