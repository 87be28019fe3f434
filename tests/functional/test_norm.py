"""Batch norm against PyTorch, training and frozen, and the conventions it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import (
    CONTIGUOUS,
    LAYOUTS,
    assert_as_accurate,
    assert_matches,
    check_parity,
    largest,
    normal,
    tied,
)

SHAPES = [
    (4, 3, 5, 6),
    (2, 1, 1, 1),
    (1, 1, 1, 2),
    (1, 4, 3, 3),
    (5, 2, 1, 1),
    (33, 5, 7, 7),
    (2, 37, 9, 11),
    (3, 64, 4, 4),
    (2, 3, 40, 41),
]


def draw_inputs(rng, shape, *, draw=normal, offset=0.0):
    C = shape[1]
    x = (draw(rng, *shape) + offset).astype(np.float32).astype(np.float64)
    return {"x": x, "weight": normal(rng, C), "bias": normal(rng, C)}


def draw_running(rng, C):
    """Return a running mean and a running variance, the latter positive."""
    return normal(rng, C), np.abs(normal(rng, C)) + 0.5


def sizes(inputs, grad_output, running, training, eps):
    """How large the terms are whose sums the results are: see compare.py."""
    x, weight, bias = (inputs[k] for k in ("x", "weight", "bias"))
    variance = x.var(axis=(0, 2, 3)) if training else running[1]
    inverse_std = 1 / np.sqrt(variance + eps)
    scale = np.abs(weight) * inverse_std
    x_size = np.abs(x).max(axis=(0, 2, 3))
    mean_size = np.zeros_like(x_size) if training else np.abs(running[0])
    root = np.sqrt((grad_output**2).sum(axis=(0, 2, 3)))
    return {
        "out": largest(scale * (x_size + mean_size)) + largest(bias),
        "grad_x": largest(scale) * largest(grad_output),
        "grad_weight": largest(root * inverse_std * (x_size + mean_size)),
        "grad_bias": largest(root),
    }


def parity(
    torch,
    inputs,
    running,
    training,
    dtype,
    rng,
    *,
    momentum=0.1,
    eps=1e-5,
    layout=CONTIGUOUS,
):
    options = {"training": training, "momentum": momentum, "eps": eps}
    updated = []

    def ours(inputs, grad_output):
        nonlocal updated
        given = [layout.arrange(array.astype(dtype)) for array in running]
        out, cache, *updated = functional.batch_norm_forward(
            **inputs, running_mean=given[0], running_var=given[1], **options
        )
        for before, after, array in zip(running, updated, given, strict=True):
            assert np.array_equal(array, before.astype(dtype)), "was changed in place"
            assert after.dtype == dtype
        names = ("grad_x", "grad_weight", "grad_bias")
        gradients = functional.batch_norm_backward(grad_output, cache)
        return {"out": out} | dict(zip(names, gradients, strict=True))

    def theirs(x, weight, bias):
        mean, var = (torch.tensor(array).to(x.dtype) for array in running)
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, **options)

    grad_output = normal(rng, *inputs["x"].shape)
    check_parity(
        torch,
        ours,
        theirs,
        inputs,
        dtype,
        rng,
        grad_output=grad_output,
        sizes=sizes(inputs, grad_output, running, training, eps),
        layout=layout,
    )
    assert_statistics_match(torch, inputs["x"], running, updated, options)


def assert_statistics_match(torch, x, running, updated, options):
    """Compare the running mean and the running variance after one forward pass."""

    def theirs(dtype):
        given = [torch.tensor(array.astype(dtype)) for array in running]
        torch.nn.functional.batch_norm(torch.tensor(x.astype(dtype)), *given, **options)
        return [tensor.numpy() for tensor in given]

    # The variance is a mean of squares of differences of numbers as large as x.
    momentum = options["momentum"] if options["training"] else 0.0
    spread = momentum * largest(x - x.mean(axis=(0, 2, 3), keepdims=True)) ** 2
    sizes = [momentum * largest(x) + largest(running[0]), spread + largest(running[1])]
    truth, yardstick = theirs(np.float64), theirs(np.float32)
    for name, actual, true, near, size in zip(
        ("running_mean", "running_var"), updated, truth, yardstick, sizes, strict=True
    ):
        if actual.dtype == np.float64:
            assert_matches(actual, true, name, size=size)
        else:
            assert_as_accurate(actual, near, true, name, size=size)


@pytest.mark.parametrize("training", [True, False], ids=["training", "frozen"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_matches_torch(torch, shape, training, backend, dtype, rng):
    inputs, running = draw_inputs(rng, shape), draw_running(rng, shape[1])
    parity(torch, inputs, running, training, dtype, rng)


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(2, 6)] * 2),
    training=st.booleans(),
    has_weight=st.booleans(),
    has_bias=st.booleans(),
    tracked=st.booleans(),
)
def test_batch_norm_matches_torch_without_some_of_its_vectors(
    torch, backend, dtype, shape, training, has_weight, has_bias, tracked
):
    rng = np.random.default_rng(0)
    tracked = tracked or not training
    drawn, running = draw_inputs(rng, shape), draw_running(rng, shape[1])
    there = {"x": True, "weight": has_weight, "bias": has_bias}
    inputs = {name: drawn[name] for name in there if there[name]}
    grad_output = normal(rng, *shape)

    def ours(inputs, grad_output):
        given = [array.astype(dtype) if tracked else None for array in running]
        arrays = dict.fromkeys(there) | inputs
        out, cache, *updated = functional.batch_norm_forward(
            **arrays, running_mean=given[0], running_var=given[1], training=training
        )
        assert all((array is None) == (not tracked) for array in updated)
        gradients = functional.batch_norm_backward(grad_output, cache)
        found = dict(zip(there, gradients, strict=True))
        assert {name for name in there if found[name] is not None} == set(inputs)
        return {"out": out} | {f"grad_{name}": found[name] for name in inputs}

    def theirs(x, weight=None, bias=None):
        given = [torch.tensor(a).to(x.dtype) if tracked else None for a in running]
        return torch.batch_norm(x, weight, bias, *given, training, 0.1, 1e-5, False)

    bound = sizes(
        drawn | {"weight": drawn["weight"] if has_weight else np.ones(shape[1])},
        grad_output,
        running,
        training,
        1e-5,
    )
    check_parity(
        torch,
        ours,
        theirs,
        inputs,
        dtype,
        rng,
        grad_output=grad_output,
        sizes=bound,
    )


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 9)] * 2),
    training=st.booleans(),
    momentum=st.sampled_from([0.0, 0.1, 0.7, 1.0]),
    eps=st.sampled_from([1e-5, 1e-3, 0.1]),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_batch_norm_matches_torch_over_random_shapes(
    torch, backend, dtype, shape, training, momentum, eps, draw, layout
):
    N, C, H, W = shape
    if training and N * H * W == 1:
        N = 2
    rng = np.random.default_rng(0)
    inputs = draw_inputs(rng, (N, C, H, W), draw=draw)
    parity(
        torch,
        inputs,
        draw_running(rng, C),
        training,
        dtype,
        rng,
        momentum=momentum,
        eps=eps,
        layout=layout,
    )


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
def test_a_large_mean_costs_no_more_digits_than_in_torch(
    torch, offset, backend, dtype, rng
):
    # E[x^2] - E[x]^2 in float32 would have none left.
    inputs = draw_inputs(rng, (8, 3, 6, 6), offset=offset)
    parity(torch, inputs, draw_running(rng, 3), True, dtype, rng)


def test_a_constant_channel_gives_the_bias(torch, backend, dtype, rng):
    inputs = draw_inputs(rng, (4, 3, 5, 5))
    inputs["x"][:, 1] = 0.75
    parity(torch, inputs, draw_running(rng, 3), True, dtype, rng)
    arrays = {name: array.astype(dtype) for name, array in inputs.items()}
    running = np.zeros(3, dtype), np.ones(3, dtype)
    out, *_ = functional.batch_norm_forward(
        **arrays, running_mean=running[0], running_var=running[1], training=True
    )
    assert np.all(out[:, 1] == arrays["bias"][1])


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.9, 1.0])
def test_running_statistics_match_torch(torch, momentum, backend, dtype, rng):
    inputs, running = draw_inputs(rng, (4, 3, 5, 6), offset=2.0), draw_running(rng, 3)
    parity(torch, inputs, running, True, dtype, rng, momentum=momentum)


def one_update(x, momentum, dtype):
    """Return what running statistics of 0 and 0 become."""
    C = x.shape[1]
    _, _, mean, var = functional.batch_norm_forward(
        x.astype(dtype),
        np.ones(C, dtype),
        np.zeros(C, dtype),
        np.zeros(C, dtype),
        np.zeros(C, dtype),
        training=True,
        momentum=momentum,
    )
    return mean, var


def test_running_var_is_unbiased(backend, dtype):
    x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)  # biased variance 1, unbiased 2
    _, var = one_update(x, 1.0, dtype)
    assert var == pytest.approx(2.0, rel=1e-6)


def test_the_output_is_normalised_with_the_biased_variance(backend):
    x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    one, zero = np.ones(1), np.zeros(1)
    out, *_ = functional.batch_norm_forward(
        x, one, zero, zero, one, training=True, eps=0.0
    )
    assert out.ravel() == pytest.approx([-1.0, 1.0], rel=1e-12)


def test_momentum_weighs_the_new_value(backend, dtype):
    x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    mean, var = one_update(x, 0.1, dtype)
    assert mean == pytest.approx(0.2, rel=1e-6)
    assert var == pytest.approx(0.2, rel=1e-6)


def test_statistics_are_taken_over_images_and_pixels(backend, rng):
    x = normal(rng, 3, 2, 4, 5)
    mean, var = one_update(x, 1.0, np.float64)
    assert_matches(mean, x.mean(axis=(0, 2, 3)), "mean", rtol=1e-13)
    assert_matches(var, x.var(axis=(0, 2, 3), ddof=1), "variance", rtol=1e-13)


def test_sums_are_kept_in_float64(backend, rng):
    # Many images: in float32 each one's sum would be rounded to the size of the total.
    x = (1000 + normal(rng, 3000, 2, 1, 3)).astype(np.float32)
    mean, var = one_update(x, 1.0, np.float32)
    exact = x.astype(np.float64)
    true_mean = exact.mean(axis=(0, 2, 3))
    true_var = exact.var(axis=(0, 2, 3), ddof=1)
    # Half a unit in the last place of 1000, and a few in that of 1.
    assert np.abs(mean - true_mean).max() <= 0.51 * np.spacing(np.float32(1000))
    assert np.abs(var / true_var - 1).max() <= 4 * np.finfo(np.float32).eps


def test_frozen_statistics_stay_as_they_are(backend, dtype, rng):
    arrays = {k: v.astype(dtype) for k, v in draw_inputs(rng, (4, 3, 5, 5)).items()}
    running = [array.astype(dtype) for array in draw_running(rng, 3)]
    _, _, *after = functional.batch_norm_forward(
        **arrays, running_mean=running[0], running_var=running[1], training=False
    )
    assert np.array_equal(after[0], running[0])
    assert np.array_equal(after[1], running[1])


def test_training_updates_are_new_arrays(backend, dtype, rng):
    arrays = {k: v.astype(dtype) for k, v in draw_inputs(rng, (4, 3, 5, 5)).items()}
    running = [array.astype(dtype) for array in draw_running(rng, 3)]
    _, _, *after = functional.batch_norm_forward(
        **arrays, running_mean=running[0], running_var=running[1], training=True
    )
    for old, new in zip(running, after, strict=True):
        assert not np.shares_memory(old, new)
        assert not np.array_equal(old, new)


def test_an_all_ones_gradient_gives_zero_and_so_tests_nothing(backend, rng):
    # Why every other test here draws its grad_output: the output's mean and variance
    # do not depend on x, so the sum of the outputs does not either.
    arrays = draw_inputs(rng, (4, 3, 5, 5))
    zeros, ones = np.zeros(3), np.ones(3)
    _, cache, *_ = functional.batch_norm_forward(
        **arrays, running_mean=zeros, running_var=ones, training=True
    )
    grad_x, _, _ = functional.batch_norm_backward(np.ones((4, 3, 5, 5)), cache)
    assert np.abs(grad_x).max() < 1e-14
    grad_x, _, _ = functional.batch_norm_backward(normal(rng, 4, 3, 5, 5), cache)
    assert np.abs(grad_x).max() > 0.1


def test_numpy_scalars_as_options_widen_nothing(backend, rng):
    arrays = {
        key: value.astype(np.float32)
        for key, value in draw_inputs(rng, (4, 3, 5, 5)).items()
    }
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    out, cache, mean, variance = functional.batch_norm_forward(
        **arrays,
        running_mean=zeros,
        running_var=ones,
        training=True,
        momentum=np.float64(0.1),
        eps=np.float64(1e-5),
    )
    assert {a.dtype for a in (out, cache.inverse_std, mean, variance)} == {ones.dtype}


@pytest.mark.parametrize("C", [1, 3])
def test_one_value_per_channel_cannot_be_trained_on(C, backend, dtype):
    x = np.ones((1, C, 1, 1), dtype)
    vector = np.ones(C, dtype)
    with pytest.raises(ValueError, match="more than one value per channel"):
        functional.batch_norm_forward(x, vector, vector, vector, vector, training=True)
    # ... as in PyTorch; but it can be predicted from.
    out, *_ = functional.batch_norm_forward(
        x, vector, vector, vector, vector, training=False
    )
    assert np.array_equal(out, np.ones_like(x))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("x", np.zeros((2, 3)), ValueError),
        ("x", np.zeros((2, 3, 4, 4), np.int64), TypeError),
        ("weight", np.zeros(4), ValueError),
        ("weight", np.zeros(3, np.float32), TypeError),
        ("bias", np.zeros((3, 1)), ValueError),
        ("bias", np.zeros(3, np.float32), TypeError),
        ("running_mean", np.zeros(2), ValueError),
        ("running_var", np.zeros(2), ValueError),
        ("running_var", np.zeros(3, np.float32), TypeError),
        ("running_var", None, ValueError),
        ("momentum", 1.5, ValueError),
        ("momentum", float("nan"), ValueError),
        ("eps", -1e-5, ValueError),
        ("eps", float("inf"), ValueError),
    ],
    ids=lambda value: "" if isinstance(value, type | np.ndarray) else value,
)
def test_bad_arguments_are_named(name, value, error, backend):
    arguments = {"x": np.zeros((2, 3, 4, 4))} | {
        key: np.ones(3) for key in ("weight", "bias", "running_mean", "running_var")
    }
    with pytest.raises(error, match=rf"\b{name}\b") as caught:
        functional.batch_norm_forward(**{**arguments, name: value}, training=True)
    assert "\n" not in str(caught.value)


def test_what_is_not_tracked_cannot_be_frozen(backend):
    x, vector = np.zeros((2, 3, 4, 4)), np.ones(3)
    with pytest.raises(ValueError, match="running_mean must be given"):
        functional.batch_norm_forward(x, vector, vector, None, None, training=False)


def test_a_gradient_of_the_wrong_shape_is_refused(backend):
    vector = np.ones(3)
    _, cache, *_ = functional.batch_norm_forward(
        np.zeros((2, 3, 4, 4)), vector, vector, vector, vector, training=True
    )
    with pytest.raises(ValueError, match="grad_output"):
        functional.batch_norm_backward(np.zeros((2, 3, 4, 5)), cache)
