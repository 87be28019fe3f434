"""PyTorch's two file formats: where the pickle stands, and where the numbers.

The zip format (the default since PyTorch 1.6) is an archive of uncompressed records
under one folder, whose name is free::

    archive/data.pkl      the pickle of the object; it names storages by key
    archive/data/0 ...    one record of raw bytes per storage key
    archive/byteorder     "little" (since PyTorch 2.1; earlier files are little too)
    archive/version ...   and others that are of no use here

The legacy format is a sequence of pickles, with the storages behind them::

    0x1950a86a20f9469cfc6c, 1001, {"little_endian": True, ...}    three pickles
    the object                        a pickle that names storages by key
    [key, key, ...]                   a pickle: the order of the storages
    int64 numel, raw bytes            for each of them

Only the records that the pickle names are read, and every number of a file is
compared with a second one before it is believed: a storage's size with its record's,
or with the count in front of its bytes; the sum of all with the size of the file.

References
----------
PyTorch, ``torch/serialization.py`` (``_save``, ``_legacy_save``) and
``caffe2/serialize/inline_container.h`` (the layout of the archive).
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from npresnet.untrusted.pickle_values import Placeholder
from npresnet.untrusted.pickles import read_pickle
from npresnet.untrusted.text import RefusedFile, brief
from npresnet.weights.tensors import MEBIBYTE, Storages
from npresnet.weights.torch_globals import load_storage, torch_globals
from npresnet.weights.zip_records import Record, read_record

MAX_PICKLE_BYTES = 16 * MEBIBYTE
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def is_torch_archive(records: dict[str, Record]) -> bool:
    """Return whether a zip archive has the one record that PyTorch's all have."""
    return any(_inside(name) == "data.pkl" for name in records)


def read_archive(file: BinaryIO, file_size: int, records: dict[str, Record]) -> Any:
    """Return the object in a file of the zip format.

    Parameters
    ----------
    file : file
        The archive, seekable.
    file_size : int
        Its size in bytes.
    records : dict of str to Record
        Its directory, from `read_directory`.

    Raises
    ------
    RefusedFile
        If the file is broken, or a whole object of a class.
    """
    folder = next(n for n in records if _inside(n) == "data.pkl").split("/")[0]
    for name in records:
        if not name.startswith(f"{folder}/"):
            raise RefusedFile(
                f"refused: record {brief(name)} is not inside {brief(folder)}"
            )
        if _inside(name) == "constants.pkl" or _inside(name).startswith("code/"):
            raise RefusedFile(
                "refused: a TorchScript archive, which is a program; in PyTorch, save "
                "its weights with torch.save(module.state_dict(), path)"
            )
    byteorder = records.get(f"{folder}/byteorder")
    if byteorder is not None:
        _check_byteorder(file, byteorder)
    pickle = records[f"{folder}/data.pkl"]
    if pickle.size > MAX_PICKLE_BYTES:
        raise RefusedFile(
            f"refused: its pickle takes {pickle.size} bytes, more than weights need "
            f"({MAX_PICKLE_BYTES})"
        )
    storages = Storages(file_size)
    data = read_record(file, pickle).tobytes()
    value, end = _read_object(data, 0, storages)
    if end != len(data):
        raise RefusedFile(f"broken: {len(data) - end} bytes behind its pickle")
    for key, storage in storages.named.items():
        record = records.get(f"{folder}/data/{key}")
        size = storage.numel * storage.element.stored.itemsize
        if record is None:
            raise RefusedFile(f"broken: storage {key} is missing")
        if record.size != size:
            raise RefusedFile(
                f"broken: storage {key} should have {size} bytes, but its record has "
                f"{record.size}"
            )
        if storages.is_wanted(key):
            storages.fill(key, read_record(file, record))
    return value


def _read_object(data: bytes, start: int, storages: Storages) -> tuple[Any, int]:
    """Return the object of a file, and the position behind its pickle."""
    value, end = read_pickle(
        data,
        start,
        globals=torch_globals(storages),
        load_persistent=partial(load_storage, storages),
    )
    if isinstance(value, Placeholder):
        raise RefusedFile(
            f"refused: not weights, but a whole object ({value.type}), which takes its "
            "program to build; in PyTorch, torch.save(model.state_dict(), path) saves "
            "what is read here"
        )
    return value, end


def is_legacy(head: bytes) -> bool:
    """Return whether a file that begins like this is of the legacy format."""
    return head[:1] == b"\x80" and LEGACY_MAGIC.to_bytes(10, "little") in head[:32]


def read_legacy(file: BinaryIO, file_size: int) -> Any:
    """Return the object in a file of the legacy format.

    Parameters
    ----------
    file : file
        The file, seekable.
    file_size : int
        Its size in bytes.

    Raises
    ------
    RefusedFile
        If the file is broken, or a whole object of a class.
    """
    file.seek(0)
    head = file.read(min(file_size, MAX_PICKLE_BYTES))
    magic, position = read_pickle(head)
    protocol, position = read_pickle(head, position)
    system, position = read_pickle(head, position)
    numbers = type(magic) is int and type(protocol) is int  # before !=
    if not numbers or magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise RefusedFile(
            f"broken: PyTorch's legacy format, but version {brief(protocol)} instead "
            f"of {LEGACY_PROTOCOL}"
        )
    if type(system) is not dict or system.get("little_endian") is not True:
        raise RefusedFile("refused: written by a big-endian machine")
    storages = Storages(file_size)
    value, position = _read_object(head, position, storages)
    keys, position = read_pickle(head, position)
    if (
        type(keys) is not list
        or len(keys) != len(storages.named)
        or not all(type(key) is str for key in keys)
        or set(keys) != set(storages.named)
    ):
        raise RefusedFile("broken: its list of storages is not the one its tensors use")
    for key in keys:
        position = _read_storage(file, position, file_size, storages, key)
    if position != file_size:
        raise RefusedFile(f"broken: {file_size - position} bytes behind its storages")
    return value


def _read_storage(
    file: BinaryIO, position: int, file_size: int, storages: Storages, key: str
) -> int:
    """Read the storage at `position`, and return the position behind it."""
    storage = storages.named[key]
    size = storage.numel * storage.element.stored.itemsize
    end = position + 8 + size
    if end > file_size:
        raise RefusedFile(f"truncated: storage {key} is cut off")
    file.seek(position)
    (numel,) = struct.unpack("<q", file.read(8))
    if numel != storage.numel:
        raise RefusedFile(
            f"broken: storage {key} should have {storage.numel} elements, but has "
            f"{numel}"
        )
    if storages.is_wanted(key):
        raw: NDArray[np.uint8] = np.empty(size, dtype=np.uint8)
        if file.readinto(raw.data) != size:  # type: ignore[attr-defined]
            raise RefusedFile(f"truncated: storage {key} is cut off")
        storages.fill(key, raw)
    return end


def _check_byteorder(file: BinaryIO, record: Record) -> None:
    if record.size > 16 or read_record(file, record).tobytes() != b"little":
        raise RefusedFile("refused: its byte order is not 'little'")


def _inside(name: str) -> str:
    """Return a record's name without the archive's folder."""
    return name.partition("/")[2]
