"""Batch norm where numbers are not finite, or their squares are not."""

import warnings

import numpy as np
import pytest

import npresnet as nr
from npresnet import functional as f

SHAPE = (3, 4, 5, 3)
BAD = (np.nan, np.inf, -np.inf)


@pytest.fixture
def vectors(rng, dtype):
    weight, bias, mean = (rng.standard_normal(4).astype(dtype) for _ in range(3))
    return weight, bias, mean, rng.random(4).astype(dtype) + dtype(0.5)


@pytest.fixture
def images(rng, dtype):
    x = rng.standard_normal(SHAPE).astype(dtype)
    x[0, 0, 1, 2], x[1, 1, 0, 0], x[2, 2, 4, 1] = BAD  # the last channel is ordinary
    return x


@pytest.fixture(autouse=True)
def _numbers_that_are_not_finite_are_no_error():
    with np.errstate(all="ignore"):
        yield


def scale(vectors, eps=1e-5):
    weight, _, _, variance = vectors
    return (weight * (1 / np.sqrt(variance + weight.dtype.type(eps))))[:, None, None]


def close(actual, expected, dtype):
    np.testing.assert_allclose(
        actual, expected, rtol=8 * np.finfo(dtype).eps, atol=0, equal_nan=True
    )


def test_frozen_the_gradient_is_scaled_whatever_x_is(
    images, vectors, backend, rng, dtype
):
    grad = rng.standard_normal(SHAPE).astype(dtype)
    _, cache, _, _ = f.batch_norm_forward(images, *vectors, training=False)
    grad_x, _, grad_bias = f.batch_norm_backward(grad, cache)
    assert grad_x.dtype == dtype
    close(grad_x, grad * scale(vectors), dtype)
    close(grad_bias, grad.sum(axis=(0, 2, 3), dtype=np.float64), dtype)


def test_frozen_the_gradient_is_that_of_torch(
    images, vectors, backend, rng, dtype, torch
):
    grad = rng.standard_normal(SHAPE).astype(dtype)
    weight, bias, mean, variance = vectors
    _, cache, _, _ = f.batch_norm_forward(images, *vectors, training=False)
    grad_x, _, _ = f.batch_norm_backward(grad, cache)
    x = torch.from_numpy(images).requires_grad_()
    out = torch.nn.functional.batch_norm(
        x, *map(torch.from_numpy, (mean, variance, weight, bias)), training=False
    )
    out.backward(torch.from_numpy(grad))
    close(grad_x, x.grad.numpy(), dtype)


# Magnitudes of x whose squares, or the squares' sums, are beyond the dtype.
SIZES = {
    np.float32: (1e18, 3e18, 1e19, 2e19, 1e25, 1e36),
    np.float64: (1e152, 1e153, 5e153, 1.2e154, 2e154, 1e160, 1e200, 1e300),
}


def both(call):
    """Do the same with both backends."""
    results = []
    for name in ("reference", "numba"):
        with nr.using_backend(name):
            results.append(call())
    return results


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_squares_that_overflow_mean_the_same_in_both_backends(
    vectors, offset, rng, dtype
):
    for size in SIZES[dtype]:
        x = ((rng.standard_normal(SHAPE) + offset) * size).astype(dtype)
        x[:, 3] = rng.standard_normal((3, 5, 3))  # an ordinary channel beside them
        grad = rng.standard_normal(SHAPE).astype(dtype)

        def passes(x=x, grad=grad):
            out, cache, *running = f.batch_norm_forward(x, *vectors, training=True)
            return out, *running, *f.batch_norm_backward(grad, cache)

        for truth, result in zip(*both(passes), strict=True):
            assert not np.isnan(result).any()
            # of what the reference computes with; float32's sums are in float64
            np.testing.assert_array_equal(np.isinf(result), np.isinf(truth))
            finite = np.isfinite(truth)
            np.testing.assert_allclose(
                result[finite],
                truth[finite],
                rtol=200 * np.finfo(dtype).eps,
                atol=200 * np.finfo(dtype).eps * np.abs(truth[finite]).max(),
            )


def test_a_first_pixel_far_from_all_others_is_no_overflow_of_its_own():
    # The compiled sums are of distances from it; those from the mean are half as long.
    x = np.array([1e154, -0.6e154, 0.0, 0.1e154]).reshape(1, 1, 2, 2)
    one, zero = np.ones(1), np.zeros(1)
    reference, compiled = both(
        lambda: f.batch_norm_forward(x, one, zero, zero, one, training=True)[0]
    )
    assert np.abs(reference).max() > 1
    np.testing.assert_allclose(compiled, reference, rtol=1e-12)


@pytest.mark.parametrize("value", BAD)
def test_what_is_not_finite_means_the_same_in_both_backends(value, vectors, rng, dtype):
    x = rng.standard_normal(SHAPE).astype(dtype)
    grad = rng.standard_normal(SHAPE).astype(dtype)
    for place in ((0, 0, 0, 0), (1, 0, 2, 2)):  # the first pixel is a pivot
        bad = x.copy()
        bad[place] = value

        def passes(x=bad):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out, cache, *running = f.batch_norm_forward(x, *vectors, training=True)
                return out, *running, *f.batch_norm_backward(grad, cache)

        for truth, result in zip(*both(passes), strict=True):
            np.testing.assert_allclose(
                result, truth, rtol=1e-3, atol=1e-4, equal_nan=True
            )
