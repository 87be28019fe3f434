"""The unpickler of CIFAR-10's Python layout builds plain values and does nothing."""

import collections
import io
import pickle
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npresnet.data._pickle import loads

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.binary() | st.integers(), inner)
    ),
)


def refusal(data):
    with pytest.raises(ValueError) as raised:
        loads(data)
    text = str(raised.value)
    assert "\n" not in text and len(text) < 300
    return text


@given(plain, st.sampled_from([3, 4, 5]))
@settings(max_examples=60, deadline=None)
def test_plain_values_come_back_as_pickle_wrote_them(value, protocol):
    assert loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_protocols_are_read(protocol):
    value = {"a": [1, -2, 2**40, 2.5, None, True, "é"], "b": ((), (1,), (1, 2, 3, 4))}
    assert loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
        np.linspace(0, 1, 6).reshape(1, 2, 3),
        np.arange(4, dtype=">i4"),
        np.array([True, False]),
        np.zeros((0, 5), np.float32),
        np.array(7, np.uint16),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
@pytest.mark.parametrize("python", [2, 3])
def test_arrays_come_back(array, python, py2_pickle):
    data = py2_pickle(array) if python == 2 else pickle.dumps(array, 4)
    out = loads(data)
    np.testing.assert_array_equal(out, array)
    assert out.dtype == array.dtype


def test_an_array_may_be_referred_to_twice(py2_pickle):
    array = np.arange(5, dtype=np.uint8)
    one, other = loads(py2_pickle([array, array]))
    assert one is other
    np.testing.assert_array_equal(one, array)


def test_python_2_strings_keep_every_byte(py2_pickle):
    every = bytes(range(256))
    assert loads(py2_pickle([every]))[0].encode("latin-1") == every


# Programs that ask for more. Each is written by hand or by pickle itself.


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


SYSTEM = b"cos\nsystem\n(S'true'\ntR."


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (SYSTEM, "os.system"),
        (b"cposix\nsystem\n(S'true'\ntR.", "posix.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
        (
            b"\x80\x04\x8c\x05numpy\x8c\x14ndarray ndarray.dump\x93.",
            "numpy.ndarray.ndarray.dump",
        ),
        (pickle.dumps(Calls(print, "x"), 2), "__builtin__.print"),
        (pickle.dumps(collections.OrderedDict(a=1), 2), "collections.OrderedDict"),
        (pickle.dumps(np.float64(1.0), 2), "numpy._core.multiarray.scalar"),
    ],
)
def test_every_other_name_is_refused(data, name):
    assert refusal(data) == f"refused: it names {name}"


@pytest.mark.parametrize("wrap", [list, tuple, dict])
def test_a_name_is_refused_however_deep(wrap):
    value = Calls(print, "x")
    for _ in range(20):
        value = {"data": value} if wrap is dict else wrap([value])
    assert refusal(pickle.dumps(value, 4)) == "refused: it names builtins.print"


def test_what_a_pickle_names_is_not_even_imported(tmp_path, monkeypatch):
    witness = tmp_path / "witness"
    (tmp_path / "trap.py").write_text(
        f"import pathlib; pathlib.Path({str(witness)!r}).touch()\ndef go(): pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert refusal(b"ctrap\ngo\n(tR.") == "refused: it names trap.go"
    assert "trap" not in sys.modules and not witness.exists()
    with pytest.raises(TypeError):
        pickle.loads(b"ctrap\ngo\n(I1\ntR.")  # the trap itself works
    assert witness.exists()
    del sys.modules["trap"]


def test_a_name_behind_a_whole_batch_is_refused(py2_pickle):
    batch = py2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 0]})
    assert refusal(batch[:-1] + SYSTEM) == "refused: it names os.system"


@pytest.mark.parametrize(
    ("data", "instruction"),
    [
        (b"(S'true'\nios\nsystem\n.", "INST"),
        (b"(cnumpy\nndarray\nI1\no.", "OBJ"),
        (b"cnumpy\nndarray\n(I5\nt\x81.", "NEWOBJ"),
        (b"cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
        (b"\x82\x01.", "EXT1"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pname\n.", "PERSID"),
        (b"I1\nQ.", "BINPERSID"),
        (b"\x8f.", "EMPTY_SET"),
        (b"\x97.", "NEXT_BUFFER"),
    ],
)
def test_instructions_that_make_objects_are_refused(data, instruction):
    assert refusal(data).startswith(f"refused: instruction {instruction} at byte ")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = b"cnumpy\ndtype\n"
UINT8 = DTYPE + b"(S'u1'\nI0\nI1\ntR"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # Object arrays, the usual way to hide something in an array.
        (DTYPE + b"(S'O8'\nI0\nI1\ntR.", "calls dtype with ('O8', 0, 1)"),
        (DTYPE + b"(S'O'\nI0\nI1\ntR.", "calls dtype with ('O', 0, 1)"),
        (DTYPE + b"(S'V8'\nI0\nI1\ntR.", "calls dtype with ('V8', 0, 1)"),
        (DTYPE + b"(S'u1,O'\nI0\nI1\ntR.", "calls dtype with ('u1,O', 0, 1)"),
        (DTYPE + b"(S'f1'\nI0\nI1\ntR.", "calls dtype with ('f1', 0, 1)"),
        (DTYPE + b"(S'u1\\n'\nI0\nI1\ntR.", r"calls dtype with ('u1\n', 0, 1)"),
        (DTYPE + b"((lI0\nI1\ntR.", "calls dtype with (a list, 0, 1)"),
        (
            UINT8 + b"(I3\nS'|'\nN(S'a'\ntNI-1\nI-1\nI0\ntb.",
            "dtype with state (3, '|', None, a tuple, None, -1, -1, 0)",
        ),
        # _reconstruct of something else than an empty array.
        (
            RECONSTRUCT + b"(" + DTYPE + b"(I0\ntS'b'\ntR.",
            "calls _reconstruct with (dtype, a tuple, 'b')",
        ),
        (
            RECONSTRUCT + b"(cnumpy\nndarray\n(I1000000000\ntS'b'\ntR.",
            "calls _reconstruct with (ndarray, a tuple, 'b')",
        ),
        (RECONSTRUCT + b"(tR.", "calls _reconstruct with ()"),
        (b"cnumpy\nndarray\n(I5\ntR.", "calls ndarray with (5)"),
        (b"S'print'\n(I5\ntR.", "calls 'print' with (5)"),
        # States that do not fit.
        (EMPTY + b"}b.", "array with state a dict"),
        (
            EMPTY + b"(I1\n(I5\nt" + UINT8 + b"I0\nS'abc'\ntb.",
            "array of shape (5) and dtype uint8 made from 3 bytes",
        ),
        (
            EMPTY + b"(I1\n(I-1\nI-3\nt" + UINT8 + b"I0\nS'abc'\ntb.",
            "array of shape (-1, -3)",
        ),
        (
            EMPTY + b"(I1\n(I1\nt" + UINT8 + b"I0\n(lI1\natb.",
            "array made from a list",
        ),
        (
            EMPTY + b"(I1\n(" + b"I1\n" * 9 + b"t" + UINT8 + b"I0\nS'a'\ntb.",
            "array of shape a tuple and dtype uint8 made from 1 bytes",
        ),
        (b"cnumpy\nndarray\n}b.", "sets the state of ndarray"),
        (b"]}b.", "sets the state of a list"),
        # The three names are no values.
        (b"cnumpy\nndarray\n.", "ndarray used as a value"),
        (b"]cnumpy\nndarray\na.", "ndarray used as a value"),
        (b"}S'a'\n" + EMPTY + b"s.", "a ArrayUnderWay used as a value"),
        (b"}S'a'\n" + UINT8 + b"s.", "a DtypeUnderWay used as a value"),
        # Containers used as what they are not.
        (b"I1\nI2\na.", "appends to a int"),
        (b"](I1\nI2\nu.", "sets items of a list"),
        (b"}(I1\nu.", "sets items of a dict"),
        (b"}]I1\ns.", "a list as key of a dict"),
    ],
)
def test_arrays_and_containers_made_in_other_ways_are_refused(data, message):
    assert refusal(data) == f"refused: {message}"


def test_object_arrays_that_numpy_wrote_are_refused():
    array = np.array([Calls(print, "x")], dtype=object)
    assert refusal(pickle.dumps(array, 4)) == (
        "refused: calls dtype with ('O8', False, True)"
    )


def test_one_string_cannot_become_many_arrays():
    """A pickle of 100 kB that would otherwise fill 100 MB."""
    raw = b"X" + struct.pack("<i", 50_000) + b"a" * 50_000
    once = EMPTY + b"(I1\n(I50000\nt" + UINT8 + b"I0\ng1\ntba"
    data = raw + b"p1\n0]" + once * 2_000 + b"."
    assert "POP" in refusal(data)  # not even this is spoken here
    data = b"]" + raw + b"p1\na" + once * 2_000 + b"."
    assert refusal(data) == "refused: its arrays are larger than the pickle"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"N",
        b"I1\na.",
        b"t.",
        b"(.",
        b"g5\n.",
        b"\x85.",
        b"R.",
        b"b.",
        b"]\x94" + b"(" + b"\x86.",
        b"((0.",
        b"\xff\xff.",
        b"Ix\n.",
        b"X\xff\xff\xff\x7fabc.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"T\xff\xff\xff\xffabc.",
        b"r\xff\xff\xff\xff.",
        b"S'\\xZZ'\n.",
        b"V\\ud8\n.",
        b"c\xff\n\xff\n.",
        b"<html>not found</html>",
    ],
)
def test_a_damaged_pickle_is_refused(data):
    refusal(data)


def test_a_batch_cut_anywhere_is_refused(py2_pickle):
    data = py2_pickle({"data": np.zeros((2, 6), np.uint8), "labels": [1, 2]})
    for end in range(len(data)):
        refusal(data[:end])


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_batch_with_changed_bytes_is_read_or_refused(draw):
    file = io.BytesIO()
    pickle.Pickler(file, 4).dump({"data": np.zeros((2, 6), np.uint8), "labels": [1]})
    data = bytearray(file.getvalue())
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        loads(bytes(data))
    except ValueError as error:
        assert "\n" not in str(error)
