"""One pass over memory gives what the passes that it replaces give, bit for bit."""

import numpy as np
import pytest

from npresnet.backend import kernels
from tests.oracle.compare import normal

SHAPES = [
    (4, 3, 5, 7),
    (2, 37, 19, 23),
    (9, 64, 8, 8),
    (3, 2053, 3, 2),
    (40, 16, 33, 32),  # several blocks, the last one shorter
]


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def images(rng, count, shape, dtype):
    return [normal(rng, *shape).astype(dtype) for _ in range(count)]


def vectors(rng, shape, dtype):
    """Mean, inverse_std, weight and bias."""
    return [normal(rng, shape[1]).astype(dtype) for _ in range(4)]


def assert_same_bits(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert one.tobytes() == other.tobytes()


def test_batch_norm_and_relu(shape, dtype, rng):
    (x,), channels = images(rng, 1, shape, dtype), vectors(rng, shape, dtype)
    expected, _ = kernels.relu(kernels.batch_norm_normalize(x, *channels))
    assert_same_bits([kernels.batch_norm_relu(x, *channels)], [expected])


def test_batch_norm_and_addition_and_relu(shape, dtype, rng):
    (x, residual), channels = images(rng, 2, shape, dtype), vectors(rng, shape, dtype)
    branch = kernels.batch_norm_normalize(x, *channels)
    expected, _ = kernels.relu(kernels.add(branch, residual))
    assert_same_bits([kernels.batch_norm_relu(x, *channels, residual)], [expected])


def test_back_through_relu_and_the_sums_of_batch_norm(shape, dtype, rng):
    x, residual, grad_output = images(rng, 3, shape, dtype)
    channels = vectors(rng, shape, dtype)
    out = kernels.batch_norm_relu(x, *channels, residual)
    statistics = channels[:2]
    branch = kernels.batch_norm_normalize(x, *channels)
    _, mask = kernels.relu(kernels.add(branch, residual))
    grad_sum = kernels.relu_grad(grad_output, mask)
    sums = kernels.batch_norm_grad_sums(grad_sum, x, *statistics)
    actual = kernels.batch_norm_relu_grad_sums(grad_output, out, x, *statistics)
    assert_same_bits(actual, [grad_sum, *sums])


def test_back_through_relu_whose_output_was_not_kept(shape, dtype, rng):
    (x, grad_output), channels = (
        images(rng, 2, shape, dtype),
        vectors(rng, shape, dtype),
    )
    mean, inverse_std, weight, _ = channels
    _, mask = kernels.relu(kernels.batch_norm_normalize(x, *channels))
    grad = kernels.relu_grad(grad_output, mask)
    sums = kernels.batch_norm_grad_sums(grad, x, mean, inverse_std)
    actual = kernels.rectified_batch_norm_grad_sums(grad_output, x, *channels)
    assert_same_bits(actual, sums)
    scale = weight * inverse_std
    expected = kernels.batch_norm_grad_input(grad, x, mean, inverse_std, scale, *sums)
    actual = kernels.rectified_batch_norm_grad_input(grad_output, x, *channels, *sums)
    assert_same_bits([actual], [expected])


def test_not_a_number_goes_through(dtype):
    x = np.array([-1, np.nan, 1], dtype).reshape(1, 1, 1, 3)
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    out = kernels.batch_norm_relu(x, zero, one, one, zero)
    assert np.array_equal(out.ravel(), np.array([0, np.nan, 1]), equal_nan=True)
    grad_sum, *_ = kernels.batch_norm_relu_grad_sums(x, out, x, zero, one)
    assert np.array_equal(grad_sum.ravel(), np.array([0, np.nan, 1]), equal_nan=True)
