"""Files that would exhaust memory, time or the C stack."""

import io
import struct
import zipfile

from ..craft import (
    ORDERED_DICT,
    archive,
    call,
    legacy,
    npy,
    number,
    numbers,
    pickle,
    sequence,
    storage,
    tensor,
    text,
    zip_of,
)
from . import simple

MEBIBYTE = 1 << 20


def laughs():
    rows = b"](" + text("lol") * 10 + b"eq\x00"
    for level in range(1, 30):
        rows += b"](" + bytes([ord("h"), level - 1]) * 10 + b"eq" + bytes([level])
    return rows


P = (1 << 61) - 1  # Python hashes numbers modulo this prime


def colliding_keys(count=20_000):
    return b"}(" + b"".join(number(i * P) + b"N" for i in range(1, count)) + b"u"


def colliding_tuples(count=20_000):
    for i in range(1, count):
        yield sequence(number(i * P), number(1)) + b"N"


simple(
    "billion_laughs", "unfolds to more than", lambda: archive(b"(" + laughs() + b"t")
)
simple("list_in_itself", "nested more than", archive(b"]q\x00h\x00a"))
simple("deep_lists", "nested more than", lambda: archive(b"]" * 8_000 + b"a" * 7_999))
simple("deep_tuples", "nested more than", lambda: archive(b")" + b"\x85" * 50_000))
simple(
    "deep_tuple_as_a_key",
    "key of a dict",
    lambda: archive(b"})" + b"\x85" * 50_000 + b"Ns"),
)
simple("keys_that_collide", "steps", lambda: archive(colliding_keys()))
simple(
    "floats_that_collide",
    "steps",
    # 2.0**(61 * k) for every k, and whatever else Python hashes to the same
    lambda: archive(
        b"}("
        + b"".join(
            b"G" + struct.pack(">d", m * 2.0 ** (61 * k)) + b"N"
            for m in range(1, 2000)
            for k in range(-16, 16)
        )
        + b"u"
    ),
)
simple(
    "tuples_that_collide",
    "steps",
    lambda: archive(b"}(" + b"".join(colliding_tuples()) + b"u"),
)
simple(
    "items_that_collide",
    "steps",
    lambda: archive(
        call(
            "builtins",
            "set",
            b"](" + b"".join(number(i * P) for i in range(1, 20_000)) + b"e",
        )
    ),
)
simple(
    "tuple_of_tuples_as_a_key",
    "key of a dict|steps",
    # each refers to the one before it ten times: hashing it would take 10**30 steps
    lambda: archive(
        b"}("
        + b")q\x00"
        + b"".join(
            b"(" + bytes([ord("h"), n]) * 10 + b"tq" + bytes([n + 1]) for n in range(30)
        )
        + b"t"
        + b"Ns"
    ),
)
simple("too_many_dicts", "steps", lambda: archive(b"(" + b"}" * 3_000_000 + b"t"))
simple(
    "too_many_ordered_dicts",
    "steps",
    lambda: archive(ORDERED_DICT + b"q\x00(" + b"h\x00)R" * 1_500_000 + b"t"),
)
simple(
    "too_many_memos",
    "remembers over",
    lambda: archive(
        b"N" + b"".join(b"r" + struct.pack("<I", i) for i in range(1_100_000))
    ),
)
simple(
    "one_text_encoded_often",
    "larger than its pickle",
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
simple("integer_of_2_gib", "integer of 2147483647", archive(b"\x8b\xff\xff\xff\x7f"))
simple("bytes_of_4_gib", "truncated", archive(b"B\xff\xff\xff\xff"))
simple(
    "text_of_8_eib", "truncated", archive(b"\x8d" + b"\xff" * 7 + b"\x7f", protocol=4)
)
simple("frame_of_4_eib", "frame", archive(b"\x95" + b"\xff" * 7 + b"\x3f", protocol=4))
simple("legacy_text_of_4_gib", "truncated", legacy(b"X\xff\xff\xff\xff"))


def deflated(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in (
            ("archive/data.pkl", pickle(tensor(storage(4 * MEBIBYTE // 4)))),
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
