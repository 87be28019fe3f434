"""Archives and other containers that lie about what they hold."""

import io
import json
import struct
import tarfile

from ..craft import (
    MAGIC,
    SIX,
    archive,
    legacy,
    pickle,
    tensor,
    text,
    zip_of,
)
from . import simple

MEBIBYTE = 1 << 20

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

simple("tar_file", "tar archive", tar)
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
