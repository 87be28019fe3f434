"""The records of a zip archive, read strictly.

PyTorch's files and NumPy's .npz are zip archives. Readers of zip are forgiving by
tradition: they search for the archive's end, skip what stands before or behind it,
and let two names claim the same bytes. Weights need none of that, so here an archive
has to be exactly an archive: records one behind another, then the directory, then
the end record, which is the end of the file. Nothing is ever unpacked to disk.

A record that is compressed is read only where the caller allows it and says how
large it may get: deflate can shrink zeros a thousandfold.

References
----------
PKWARE, APPNOTE.TXT - .ZIP File Format Specification: 4.3.7 (local header), 4.3.12
(central directory), 4.3.14 and 4.3.15 (zip64), 4.3.16 (end record), 4.5.3 (zip64
extra field).
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.untrusted.text import RefusedFile, brief
from npresnet.weights.tensors import MEBIBYTE

MAX_DIRECTORY_BYTES = 16 * MEBIBYTE

_LOCAL = struct.Struct("<4s5H3I2H")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_STORED, _DEFLATED = 0, 8


class Record(NamedTuple):
    """One entry of the archive's directory; sizes and positions in bytes."""

    name: str
    position: int  # of the local header
    limit: int  # where the next record, or the directory, begins
    packed_size: int
    size: int
    crc: int
    method: int


def read_directory(file: BinaryIO, file_size: int) -> dict[str, Record]:
    """Return the records of the archive by name, in the directory's order.

    Raises
    ------
    RefusedFile
        If the archive is truncated or followed by other bytes, if a record is
        encrypted, named twice or named like a path out of the archive, or if
        records overlap.
    """
    count, size, start = _read_end(file, file_size)
    directory = _read_at(file, start, size)
    records = []
    position = 0
    for _ in range(count):
        record, position = _read_entry(directory, position)
        records.append(record)
    if position != size:
        raise RefusedFile("broken: its zip directory and its end record disagree")
    named: dict[str, Record] = {}
    in_order = sorted(records, key=lambda record: record.position)
    starts = [*(record.position for record in in_order), start]
    if starts[0] != 0:
        raise RefusedFile("broken: bytes before the first record of its zip archive")
    for record, limit in zip(in_order, starts[1:], strict=True):
        if record.position + _LOCAL.size + record.packed_size > limit:
            raise RefusedFile(f"broken: record {brief(record.name)} overlaps the next")
        if record.name in named:
            raise RefusedFile(f"broken: two records are named {brief(record.name)}")
        named[record.name] = record._replace(limit=limit)
    return named


def read_record(
    file: BinaryIO, record: Record, *, largest_unpacked: int = -1
) -> NDArray[np.uint8]:
    """Return the bytes of a record, checksum verified.

    Parameters
    ----------
    file : file
        The archive.
    record : Record
        An entry of its directory.
    largest_unpacked : int
        The size in bytes up to which a deflated record is unpacked; -1 refuses
        deflated records of any size.

    Returns
    -------
    ndarray of shape (record.size,)
        dtype uint8, writeable.

    Raises
    ------
    RefusedFile
        If the record is damaged, compressed, or larger than allowed.
    """
    header = _LOCAL.unpack(_read_at(file, record.position, _LOCAL.size))
    name_size, extra_size = header[9:11]
    name = _read_at(file, record.position + _LOCAL.size, name_size)
    start = record.position + _LOCAL.size + name_size + extra_size
    if header[0] != b"PK\3\4" or name != record.name.encode():
        raise RefusedFile(f"broken: record {brief(record.name)} is not where it should")
    if header[3] != record.method or start + record.packed_size > record.limit:
        raise RefusedFile(f"broken: record {brief(record.name)} has two descriptions")
    if record.method == _STORED and record.size == record.packed_size:
        raw = np.empty(record.size, dtype=np.uint8)
        file.seek(start)
        if file.readinto(raw.data) != record.size:  # type: ignore[attr-defined]
            raise RefusedFile(f"truncated: record {brief(record.name)} is cut off")
    elif record.method == _DEFLATED and largest_unpacked >= 0:
        if record.size > largest_unpacked:
            raise RefusedFile(
                f"refused: record {brief(record.name)} unpacks to {record.size} bytes"
            )
        raw = _inflate(_read_at(file, start, record.packed_size), record)
    else:
        raise RefusedFile(f"refused: record {brief(record.name)} is compressed")
    if zlib.crc32(raw.data) != record.crc:
        raise RefusedFile(f"damaged: record {brief(record.name)} fails its checksum")
    return raw


def _inflate(packed: bytes, record: Record) -> NDArray[np.uint8]:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = stream.decompress(packed, record.size + 1)  # never more than this
    except zlib.error:
        unpacked = b""
    if len(unpacked) != record.size or not stream.eof:
        raise RefusedFile(f"damaged: record {brief(record.name)} does not unpack")
    return np.frombuffer(bytearray(unpacked), dtype=np.uint8)


def _read_end(file: BinaryIO, file_size: int) -> tuple[int, int, int]:
    """Return the directory's number of records, its size and its position."""
    position = file_size - _END.size
    if position < 0:
        raise RefusedFile("truncated: a zip archive without its end record")
    end = _END.unpack(_read_at(file, position, _END.size))
    if end[0] != b"PK\5\6" or end[7] != 0:
        raise RefusedFile(
            "truncated, or followed by other bytes: a zip archive that does not end "
            "with its end record"
        )
    disks, (count, size, start) = [end[1], end[2]], end[4:7]
    locator_at, end64_at = position - _LOCATOR.size, -1
    if locator_at >= 0:
        locator = _LOCATOR.unpack(_read_at(file, locator_at, _LOCATOR.size))
        if locator[0] == b"PK\6\7":
            end64_at = locator_at - _END64.size
            if end64_at < 0 or locator[2] != end64_at:
                raise RefusedFile("broken: the zip64 end record is not where it should")
            end64 = _END64.unpack(_read_at(file, end64_at, _END64.size))
            if end64[0] != b"PK\6\6" or end64[1] != _END64.size - 12:
                raise RefusedFile("broken: the zip64 end record is not one")
            disks, (count, size, start) = list(end64[4:6]), end64[7:10]
            position = end64_at
    if any(disks):
        raise RefusedFile("refused: a zip archive in several parts")
    if start + size != position or count * _ENTRY.size > size:
        raise RefusedFile("broken: its zip directory is not where it should be")
    if size > MAX_DIRECTORY_BYTES:
        raise RefusedFile(
            f"refused: its zip directory takes {size} bytes, more than weights need "
            f"({MAX_DIRECTORY_BYTES})"
        )
    return count, size, start


def _read_entry(directory: bytes, position: int) -> tuple[Record, int]:
    """Return the record described at `directory[position]`, and where the next is."""
    after = position + _ENTRY.size
    if after > len(directory):
        raise RefusedFile("broken: its zip directory ends too early")
    entry = _ENTRY.unpack_from(directory, position)
    signature, flags, method, crc = entry[0], entry[3], entry[4], entry[7]
    sizes = [entry[9], entry[8], entry[16]]  # unpacked, packed, position
    name_size, extra_size, comment_size = entry[10:13]
    name_end, extra_end = after + name_size, after + name_size + extra_size
    if signature != b"PK\1\2" or extra_end + comment_size > len(directory):
        raise RefusedFile("broken: its zip directory is damaged")
    try:
        name = directory[after:name_end].decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedFile("broken: the name of a record is not UTF-8") from None
    if flags & 1:
        raise RefusedFile(f"refused: record {brief(name)} is encrypted")
    if not is_safe_name(name):
        raise RefusedFile(f"refused: a record is named {brief(name)}")
    large = [i for i, size in enumerate(sizes) if size == 0xFFFFFFFF]
    if large:
        fields = _zip64_fields(directory[name_end:extra_end])
        if len(fields) < len(large):
            raise RefusedFile(f"broken: record {brief(name)} lacks its zip64 sizes")
        for i, size in zip(large, fields, strict=False):
            sizes[i] = size
    size, packed_size, start = sizes
    record = Record(name, start, 0, packed_size, size, crc, method)
    return record, extra_end + comment_size


def _zip64_fields(extra: bytes) -> list[int]:
    """Return the 64-bit numbers of the zip64 extra field, if there is one."""
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            field = extra[position + 4 : position + 4 + size]
            return list(struct.unpack_from(f"<{len(field) // 8}Q", field))
        position += 4 + size
    return []


def is_safe_name(name: str) -> bool:
    """Return whether a record's name stays inside the archive, whoever unpacks it."""
    parts = name.split("/")
    drive = len(parts[0]) == 2 and parts[0][1] == ":"
    unclean = any(c in name for c in "\0\\")
    return (
        bool(name) and bool(parts[0]) and ".." not in parts and not (drive or unclean)
    )


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    data = file.read(count)
    if len(data) != count:
        raise RefusedFile("truncated: a zip archive is cut off")
    return data
