"""Files of PyTorch's two formats, put together byte by byte, so that they can lie."""

import io
import struct
import zipfile
import zlib

import numpy as np

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."

ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


# Pieces of a pickle, each of which pushes one value.


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def numbers(*values):
    return sequence(*map(number, values))


def mapping(**items):
    pairs = b"".join(text(key) + value for key, value in items.items())
    return b"}(" + pairs + b"u"


def call(module, name, *args):
    return f"c{module}\n{name}\n".encode() + sequence(*args) + b"R"


def storage(numel=6, key="0", kind="FloatStorage", view=None):
    fields = [text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu")]
    fields.append(number(numel))
    return sequence(*fields, *([] if view is None else [view])) + b"Q"


def tensor(stored=None, offset=None, size=None, stride=None, hooks=None):
    return (
        REBUILD
        + sequence(
            storage() if stored is None else stored,
            number(0) if offset is None else offset,
            numbers(2, 3) if size is None else size,
            numbers(3, 1) if stride is None else stride,
            b"\x89",
            ORDERED_DICT + b")R" if hooks is None else hooks,
        )
        + b"R"
    )


def pickle(value, protocol=2):
    return bytes([0x80, protocol]) + value + b"."


# Whole files.

SIX = np.arange(6, dtype="<f4").tobytes()


def archive(value, storages=None, extra=(), protocol=2, behind=b""):
    """Return a file of the zip format; `extra` are further (name, bytes)."""
    storages = {"0": SIX} if storages is None else storages
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", pickle(value, protocol) + behind)
        for key, data in storages.items():
            file.writestr(f"archive/data/{key}", data)
        for name, data in extra:
            file.writestr(name, data)
    return stream.getvalue()


def legacy(
    value,
    storages=None,
    keys=None,
    system=b"\x88",
    protocol=PROTOCOL,
    numel=None,
    behind=b"",
):
    """Return a file of the legacy format; `system` stands for little_endian."""
    storages = {"0": SIX} if storages is None else storages
    keys = [text(key) for key in storages] if keys is None else keys
    parts = [MAGIC, protocol, pickle(mapping(little_endian=system)), pickle(value)]
    parts.append(pickle(b"](" + b"".join(keys) + b"e"))
    for data in storages.values():
        count = len(data) // 4 if numel is None else numel
        parts.append(struct.pack("<q", count) + data)
    return b"".join(parts) + behind


def zip_of(*records):
    """Return a plain zip archive, stored, of (name, bytes), however odd its names.

    A third item changes what the directory says about the record.
    """
    body, directory, count = b"", b"", 0
    for name, data, *lies in records:
        lie = lies[0] if lies else {}
        raw = name.encode()
        flags, method, crc = lie.get("flags", 0), lie.get("method", 0), zlib.crc32(data)
        size = lie.get("size", len(data))
        position = lie.get("position", len(body))
        common = struct.pack("<5H3I", 20, flags, method, 0, 0, crc, len(data), size)
        if not lie.get("hidden"):
            directory += b"PK\1\2" + struct.pack("<H", 20) + common
            directory += struct.pack("<5H2I", len(raw), 0, 0, 0, 0, 0, position) + raw
            count += 1
        body += b"PK\3\4" + common + struct.pack("<2H", len(raw), 0) + raw + data
    end = struct.pack("<4H2IH", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + b"PK\5\6" + end


def npy(header, data=b""):
    """Return a record of .npz with this header, whatever it says."""
    raw = header.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(raw)) + raw + data
