"""Constants: arrays that nobody can change, by whichever way they are reached."""

import copy
import gc
import pickle

import numpy as np
import pytest

from npresnet import backend
from npresnet.backend import constants


def test_a_constant_holds_the_numbers_of_then_in_their_shape(dtype, rng):
    array = rng.standard_normal((3, 4, 5)).astype(dtype)
    for source in (array, array.T, array[::-1, ::2], np.asfortranarray(array)):
        constant = backend.constant(source)
        np.testing.assert_array_equal(constant, source)
        assert type(constant) is np.ndarray and constant.dtype == dtype
        assert constant.flags.c_contiguous
    before = constant.copy()
    array *= 2
    np.testing.assert_array_equal(constant, before)


@pytest.mark.parametrize(
    "reach",
    [
        lambda a: a,
        lambda a: a[1:],
        lambda a: a.T,
        lambda a: a.reshape(-1),
        lambda a: a.view(np.uint8),
        lambda a: a.base if isinstance(a.base, np.ndarray) else a[:],
        np.asarray,
        np.lib.stride_tricks.as_strided,
        lambda a: np.frombuffer(a.base, a.dtype),
    ],
)
def test_no_way_to_a_constant_lets_anybody_write_or_thaw_it(reach):
    seen = reach(backend.constant(np.ones((3, 4))))
    with pytest.raises(ValueError, match="read-only"):
        seen[...] = 2
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        seen.flags.writeable = True
    assert memoryview(seen).readonly


def test_a_constant_of_a_constant_is_the_same_and_takes_no_memory():
    constant = backend.constant(np.ones(5))
    assert backend.constant(constant) is constant


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a,
        lambda a: _read_only(a),
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
        lambda a: np.frombuffer(bytearray(a.tobytes()), a.dtype).reshape(a.shape),
        lambda a: pickle.loads(pickle.dumps(backend.constant(a))),
        lambda a: copy.deepcopy(backend.constant(a)),
    ],
    ids=["writeable", "read-only", "bytes", "bytearray", "unpickled", "copied"],
)
def test_what_others_made_is_no_constant(make):
    assert constants.packings_of(make(np.ones((3, 4)))) is None


def test_only_the_numbers_in_their_own_order_are_the_constant():
    constant = backend.constant(np.arange(16.0).reshape(4, 4))
    whole = constants.packings_of(constant)
    assert whole is not None
    for view in (constant[:, :, None, None], constant.reshape(2, 8), constant[:]):
        assert constants.packings_of(view) is whole
    others = (
        constant[::-1],
        constant.T,
        constant[:2],
        constant.view(np.int64),
        np.broadcast_to(constant[:1], (4, 4)),
    )
    for view in others:
        assert constants.packings_of(view) is None


def test_nothing_outlives_a_constant():
    gc.collect()
    before = len(constants._packings)
    constant = backend.constant(np.ones(3))
    view = constant[None]
    del constant
    gc.collect()
    assert len(constants._packings) == before + 1  # the view holds it
    del view
    gc.collect()
    assert len(constants._packings) == before


def _read_only(array):
    array.flags.writeable = False
    return array
