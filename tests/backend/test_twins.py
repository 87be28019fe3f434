"""The two backends are one specification: same names, signatures and results."""

import copy
import functools
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import backend as backends
from npresnet.backend import Geometry, fused, kernels, reference
from tests.backend.families import OPERATIONS, arguments, family_of
from tests.oracle.compare import distance, largest, normal, tied

# Of the size of a result, which is at least that of its terms: see compare.py.
RTOL = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 2e-6}

# Nothing is added up in these, or always in the same order.
EXACT = {
    "add",
    "max_pool2d",
    "max_pool2d_grad",
    "relu",
    "relu_grad",
    "relu_grad_below",
}


def results(twin, name, values):
    """Return what an operation gives, or what it has changed in place."""
    if name == "sgd_update":
        values = copy.deepcopy(values)
        getattr(twin, name)(*values)
        return values[0], values[2]
    result = getattr(twin, name)(*values)
    return result if isinstance(result, tuple) else (result,)


def assert_twins_agree(name, values):
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
    large = family_of(name).large
    assert_twins_agree(name, arguments(name, large, rng, draw, dtype))


@pytest.mark.parametrize("name", OPERATIONS)
@given(data=st.data(), draw=st.sampled_from([normal, tied]))
def test_twins_agree_over_random_shapes(name, dtype, data, draw):
    setting = data.draw(family_of(name).settings)
    rng = np.random.default_rng(0)
    assert_twins_agree(name, arguments(name, setting, rng, draw, dtype))


def seam():
    """Find every operation that may run in two ways, and where it is offered."""
    return {
        name: room
        for room in (backends, fused)
        for name, value in vars(room).items()
        if inspect.isfunction(value) and value.__module__ == room.__name__
    }


def test_every_operation_is_in_one_family():
    assert sorted(seam()) == OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_twins_and_seam_have_the_same_signature(name):
    rooms = reference, kernels, seam()[name]
    reads, runs, offers = (inspect.signature(getattr(room, name)) for room in rooms)
    assert reads == runs == offers


@pytest.mark.parametrize(
    ("name", "module"), [("reference", reference), ("numba", kernels)]
)
def test_the_switch_reaches_every_operation(name, module, monkeypatch):
    for operation in OPERATIONS:
        call = functools.partial(lambda *told: told, name, operation)
        monkeypatch.setattr(module, operation, call)
    with backends.using_backend(name):
        for operation, room in seam().items():
            function = getattr(room, operation)
            given = range(len(inspect.signature(function).parameters))
            assert function(*given) == (name, operation, *given)


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
