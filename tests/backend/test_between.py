"""Short vectors by kernels: the bits that NumPy's lines leave."""

import numpy as np
import pytest

from npresnet.backend import between

SIZES = [1, 3, 64, 1000]


@pytest.fixture(params=SIZES)
def vectors(request, dtype):
    """Seven vectors, of all sizes of numbers, and none of them negative."""
    rng = np.random.default_rng(request.param)
    return np.exp(3 * rng.standard_normal((7, request.param))).astype(dtype)


def test_inverse_std(vectors):
    for eps in (1e-5, 1e-3, 0.1):
        expected = 1 / np.sqrt(vectors[0] + eps)
        found = between.inverse_std(vectors[0], eps)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [2, 7, 4096, 131_071])
def test_batch_norm_grad_factors(vectors, count):
    weight, inverse_std, total, total_x_hat = vectors[:4]
    expected = weight * inverse_std, total / count, total_x_hat / count
    found = between.batch_norm_grad_factors(
        weight, inverse_std, total, total_x_hat, count
    )
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.37, 1.0, None])
@pytest.mark.parametrize("count", [2, 7, 131_071])
def test_running_statistics(vectors, share, count):
    mean, var, new, variance = vectors[:4].copy()
    tracked = np.array(4, np.int64)
    weight = 1 / (int(tracked) + 1) if share is None else share
    unbiased = variance * (count / (count - 1))
    expected = (
        (1 - weight) * mean + weight * new,
        (1 - weight) * var + weight * unbiased,
    )
    between.move_running_statistics(mean, var, tracked, new, variance, count, share)
    np.testing.assert_array_equal(mean, expected[0])
    np.testing.assert_array_equal(var, expected[1])
    assert tracked == 5


@pytest.mark.parametrize("shape", [(1, 1), (3, 10), (128, 10), (7, 1000)])
def test_rows(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    row = rng.standard_normal(shape[1]).astype(dtype)
    np.testing.assert_array_equal(between.sum_rows(x), x.sum(axis=0))
    expected = x + row
    between.add_row(x, row)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_settings_in_an_array_are_those_of_an_update(dtype, rng, momentum, nesterov):
    arrays = rng.standard_normal((3, 5, 7)).astype(dtype)
    others = arrays.copy()
    settings = 0.1, momentum, 0.75, 5e-4
    from npresnet.backend import kernels

    kernels.sgd_update(*arrays, *settings, nesterov)
    between.sgd_update_by(*others, np.array(settings), nesterov)
    np.testing.assert_array_equal(arrays, others)
