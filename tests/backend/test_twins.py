"""The two backends are one specification: same names, signatures and results."""

import copy
import functools
import inspect
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import backend as backends
from npresnet.backend import OPERATIONS, Geometry, kernels, reference
from tests.functional import test_conv, test_pool
from tests.oracle.compare import distance, largest, normal, tied

# Of the size of a result, which is at least that of its terms: see compare.py.
RTOL = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 2e-6}

# Nothing is added up in these, or always in the same order.
EXACT = {"add", "max_pool2d", "max_pool2d_grad", "relu", "relu_grad"}


class Setting(NamedTuple):
    """Random shapes, one for each kind of operation."""

    conv: test_conv.Case
    pool: test_pool.Case
    linear: tuple[int, int, int]
    bins: tuple[int, int]


settings = st.builds(
    Setting,
    conv=test_conv.cases(),
    pool=test_pool.cases(dilated=True),
    linear=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 12)),
    bins=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
LARGE = Setting(
    test_conv.HARD["37 to 19 channels"],
    test_pool.HARD["37 channels"],
    (17, 129, 67),
    (4, 5),
)


def arguments(name, setting, rng, draw):
    """Invent arguments for an operation; floating point ones in float64."""
    conv, pool = setting.conv, setting.pool
    conv_geometry = Geometry.of(conv.x[2:], conv.weight[2:], **conv.options)
    stride = pool.kernel_size if pool.stride is None else pool.stride
    pool_geometry = Geometry.of(
        pool.x[2:],
        pool.kernel_size,
        stride,
        pool.padding,
        pool.dilation,
        ceil_mode=pool.ceil_mode,
    )
    N, C = pool.x[:2]
    pooled = (N, C, *pool_geometry.output_size)
    x, weight = draw(rng, *conv.x), draw(rng, *conv.weight)
    grad_conv = normal(rng, conv.x[0], conv.weight[0], *conv_geometry.output_size)
    shift = normal(rng, conv.weight[0])
    batch, fan_in, fan_out = setting.linear
    vectors = [normal(rng, C) for _ in range(5)]
    plane = draw(rng, *pool.x)
    (H, W), step = pool.x[2:], pool_geometry.stride[0]
    moved = [normal(rng, *conv.weight) for _ in range(3)]
    # An undilated window, as average pooling has.
    avg_geometry = Geometry.of(
        pool.x[2:], (1, 1), stride, pool.padding, ceil_mode=pool.ceil_mode
    )
    divisor = 1 + np.abs(normal(rng, *avg_geometry.output_size))
    averaged = (N, C, *avg_geometry.output_size)
    winners = reference.max_pool2d(plane, pool_geometry)[1]
    rows, columns = normal(rng, batch, fan_in), normal(rng, fan_out, fan_in)
    grad_rows = normal(rng, batch, fan_out)
    return {
        "conv2d": (x, weight, conv_geometry),
        "conv2d_grad_input": (grad_conv, weight, conv_geometry),
        "conv2d_grad_weight": (grad_conv, x, conv_geometry),
        "fused_conv2d": (x, weight, shift, grad_conv, True, conv_geometry),
        "linear": (rows, columns),
        "linear_grad_input": (grad_rows, columns),
        "linear_grad_weight": (grad_rows, rows),
        "max_pool2d": (plane, pool_geometry),
        "max_pool2d_grad": (normal(rng, *pooled), winners, pool_geometry),
        "avg_pool2d": (plane, divisor, avg_geometry),
        "avg_pool2d_grad": (normal(rng, *averaged), divisor, avg_geometry),
        "adaptive_avg_pool2d": (plane, setting.bins),
        "adaptive_avg_pool2d_grad": (normal(rng, N, C, *setting.bins), pool.x[2:]),
        "batch_norm_statistics": (plane,),
        "batch_norm_normalize": (plane, *vectors[:4]),
        "batch_norm_relu": (plane, *vectors[:4], normal(rng, *pool.x)),
        "batch_norm_relu_grad_sums": (
            normal(rng, *pool.x),
            reference.relu(plane),
            normal(rng, *pool.x),
            *vectors[:2],
        ),
        "batch_norm_grad_sums": (normal(rng, *pool.x), plane, *vectors[:2]),
        "batch_norm_grad_input": (normal(rng, *pool.x), plane, *vectors[:5]),
        "add": (normal(rng, *pool.x), plane),
        "rectified_batch_norm_grad_input": (
            normal(rng, *pool.x),
            plane,
            *vectors,
            normal(rng, C),
        ),
        "rectified_batch_norm_grad_sums": (normal(rng, *pool.x), plane, *vectors[:4]),
        "relu": (plane,),
        "relu_grad": (normal(rng, *pool.x), plane),
        "sgd_update": (*moved, 0.1, 0.9, 0.75, 5e-4, draw is tied),
        "zero_pad_shortcut": (plane, C + 3, 1, step),
        "zero_pad_shortcut_grad": (
            normal(rng, N, C + 3, -(-H // step), -(-W // step)),
            pool.x,
            2,
            step,
        ),
    }[name]


def cast(values, dtype):
    return [
        value.astype(dtype)
        if isinstance(value, np.ndarray) and value.dtype == np.float64
        else value
        for value in values
    ]


def results(twin, name, values):
    """Return what an operation gives, or what it has changed in place."""
    if name == "sgd_update":
        values = copy.deepcopy(values)
        getattr(twin, name)(*values)
        return values[0], values[2]
    result = getattr(twin, name)(*values)
    return result if isinstance(result, tuple) else (result,)


def assert_twins_agree(name, values, dtype):
    values = cast(values, dtype)
    expected, actual = (results(twin, name, values) for twin in (reference, kernels))
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        if name in EXACT:
            assert np.array_equal(one, other)
            continue
        size = max(1.0, largest(other)) * max(map(largest_of, values), default=1.0)
        assert distance(one, other) <= RTOL[one.dtype] * size


def largest_of(value):
    return max(1.0, largest(value)) if isinstance(value, np.ndarray) else 1.0


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("draw", [normal, tied], ids=["random", "ties"])
def test_twins_agree_on_larger_arrays(name, draw, dtype, rng):
    assert_twins_agree(name, arguments(name, LARGE, rng, draw), dtype)


@pytest.mark.parametrize("name", OPERATIONS)
@given(setting=settings, draw=st.sampled_from([normal, tied]))
def test_twins_agree_over_random_shapes(name, dtype, setting, draw):
    values = arguments(name, setting, np.random.default_rng(0), draw)
    assert_twins_agree(name, values, dtype)


@pytest.mark.parametrize("name", OPERATIONS)
def test_twins_have_the_same_signature(name):
    ours, theirs = getattr(kernels, name), getattr(reference, name)
    one, other = inspect.signature(ours), inspect.signature(theirs)
    assert list(one.parameters.values()) == list(other.parameters.values())


def test_the_kernels_offer_the_operations_and_nothing_else():
    assert sorted(kernels.__all__) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("name", "module"), [("reference", reference), ("numba", kernels)]
)
def test_the_switch_reaches_every_operation(name, module, monkeypatch):
    for operation in OPERATIONS:
        call = functools.partial(lambda *told: told, name, operation)
        monkeypatch.setattr(module, operation, call)
    with backends.using_backend(name):
        for operation in OPERATIONS:
            assert getattr(backends, operation)(1, 2) == (name, operation, 1, 2)


def test_the_switch_goes_back_even_after_an_error():
    before = backends.get_backend()
    with pytest.raises(KeyError), backends.using_backend("reference"):
        assert backends.get_backend() == "reference"
        raise KeyError
    assert backends.get_backend() == before


def test_an_unknown_backend_is_refused():
    before = backends.get_backend()
    with pytest.raises(ValueError, match="fortran"):
        backends.set_backend("fortran")
    assert backends.get_backend() == before


def test_the_number_of_threads_changes_no_bit(rng):
    geometry = Geometry.of((17, 19), (3, 3), 1, 1)
    x, weight = normal(rng, 9, 20, 17, 19), normal(rng, 24, 20, 3, 3)
    grad_output = normal(rng, 9, 24, 17, 19)
    before, results = backends.get_threads(), []
    try:
        for threads in (1, 2, 1):
            backends.set_threads(threads)
            results.append(
                (
                    kernels.conv2d(x, weight, geometry),
                    kernels.conv2d_grad_input(grad_output, weight, geometry),
                    kernels.conv2d_grad_weight(grad_output, x, geometry),
                    *kernels.batch_norm_statistics(x),
                )
            )
    finally:
        backends.set_threads(before)
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            assert np.array_equal(one, same)
