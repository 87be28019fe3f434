"""One checksum of named arrays, and what files keep of it."""

import hashlib

import numpy as np
import pytest

from npresnet._digests import digest
from npresnet.training import checkpoint

A = np.arange(6, dtype="<f4").reshape(2, 3)
B = np.array(7, dtype="<i8")


def test_the_definition_is_the_one_that_files_keep():
    said = hashlib.sha256()
    said.update(b"facts")
    said.update(b"a <f4 (2, 3)" + A.tobytes())
    said.update(b"b <i8 ()" + B.tobytes())
    assert digest({"a": A, "b": B}, "facts") == said.hexdigest()
    assert digest({"a": A, "b": B}) == (
        "e11764c899c26c4b81490940909c6539bd0595b5e0fd44b2c11519daa80651b2"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"c": A, "b": B},
        {"b": B, "a": A},
        {"a": A},
        {"a": A.reshape(3, 2), "b": B},
        {"a": A.view("<i4"), "b": B},
        {"a": A.astype(">f4"), "b": B},
        {"a": -A, "b": B},
        {"a": A, "b": B.reshape(1)},
    ],
    ids=["name", "order", "fewer", "shape", "dtype", "bytes", "sign", "axis"],
)
def test_names_order_dtypes_shapes_and_values_count(other):
    assert digest(other) != digest({"a": A, "b": B})


@pytest.mark.parametrize(
    "laid_out",
    [np.asfortranarray(A), np.repeat(A, 2, axis=1)[:, ::2], A[::-1][::-1]],
    ids=["Fortran", "strided", "reversed twice"],
)
def test_strides_do_not_count(laid_out):
    assert digest({"a": laid_out}) == digest({"a": A})


@pytest.mark.parametrize("dtype", ["?", "<f2", "<f8", "<c16", "u1", ">i2"])
def test_arrays_of_every_kind_and_of_no_element_have_one(dtype):
    for shape in [(), (0,), (0, 3), (2, 3)]:
        array = np.ones(shape, dtype)
        said = f"a {np.dtype(dtype).str} {shape}".encode() + array.tobytes()
        assert digest({"a": array}) == hashlib.sha256(said).hexdigest()


def test_a_checkpoint_is_known_by_its_state_and_its_arrays_in_order_of_their_names():
    expected = digest({"a": A, "b": B}, "state")
    assert checkpoint._digest({"b": B, "a": A}, "state") == expected
