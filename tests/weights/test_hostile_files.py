"""Broken and malicious files: each is refused in one line, and nothing runs."""

import io
import json
import pickletools  # noqa: F401  (imported where an error is worded)
import re
import struct
import sys
import tarfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors  # noqa: F401  (imported by load)

from npresnet import weights

from .craft import (
    MAGIC,
    ORDERED_DICT,
    PROTOCOL,
    SIX,
    archive,
    call,
    legacy,
    mapping,
    number,
    numbers,
    pickle,
    sequence,
    storage,
    tensor,
    text,
    zip_of,
)

CASES = {}
MEBIBYTE = 1 << 20


def hostile(says):
    """Register a maker: called with the command to run, it returns a file's bytes."""

    def register(maker):
        assert maker.__name__ not in CASES
        CASES[maker.__name__] = maker, says
        return maker

    return register


def simple(name, says, data):
    """Register a file that has no command to run."""
    assert name not in CASES
    CASES[name] = (lambda command: data() if callable(data) else data), says


# --- files that would run something -----------------------------------------------


@hostile("asks for 'os.system'")
def os_system_in_a_zip(command):
    return archive(call("os", "system", text(command)))


@hostile("asks for 'os.system'")
def os_system_in_a_legacy_file(command):
    return legacy(call("os", "system", text(command)))


@hostile("asks for 'posix.system'")
def system_beside_good_tensors(command):
    return archive(mapping(w=tensor(), x=call("posix", "system", text(command))))


@hostile("asks for 'builtins.eval'")
def eval_in_protocol_4(command):
    code = f"__import__('os').system({command!r})"
    name = b"\x8c\x08builtins\x8c\x04eval\x93"
    return archive(name + text(code) + b"\x85R", protocol=4)


@hostile("asks for '__builtin__.exec'")
def exec_of_python_2(command):
    return legacy(
        call("__builtin__", "exec", text(f"import os; os.system({command!r})"))
    )


@hostile("asks for 'subprocess.Popen'")
def popen_as_a_backward_hook(command):
    return archive(tensor(hooks=call("subprocess", "Popen", text(command))))


@hostile("asks for 'os.system'")
def system_in_the_metadata_of_a_state_dict(command):
    state = mapping(_metadata=call("os", "system", text(command)))
    return archive(ORDERED_DICT + b")R" + state + b"b")


@hostile("asks for 'os.system'")
def system_as_a_storage_type(command):
    identity = sequence(
        text("storage"), b"cos\nsystem\n", text(command), text("cpu"), number(6)
    )
    return archive(identity + b"Q")


@hostile("asks for 'os.system'")
def system_in_the_header_of_a_legacy_file(command):
    return legacy(tensor(), system=call("os", "system", text(command)))


@hostile("asks for 'os.system'")
def system_in_the_list_of_storages(command):
    return legacy(tensor(), keys=[text("0"), call("os", "system", text(command))])


@hostile("asks for 'os.system'")
def system_before_the_magic_number(command):
    start = b"\x80\x02cos\nsystem\n0" + MAGIC[2:-1]
    return start + text(command) + b"\x85R." + PROTOCOL


@hostile("opcode INST")
def inst(command):
    return archive(b"(" + text(command) + b"ios\nsystem\n")


@hostile("asks for 'os.system'")
def obj(command):
    return archive(b"(cos\nsystem\n" + text(command) + b"o")


@hostile("opcode OBJ")
def obj_with_a_known_class(command):
    return archive(b"(" + ORDERED_DICT + text(command) + b"o")


@hostile("opcode NEWOBJ")
def newobj(command):
    return archive(ORDERED_DICT + sequence(text(command)) + b"\x81")


@hostile("opcode NEWOBJ_EX")
def newobj_ex(command):
    return archive(ORDERED_DICT + b")}" + b"\x92", protocol=4)


@hostile("opcode EXT1")
def extension_registry(command):
    return archive(b"\x82\x01" + sequence(text(command)) + b"R")


@hostile("opcode PERSID")
def persistent_id_as_text(command):
    return archive(b"P" + command.encode() + b"\n")


@hostile("persistent id that is no storage")
def persistent_id_of_a_module(command):
    fields = text("module"), ORDERED_DICT, text("x.py"), text(f"system({command!r})")
    return archive(sequence(*fields) + b"Q")


@hostile("persistent id that is no storage")
def persistent_id_that_is_no_tuple(command):
    return archive(text(command) + b"Q")


@hostile("persistent id that is no storage")
def persistent_id_in_the_header(command):
    return legacy(tensor(), system=storage())


@hostile("sets the state")
def setstate_on_a_tensor(command):
    return archive(tensor() + mapping(__setstate__=text(command)) + b"b")


@hostile("sets the state of a value of type dict")
def state_on_a_dict(command):
    return archive(b"}" + mapping(__class__=text(command)) + b"b")


@hostile("asks for 'builtins.getattr'")
def getattr_chain(command):
    return archive(call("builtins", "getattr", tensor(), text("__class__")))


@hostile("asks for 'collections.OrderedDict.__init__.__globals__'")
def dotted_name(command):
    name = text("collections") + text("OrderedDict.__init__.__globals__")
    return archive(name + b"\x93", protocol=4)


@hostile("name is not a text")
def global_named_by_a_number(command):
    return archive(number(1) + number(2) + b"\x93", protocol=4)


@hostile("asks for 'torch.storage._load_from_bytes'")
def torch_load_from_bytes(command):
    inner = b"C\x04abcd"
    return archive(call("torch.storage", "_load_from_bytes", inner), protocol=4)


@hostile("asks for 'torch._utils._rebuild_from_type_v2'")
def tensor_subclass(command):
    return archive(call("torch._utils", "_rebuild_from_type_v2", tensor()))


@hostile("asks for 'numpy.core.multiarray._reconstruct'")
def numpy_reconstruct(command):
    return archive(call("numpy.core.multiarray", "_reconstruct", numbers(0)))


@hostile("asks for '__main__.Net'")
def whole_module(command):
    return legacy(b"c__main__\nNet\n)\x81}b")


@hostile("calls")
def call_of_a_text(command):
    return archive(text(command) + b")R")


@hostile("calls")
def call_with_a_dict_of_arguments(command):
    return archive(ORDERED_DICT + b"}R")


@hostile("not made of pairs")
def ordered_dict_of_a_text(command):
    return archive(call("collections", "OrderedDict", text(command)))


@hostile("makes a storage of its own")
def call_of_a_storage_type(command):
    return archive(call("torch", "FloatStorage", number(1 << 40)))


@hostile("contains 'torch.Size' itself")
def global_as_a_value(command):
    return archive(b"](ctorch\nSize\ne")


@hostile("contains a value of type Storage itself")
def storage_as_a_value(command):
    return archive(sequence(storage()))


@hostile("bare pickle")
def bare_pickle(command):
    return pickle(call("os", "system", text(command)))


@hostile("neither")
def bare_pickle_of_protocol_0(command):
    return f"cos\nsystem\n(V{command}\ntR.".encode()


@hostile("Object arrays|object")
def npz_of_objects(command):
    class Runs:
        def __reduce__(self):
            import os

            return os.system, (command,)

    stream = io.BytesIO()
    objects = np.array([Runs()], dtype=object)
    np.savez(stream, a=np.zeros(2), b=objects)
    return stream.getvalue()


def npy(header, data=b""):
    raw = header.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw + data


@hostile("header of array 'a'")
def npz_with_code_in_a_header(command):
    header = f"__import__('os').system({command!r})\n"
    return zip_of(("a.npy", npy(header)))


# --- plain values that are not plain ----------------------------------------------

simple("set_", "__builtin__.set", archive(call("__builtin__", "set", b"](K\x01e")))
simple("frozenset_opcode", "FROZENSET", archive(b"(K\x01\x91", protocol=4))
simple("bytearray_opcode", "BYTEARRAY8", archive(b"\x96" + b"\1" + b"\0" * 7 + b"a"))
simple("tuple_as_a_key", "key of a dict", archive(b"}" + numbers(1) + b"K\x01s"))
simple("float_as_a_key", "key of a dict", archive(b"}G" + b"\0" * 8 + b"K\x01s"))
simple(
    "pickle_of_protocol_0",
    "not a pickle",
    archive(b"")[:0] or zip_of(("archive/data.pkl", b"(lp0\n.")),
)
simple("two_values_at_the_end", "end with one value", archive(b"NN"))
simple("empty_stack", "empty stack", archive(b"\x85"))
simple("no_mark", "MARK", archive(b"Nt"))
simple("unknown_memo", "never kept", archive(b"h\x07"))
simple("key_without_a_value", "key without a value", archive(b"}(K\x01u"))
simple("items_for_a_tensor", "cannot hold", archive(tensor() + b"K\x00K\x01s"))
simple("text_that_is_not_utf8", "UTF-8", archive(b"X\x01\0\0\0\xff"))
simple(
    "bytes_above_255",
    "255",
    archive(call("_codecs", "encode", text("\u20ac"), text("latin1"))),
)
simple(
    "bytes_by_another_codec",
    "latin1",
    archive(call("_codecs", "encode", text("a"), text("zip"))),
)
simple("undefined_opcode", "0xff", archive(b"\xff"))
simple("global_without_an_end", "no end", archive(b"c" + b"a" * 5000))
simple("bytes_behind_the_pickle", "behind its pickle", archive(tensor(), behind=b"N."))

# --- files that would exhaust memory, time or the C stack -------------------------


def laughs():
    rows = b"](" + text("lol") * 10 + b"eq\x00"
    for level in range(1, 30):
        rows += b"](" + bytes([ord("h"), level - 1]) * 10 + b"eq" + bytes([level])
    return rows


def colliding_keys(count=20_000):
    return (
        b"}("
        + b"".join(number(i * ((1 << 61) - 1)) + b"N" for i in range(1, count))
        + b"u"
    )


simple(
    "billion_laughs", "unfolds to more than", lambda: archive(b"(" + laughs() + b"t")
)
simple("list_in_itself", "nested more than", archive(b"]q\x00h\x00a"))
simple(
    "deep_lists", "nested more than", lambda: archive(b"]" * 100_000 + b"a" * 99_999)
)
simple("deep_tuples", "nested more than", lambda: archive(b")" + b"\x85" * 200_000))
simple(
    "deep_tuple_as_a_key",
    "key of a dict",
    lambda: archive(b"})" + b"\x85" * 200_000 + b"Ns"),
)
simple("keys_that_collide", "key of a dict", lambda: archive(colliding_keys()))
simple("too_many_dicts", "steps", lambda: archive(b"(" + b"}" * 3_000_000 + b"t"))
simple(
    "too_many_ordered_dicts",
    "steps",
    lambda: archive(ORDERED_DICT + b"q\x00(" + b"h\x00)R" * 1_500_000 + b"t"),
)
simple(
    "too_many_memos",
    "steps",
    lambda: archive(
        b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(2_100_000))
    ),
)
simple(
    "one_text_encoded_often",
    "steps",
    lambda: archive(
        b"c_codecs\nencode\nq\x00"
        + text("a" * 500_000)
        + text("latin1")
        + b"\x86q\x01("
        + b"h\x00h\x01R" * 100_000
        + b"t"
    ),
)
simple(
    "one_list_ordered_often",
    "steps",
    lambda: archive(
        ORDERED_DICT
        + b"q\x00]("
        + (numbers(1, 2) * 10_000)
        + b"e\x85q\x01("
        + b"h\x00h\x01R" * 100_000
        + b"t"
    ),
)
simple(
    "pickle_of_17_mib",
    "more than weights need",
    lambda: archive(b"X" + struct.pack("<I", 17 * MEBIBYTE) + b"a" * 17 * MEBIBYTE),
)
simple("integer_of_255_bytes", "integer of 255", archive(b"\x8a\xff" + b"\x7f" * 255))
simple("integer_of_2_gib", "LONG4", archive(b"\x8b\xff\xff\xff\x7f"))
simple("bytes_of_4_gib", "truncated", archive(b"B\xff\xff\xff\xff"))
simple(
    "text_of_8_eib", "BINUNICODE8", archive(b"\x8d" + b"\xff" * 7 + b"\x7f", protocol=4)
)
simple("frame_of_4_eib", "frame", archive(b"\x95" + b"\xff" * 7 + b"\x3f", protocol=4))
simple("legacy_text_of_4_gib", "truncated", legacy(b"X\xff\xff\xff\xff"))


def deflated(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in (
            ("archive/data.pkl", pickle(b"N" * 0 + tensor(storage(4 * MEBIBYTE // 4)))),
            ("archive/data/0", bytes(4 * MEBIBYTE)),
        ):
            deflate = zipfile.ZIP_DEFLATED if name in names else zipfile.ZIP_STORED
            file.writestr(name, data, deflate)
    return stream.getvalue()


simple(
    "deflated_pickle", "data.pkl' is compressed", lambda: deflated("archive/data.pkl")
)
simple(
    "deflated_storage", "bytes, but the file has", lambda: deflated("archive/data/0")
)


def npz_bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("a.npy", "w") as record:
            record.write(
                npy(
                    "{'descr': '|u1', 'fortran_order': False, 'shape': "
                    f"({200 * MEBIBYTE},), }}\n"
                )
            )
            for _ in range(200):
                record.write(bytes(MEBIBYTE))
    return stream.getvalue()


simple("npz_bomb", "unpacks to", npz_bomb)
simple(
    "npz_with_a_shape_of_a_tebibyte",
    "has 0 bytes",
    zip_of(
        (
            "a.npy",
            npy(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }\n"
            ),
        )
    ),
)
simple(
    "npz_with_a_negative_shape",
    "array 'a'",
    zip_of(
        (
            "a.npy",
            npy(
                "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -2), }\n",
                bytes(8),
            ),
        )
    ),
)
simple(
    "npz_with_a_structured_type",
    "has type",
    zip_of(
        (
            "a.npy",
            npy(
                "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }\n",
                bytes(4),
            ),
        )
    ),
)
simple(
    "npz_with_a_deep_header",
    "header of array",
    zip_of(("a.npy", npy("(" * 5000 + ")" * 5000 + "\n"))),
)

# --- tensors that lie -------------------------------------------------------------


def both(name, says, value, storages=None):
    """Register the same object in both formats."""
    simple(f"{name}_zip", says, archive(value, storages))
    simple(f"{name}_legacy", says, legacy(value, storages))


both(
    "stride_zero",
    "over a storage of only 6",
    tensor(size=numbers(10**12), stride=numbers(0)),
)
both("size_outside", "over a storage of only 6", tensor(size=numbers(2, 4)))
both("stride_outside", "outside its storage", tensor(stride=numbers(6, 1)))
both("offset_outside", "outside its storage", tensor(offset=number(1)))
both("offset_of_128_bits", "outside its storage", tensor(offset=number(1 << 127)))
both("negative_offset", "offset -1", tensor(offset=number(-1)))
both("negative_size", "size \\(-2, -3\\)", tensor(size=numbers(-2, -3)))
both("negative_stride", "stride \\(-3, 1\\)", tensor(stride=numbers(-3, 1)))
both("size_that_overflows", "over a storage of", tensor(size=numbers(1 << 33, 1 << 33)))
both("size_and_stride_differ", "a tensor with", tensor(stride=numbers(1)))
both(
    "size_of_65_axes",
    "a tensor with",
    tensor(size=numbers(*[1] * 65), stride=numbers(*[1] * 65)),
)
both(
    "empty_but_uncountable",
    "a tensor of size",
    tensor(size=numbers(0, 1 << 62, 1 << 62), stride=numbers(1, 1, 1)),
)
both("size_of_booleans", "a tensor with", tensor(size=sequence(b"\x88", b"\x88")))
both("size_that_is_a_list", "a tensor with", tensor(size=b"](K\x02K\x03e"))
both("tensor_without_storage", "without a storage", tensor(stored=b"N"))
both("tensor_of_a_tensor", "without a storage", tensor(stored=tensor()))
both("storage_of_a_tebibyte", "would take", tensor(storage(1 << 40)))
both("storage_of_2_to_the_200", "would take", tensor(storage(1 << 200)))
both("negative_storage", "size of -6", tensor(storage(-6)))
both("storage_of_another_size", "should have|cut off", tensor(storage(7)))
both(
    "storage_named_twice",
    "named twice",
    sequence(tensor(), tensor(storage(kind="IntStorage"))),
)
both("key_that_is_a_path", "not a decimal number", tensor(storage(key="../../x")))
both("quantised", "asks for 'torch.QInt8Storage'", tensor(storage(kind="QInt8Storage")))
both(
    "persistent_id_that_starts_with_a_tensor",
    "persistent id that is no storage",
    sequence(tensor(), *[b"N"] * 4) + b"Q",
)
both(
    "bytes_encoded_by_a_tensor",
    "latin1",
    call("_codecs", "encode", text("a"), tensor()),
)
both(
    "parameter_of_a_dict",
    "not a tensor",
    call("torch._utils", "_rebuild_parameter", b"}", b"\x88", b"N"),
)
both(
    "many_tensors_over_one_storage",
    "bytes of memory",
    sequence(
        *[tensor(storage(1 << 18), size=numbers(1 << 18), stride=numbers(1))] * 90
    ),
    {"0": bytes(1 << 20)},
)
both(
    "view_outside",
    "reaches outside its 6",
    tensor(storage(view=sequence(text("1"), number(4), number(3)))),
)
both("view_that_is_a_number", "a view", tensor(storage(view=number(1))))

# --- zip archives that lie --------------------------------------------------------

GOOD = archive(tensor())
PICKLE = "archive/data.pkl", pickle(tensor())
DATA = "archive/data/0", SIX

simple("zip_cut_in_half", "truncated", GOOD[: len(GOOD) // 2])
simple("zip_without_its_last_byte", "truncated", GOOD[:-1])
simple("zip_of_four_bytes", "truncated", GOOD[:4])
simple("bytes_behind_a_zip", "followed by other bytes", GOOD + b"garbage")
simple("zip_with_a_comment", "end record", GOOD[:-2] + b"\2\0hi")
simple("zip_behind_a_zip", "directory is not where", GOOD + GOOD)
simple(
    "bytes_before_the_first_record",
    "before the first",
    zip_of(("archive/x", b"x", {"hidden": True}), PICKLE, DATA),
)
simple("record_missing", "storage 0 is missing", zip_of(PICKLE))
simple(
    "record_too_short",
    "should have 24 bytes",
    zip_of(PICKLE, ("archive/data/0", SIX[:-1])),
)
simple("record_named_twice", "two records", zip_of(PICKLE, DATA, DATA))
simple("record_encrypted", "encrypted", zip_of(PICKLE, (*DATA, {"flags": 1})))
simple(
    "storage_said_to_be_deflated",
    "compressed",
    zip_of(PICKLE, (*DATA, {"method": 8})),
)
simple(
    "record_of_unknown_compression",
    "compressed",
    zip_of(PICKLE, (*DATA, {"method": 12})),
)
simple("record_above_the_folder", "named '../x'", zip_of(PICKLE, DATA, ("../x", b"x")))
simple(
    "record_above_the_archive", "named", zip_of(PICKLE, DATA, ("archive/../../x", b"x"))
)
simple(
    "record_with_an_absolute_name",
    "named '/etc/x'",
    zip_of(PICKLE, DATA, ("/etc/x", b"x")),
)
simple(
    "record_with_a_backslash", "named", zip_of(PICKLE, DATA, ("archive\\..\\x", b""))
)
simple("record_on_a_drive", "named", zip_of(PICKLE, DATA, ("C:/x", b"")))
simple("record_outside_the_folder", "is not inside", zip_of(PICKLE, DATA, ("x", b"")))
simple(
    "records_that_overlap",
    "overlaps",
    zip_of(PICKLE, (*DATA, {"position": 0}), ("archive/x", b"x")),
)
simple(
    "record_larger_than_the_file",
    "overlaps",
    zip_of(PICKLE, (*DATA, {"size": 1 << 31})).replace(
        struct.pack("<2I", 24, 1 << 31), struct.pack("<2I", 1 << 31, 1 << 31)
    ),
)
simple("record_with_other_bytes", "checksum", GOOD.replace(SIX, SIX[::-1]))
simple(
    "record_with_another_local_name",
    "where it should",
    GOOD.replace(b"archive/data/0", b"archive/data/1", 1),
)
simple(
    "big_endian_zip",
    "byte order",
    archive(tensor(), extra=[("archive/byteorder", b"big")]),
)
simple(
    "byteorder_of_a_megabyte",
    "byte order",
    archive(tensor(), extra=[("archive/byteorder", b"little" * 200_000)]),
)
simple(
    "torchscript",
    "TorchScript",
    archive(
        tensor(), extra=[("archive/constants.pkl", b""), ("archive/code/x.py", b"")]
    ),
)
simple("zip_in_parts", "several parts", GOOD[:-18] + b"\1" + GOOD[-17:])
simple(
    "zip_of_65535_records",
    "where it should be",
    (GOOD[:-14] + b"\xff\xff\xff\xff" + GOOD[-10:]),
)
simple("zip_of_something_else", "neither npz nor", zip_of(("word/document.xml", b"x")))
simple(
    "directory_of_17_mib",
    "more than weights need",
    lambda: (
        b"PK\3\4"
        + bytes(17 * MEBIBYTE - 4)
        + b"PK\5\6"
        + struct.pack("<4H2IH", 0, 0, 1, 1, 17 * MEBIBYTE, 0, 0)
    ),
)
simple(
    "zip64_that_points_elsewhere",
    "zip64",
    GOOD[:-22] + b"PK\6\7" + struct.pack("<IQI", 0, 1 << 62, 1) + GOOD[-22:],
)

# --- legacy files that lie --------------------------------------------------------

OLD = legacy(tensor())

simple("legacy_without_its_last_byte", "cut off", OLD[:-1])
simple("legacy_without_storages", "cut off", OLD[:-32])
simple("legacy_cut_in_its_pickle", "truncated", OLD[:100])
simple("legacy_magic_only", "truncated", MAGIC)
simple("bytes_behind_a_legacy_file", "behind its storages", OLD + b"garbage")
simple(
    "legacy_storage_of_another_size",
    "should have 6 elements",
    legacy(tensor(), numel=5),
)
simple("legacy_storage_of_negative_size", "but has -1", legacy(tensor(), numel=-1))
simple("legacy_without_a_key", "list of storages", legacy(tensor(), keys=[]))
simple(
    "legacy_with_another_key", "list of storages", legacy(tensor(), keys=[text("1")])
)
simple(
    "legacy_with_a_key_twice",
    "list of storages",
    legacy(tensor(), keys=[text("0"), text("0")]),
)
simple(
    "legacy_with_a_key_that_is_a_list",
    "list of storages",
    legacy(tensor(), keys=[b"]"]),
)
simple("big_endian_legacy", "big-endian", legacy(tensor(), system=b"\x89"))
simple(
    "legacy_of_another_version",
    "version 1002",
    legacy(tensor(), protocol=b"\x80\x02M\xea\x03."),
)

# --- other files ------------------------------------------------------------------


def tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(tarfile.TarInfo("storages"))
    return stream.getvalue()


def safe(header, data=b"", size=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


F32 = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}

simple("tar_file", "tar file", tar)
simple("empty_file", "is empty", b"")
simple("text_file", "neither", b"hello, these are my weights\n")
simple("html_page", "neither", b"<!DOCTYPE html><html>not found</html>")
simple("zeros", "neither", bytes(1000))
simple("safetensors_cut_off", "broken", safe({"a": F32}, SIX[:-1]))
simple("safetensors_with_a_tail", "broken", safe({"a": F32}, SIX + b"x"))
simple("safetensors_header_of_8_eib", "neither", safe({"a": F32}, SIX, size=1 << 63))
simple("safetensors_header_that_is_no_json", "broken", safe(b"{nonsense}", SIX))
simple("safetensors_that_overlap", "broken", safe({"a": F32, "b": F32}, SIX))
simple("safetensors_shape_that_lies", "broken", safe({"a": F32 | {"shape": [7]}}, SIX))
simple(
    "safetensors_shape_that_overflows",
    "broken",
    safe({"a": F32 | {"shape": [1 << 62, 1 << 62]}}, SIX),
)
simple(
    "safetensors_of_65_axes",
    "array 'a'",
    safe({"a": F32 | {"shape": [1] * 65 + [6]}}, SIX),
)
simple(
    "safetensors_of_float8",
    "NumPy lacks",
    safe({"a": {"dtype": "F8_E4M3", "shape": [24], "data_offsets": [0, 24]}}, SIX),
)


# --- the claims -------------------------------------------------------------------

# What an interpreter does when a file makes it act. Hooks cannot be removed, so this
# one listens only while `watched` is a list.
_ACTS = (
    "exec",
    "import",
    "pickle.find_class",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes",
)
_watched = None


def _listen(event, args):
    if _watched is not None:
        writes = event == "open" and args[1] is not None and "r" not in str(args[1])
        if writes or event.startswith(_ACTS):
            _watched.append((event, args))


sys.addaudithook(_listen)


def refusal(path, monkeypatch):
    """Load a file, and return the message of its ValueError and what was done."""
    acts = []
    monkeypatch.setattr(sys.modules[__name__], "_watched", acts)
    try:
        weights.load(path)
    except ValueError as error:
        assert type(error) is ValueError
        return str(error), acts
    finally:
        monkeypatch.setattr(sys.modules[__name__], "_watched", None)
    pytest.fail("the file was loaded")


def test_there_are_at_least_forty_hostile_files():
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_is_refused_in_one_line_and_nothing_runs(
    case, tmp_path, monkeypatch
):
    make, says = CASES[case]
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    path.write_bytes(make(f"echo > {marker}"))
    before = sorted(tmp_path.iterdir())

    tracemalloc.start()
    began = time.monotonic()
    try:
        message, acts = refusal(path, monkeypatch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert message.startswith(f"{path}: ")
    assert "\n" not in message and len(message) < len(str(path)) + 400
    assert re.search(says, message)
    assert acts == []
    assert sorted(tmp_path.iterdir()) == before  # neither the marker nor anything else
    assert peak < 160 * MEBIBYTE
    assert time.monotonic() - began < 30


def test_the_commands_of_these_files_would_have_run(tmp_path):
    import pickle as pythons

    marker = tmp_path / "marker"
    data = bare_pickle(f"echo > {marker}")
    pythons.loads(data)
    assert marker.exists()


@pytest.mark.parametrize("name", ["evil.safetensors", "evil.npz", "evil", "évil\n.pt"])
def test_the_name_of_a_file_does_not_make_it_trusted(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(os_system_in_a_zip(f"echo > {tmp_path / 'marker'}"))
    message, acts = refusal(path, monkeypatch)
    assert "os.system" in message and "\n" not in message
    assert acts == [] and list(tmp_path.iterdir()) == [path]
