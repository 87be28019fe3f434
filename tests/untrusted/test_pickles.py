"""The one reader of pickles builds plain values and placeholders, and does nothing."""

import collections
import io
import pickle
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npresnet
from npresnet.untrusted.pickle_values import Placeholder
from npresnet.untrusted.pickles import read_pickle
from npresnet.untrusted.text import RefusedFile

from ..data.conftest import python2_pickle

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


def loads(data):
    """Read what is one pickle and nothing behind it."""
    value, end = read_pickle(data)
    assert end == len(data)
    return value


def refusal(data):
    with pytest.raises(RefusedFile) as raised:
        read_pickle(data)
    text = str(raised.value)
    assert "\n" not in text and len(text) < 300
    return text


@given(plain, st.sampled_from([3, 4, 5]))
@settings(max_examples=25, deadline=None)
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
@pytest.mark.parametrize("write", [2, 3, 4, 5, "python 2"])
def test_arrays_come_back_contiguous_native_and_writeable(array, write):
    data = python2_pickle(array) if write == "python 2" else pickle.dumps(array, write)
    out = loads(data)
    np.testing.assert_array_equal(out, array)
    assert out.dtype == array.dtype.newbyteorder("=")
    assert out.flags.c_contiguous and out.flags.writeable


@pytest.mark.parametrize("protocol", range(6))
def test_numpys_scalars_come_back(protocol):
    values = [np.float64(0.9134), np.float32(-2.5), np.int64(7), np.bool_(True)]
    values += [np.complex64(1 - 2j), np.uint8(255), np.float16(np.inf)]
    for value, got in zip(values, loads(pickle.dumps(values, protocol)), strict=True):
        assert type(got) is type(value) and got == value


@pytest.mark.parametrize("protocol", range(6))
def test_sets_complex_numbers_bytearrays_and_odd_keys_come_back(protocol):
    value = {
        0.5: {1, "a", None, 2.5, (1, 2)},
        ("layer1", 0): frozenset({1, 2}),
        None: complex(1, -2),
        True: bytearray(b"ab"),
        1j: bytearray(),
        1 << 100: collections.Counter({30: 1, 60: 2}),
        -(1 << 62): collections.OrderedDict(b=1, a=2),
        b"k": set(),
    }
    out = loads(pickle.dumps(value, protocol))
    assert out == value
    assert list(map(type, out.values())) == list(map(type, value.values()))
    assert list(out) == list(value)


def test_a_default_dict_is_a_dict():
    value = collections.defaultdict(list, a=[1])
    out = loads(pickle.dumps(value, 2))
    assert type(out) is dict and out == {"a": [1]}


def test_an_array_may_be_referred_to_twice():
    array = np.arange(5, dtype=np.uint8)
    one, other = loads(python2_pickle([array, array]))
    assert one is other
    np.testing.assert_array_equal(one, array)


def test_python_2_strings_are_text_where_they_are_utf8_and_else_bytes():
    every = bytes(range(256))
    assert loads(python2_pickle([every, "airplane", "é".encode()])) == [
        every,
        "airplane",
        "é",
    ]
    escaped = rb"S'\x00\xff\n\t\\\'a\"'" + b"\n."
    assert loads(escaped) == b"\x00\xff\n\t\\'a\""


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
        (b"cos.path\nexists\n(S'true'\ntR.", "os.path.exists"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
        (b"(S'true'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nI1\no.", "os.system"),
        (b"csubprocess\nPopen\n(I5\nt\x81.", "subprocess.Popen"),
        (b"cpickle\nloads\n)}\x92.", "pickle.loads"),
    ],
)
def test_what_programs_ask_for_is_refused_by_name(data, name):
    assert refusal(data).startswith(f"refused: the file asks for '{name}', as programs")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.", "numpy.ndarray.dump"),
        (pickle.dumps(Calls(print, "x"), 2), "__builtin__.print"),
        (pickle.dumps(range(3), 4), "builtins.range"),
        (b"(S'true'\nimine\nNet\n.", "mine.Net"),
        (b"(cmine\nNet\nI1\no.", "mine.Net"),
        (b"cmine\nNet\n(I5\nt\x81}b.", "mine.Net"),
        (b"cmine\nNet\n)}\x92.", "mine.Net"),
        (b"cmine\nNet\n)R(I1\nI2\nu.", "mine.Net"),
        (b"cmine\nNet\n)R(I1\nI2\ne.", "mine.Net"),
        (b"cmine\nNet\n)R(I1\nI2\n\x90.", "mine.Net"),
        (
            pickle.dumps(Calls(getattr, collections.deque, "pop"), 2),
            "collections.deque.pop",
        ),
        (pickle.dumps(collections.deque([1, 2]), 4), "collections.deque"),
        (
            b"ccopy_reg\n_reconstructor\n(cmine\nNet\nc__builtin__\nobject\nNtR.",
            "mine.Net",
        ),
        (b"cmine\n\x1b[2J\n.", r"mine.\x1b[2J"),
        (b"cnumpy\nndarray\n.", "numpy.ndarray"),
    ],
)
def test_every_other_name_is_a_placeholder(data, name):
    value = loads(data)
    assert isinstance(value, Placeholder)
    assert value.type == name


def test_a_name_of_a_megabyte_is_cut():
    value = loads(
        b"\x80\x04X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"\x94h\0\x93."
    )
    assert len(value.type) < 210 and value.type.endswith("...")


@pytest.mark.parametrize("wrap", [list, tuple, dict])
def test_a_name_is_a_placeholder_however_deep(wrap):
    value = Calls(print, "x")
    for _ in range(20):
        value = {"data": value} if wrap is dict else wrap([value])
    value = loads(pickle.dumps(value, 4))
    for _ in range(20):
        value = value["data"] if wrap is dict else value[0]
    assert value.type == "builtins.print"


def test_there_is_no_second_reader_of_pickles():
    package = Path(npresnet.__file__).parent
    importing = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(import|from) _?pickle\b", path.read_text("utf-8"), re.M)
    }
    # Kernels that this user compiled, in a folder of one's own and with a checksum; and
    # what a process tells another that it has started.
    kernels = "backend/kernels"
    assert importing == {f"{kernels}/compile.py", f"{kernels}/ahead.py"}
    opcodes = [
        p.stem for p in package.rglob("*.py") if "_OPCODES" in p.read_text("utf-8")
    ]
    assert opcodes == ["_pickle_machine"]


def test_what_a_pickle_names_is_not_even_imported(tmp_path, monkeypatch):
    witness = tmp_path / "witness"
    (tmp_path / "trap.py").write_text(
        f"import pathlib; pathlib.Path({str(witness)!r}).touch()\ndef go(): pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert loads(b"ctrap\ngo\n(tR.").type == "trap.go"
    assert "trap" not in sys.modules and not witness.exists()
    with pytest.raises(TypeError):
        pickle.loads(b"ctrap\ngo\n(I1\ntR.")  # the trap itself works
    assert witness.exists()
    del sys.modules["trap"]


def test_a_program_behind_a_whole_batch_is_refused():
    batch = python2_pickle({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 0]})
    assert "asks for 'os.system'" in refusal(batch[:-1] + SYSTEM)


@pytest.mark.parametrize(
    ("data", "opcode"),
    [
        (b"\x82\x01.", "EXT1"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pname\n.", "PERSID"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\xff.", "0xff"),
    ],
)
def test_opcodes_that_reach_outside_the_file_are_refused(data, opcode):
    assert refusal(data).startswith(
        f"refused: the file uses the pickle opcode {opcode};"
    )


def test_a_persistent_id_is_refused_where_there_can_be_none():
    assert refusal(b"I1\nQ.") == "refused: a persistent id (1)"


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = b"cnumpy\ndtype\n"
UINT8 = DTYPE + b"(S'u1'\nI0\nI1\ntR"


@pytest.mark.parametrize(
    "code",
    [b"S'O8'", b"S'O'", b"S'V8'", b"S'u1,O'", b"S'f1'", b"S'u1\\n'", b"(lp0", b"S'M8'"],
)
def test_a_type_of_anything_but_numbers_is_a_placeholder(code):
    value = loads(DTYPE + b"(" + code + b"\nI0\nI1\ntR.")
    assert type(value) is Placeholder and value.type == "numpy.dtype"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (UINT8 + b"(I3\nS'|'\nN(S'a'\ntNI-1\nI-1\nI0\ntb.", "numpy.dtype"),
        (UINT8 + b".", "numpy.dtype"),
        (EMPTY + b".", "numpy.ndarray"),
        (RECONSTRUCT + b"(" + DTYPE + b"(I0\ntS'b'\ntR.", "numpy.dtype"),
        (RECONSTRUCT + b"(cnumpy\nndarray\n(I9999999999\ntS'b'\ntR.", "numpy.ndarray"),
        (RECONSTRUCT + b"(tR.", "numpy.ndarray"),
        (RECONSTRUCT + b"(cnumpy\nmatrix\n(I0\ntS'b'\ntR.", "numpy.matrix"),
        (b"cnumpy\nndarray\n(I5\ntR.", "numpy.ndarray"),
    ],
)
def test_arrays_that_are_no_arrays_of_numbers_are_placeholders(data, name):
    value = loads(data)
    assert isinstance(value, Placeholder) and value.type == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        # States that do not fit.
        (EMPTY + b"}b.", "refused: an array with the state a value of type dict"),
        (
            EMPTY + b"(I1\n(I5\nt" + UINT8 + b"I0\nS'abc'\ntb.",
            "broken: an array of shape (5) and type uint8 made from 3 bytes",
        ),
        (
            EMPTY + b"(I1\n(I-1\nI-3\nt" + UINT8 + b"I0\nS'abc'\ntb.",
            "broken: an array of shape (-1, -3) and type uint8 made from 3 bytes",
        ),
        (
            EMPTY + b"(I1\n(I1\nt" + UINT8 + b"I0\n(lI1\natb.",
            "refused: an array made from a value of type list",
        ),
        (
            EMPTY + b"(I1\n(" + b"I1\n" * 33 + b"t" + UINT8 + b"I0\nS'a'\ntb.",
            f"broken: an array of shape ({'1, ' * 8}...) and type uint8 made from 1 "
            "bytes",
        ),
        (b"]}b.", "refused: the file sets the state of a value of type list"),
        (b"S'print'\n(I5\ntR.", "refused: the file calls 'print'"),
        # Containers used as what they are not.
        (b"I1\nI2\na.", "broken: its pickle appends to 1"),
        (b"](I1\nI2\nu.", "broken: its pickle sets items of a value of type list"),
        (b"](I1\nI2\n\x90.", "broken: its pickle adds items to a value of type list"),
        (b"}(I1\nu.", "broken: its pickle gives a key without a value"),
        (b"}]I1\ns.", "refused: a value of type list as the key of a dict"),
        (b"}(]tI1\ns.", "refused: a value of type list as the key of a dict"),
        (b"I1x\n.", "broken: '1x' is not a number"),
        (b"Sabc\n.", "broken: b'abc' is not a quoted text"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(data, message):
    assert refusal(data) == message


def test_object_arrays_that_numpy_wrote_are_placeholders():
    array = np.array([Calls(print, "x")], dtype=object)
    for protocol in range(6):
        value = loads(pickle.dumps({"a": array}, protocol))["a"]
        assert isinstance(value, Placeholder) and value.type.startswith("numpy.ndarray")


def test_one_string_cannot_become_many_arrays():
    """A pickle of 100 kB that would otherwise fill 100 MB."""
    raw = b"X" + struct.pack("<i", 50_000) + b"a" * 50_000
    once = EMPTY + b"(I1\n(I50000\nt" + UINT8 + b"I0\ng1\ntba"
    data = raw + b"p1\n0]" + once * 2_000 + b"."
    assert refusal(data) == "refused: its arrays are larger than its pickle"


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


def test_a_batch_cut_anywhere_is_refused():
    data = python2_pickle({"data": np.zeros((2, 6), np.uint8), "labels": [1, 2]})
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
        read_pickle(bytes(data))
    except RefusedFile as error:
        assert "\n" not in str(error)
