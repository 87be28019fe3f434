"""Plain dicts of arrays: safetensors and npz, written and read.

In both formats a file holds names and arrays and nothing that could run; npz is
read without NumPy's `allow_pickle`.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from npresnet._plain import plain_like
from npresnet.untrusted import json_text
from npresnet.untrusted.text import RefusedFile, brief, shown, shown_message
from npresnet.weights.tensors import MEBIBYTE, memory_bound, widen_bfloat16
from npresnet.weights.zip_records import Record, is_safe_name, read_record

# What safetensors calls the types that PyTorch and NumPy share.
_SAFETENSORS_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
_DTYPES = frozenset(
    np.dtype(code).newbyteorder("=")
    for name, code in _SAFETENSORS_TYPES.items()
    if name != "BF16"
)


def prepare(model_or_state_dict: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays to save: by name, C-contiguous, native byte order.

    Raises
    ------
    TypeError
        If there is no dict, a name is not a str or a value not an ndarray.
    ValueError
        If a dtype is not one that PyTorch and NumPy share.
    """
    given = model_or_state_dict
    tensors = given.state_dict() if hasattr(given, "state_dict") else given
    if not isinstance(tensors, Mapping):
        raise TypeError(
            "model_or_state_dict has to be a dict of ndarrays or have a state_dict(), "
            f"not {type(given).__name__}"
        )
    prepared = {}
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"the name of an array has to be a str, not {name!r}")
        if not isinstance(value, np.ndarray | np.generic):
            raise TypeError(
                f"{name!r} has to be an ndarray, not {type(value).__name__}"
            )
        array = plain_like(repr(name), value)
        if array.dtype.newbyteorder("=") not in _DTYPES:
            raise ValueError(f"{name!r} has dtype {array.dtype}, which cannot be saved")
        dtype = array.dtype.newbyteorder("=")
        if name.rpartition(".")[2] == "num_batches_tracked" and array.size == 1:
            array, dtype = array.reshape(()), np.dtype(np.int64)
        # not np.ascontiguousarray, which gives a 0-d array an axis
        prepared[name] = np.asarray(array, dtype=dtype, order="C")
    return prepared


def write_safetensors(
    file: BinaryIO,
    tensors: dict[str, NDArray[Any]],
    metadata: Mapping[str, str] | None,
) -> None:
    """Write `tensors` and the notes `metadata` in the safetensors format."""
    from safetensors.numpy import save

    if "__metadata__" in tensors:
        raise ValueError("the name '__metadata__' is taken by the safetensors format")
    for key, note in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(note, str):
            raise TypeError(f"metadata has to map str to str, not {key!r} to {note!r}")
    file.write(save(tensors, dict(metadata) if metadata else None))


def write_npz(
    file: BinaryIO,
    tensors: dict[str, NDArray[Any]],
    metadata: Mapping[str, str] | None,
) -> None:
    """Write `tensors` in the npz format, uncompressed; it has no place for notes."""
    if metadata:
        raise ValueError("metadata needs a .safetensors file; .npz has no place for it")
    # not np.savez, which takes names for its own arguments
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in tensors.items():
            if not is_safe_name(name):
                raise ValueError(f"the name {name!r} cannot be saved in an .npz file")
            with archive.open(f"{name}.npy", "w", force_zip64=True) as record:
                npy.write_array(record, array, allow_pickle=False)


def is_safetensors(head: bytes) -> bool:
    """Return whether a file that begins like this is of the safetensors format."""
    # its length is below 2**40, as the format's own limit of 100 MB has it
    return head[8:9] == b"{" and head[5:8] == bytes(3) and head[:5] != bytes(5)


def read_safetensors(file: BinaryIO, file_size: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file; bfloat16 becomes float32.

    Raises
    ------
    RefusedFile
        If the header is larger than weights need, the library finds the file broken,
        or a dtype is not NumPy's.
    """
    from safetensors import SafetensorError, deserialize

    _read_header(file, file_size)  # the library has bounds that are too wide
    file.seek(0)
    try:
        entries = deserialize(file.read())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise RefusedFile(f"broken: {_one_line(error)}") from None
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in entries:
        code = _SAFETENSORS_TYPES.get(entry["dtype"])
        if code is None:
            raise RefusedFile(
                f"refused: array {brief(name)} has type {shown(entry['dtype'])}, which "
                "NumPy lacks"
            )
        raw = np.frombuffer(entry["data"], dtype=np.uint8)
        values = _shaped(raw, np.dtype(code), entry["shape"], name)
        if entry["dtype"] == "BF16":
            values = widen_bfloat16(values)
        tensors[name] = values
    return tensors


def read_safetensors_metadata(file: BinaryIO, file_size: int) -> dict[str, str]:
    """Return the notes in the header of a safetensors file.

    Raises
    ------
    RefusedFile
        If the header is broken, or larger than weights need.
    """
    notes = _read_header(file, file_size).get("__metadata__", {})
    if type(notes) is not dict or any(type(note) is not str for note in notes.values()):
        raise RefusedFile("broken: the notes in its safetensors header are not texts")
    return notes


def _read_header(file: BinaryIO, file_size: int) -> dict[str, Any]:
    file.seek(0)
    size = int.from_bytes(file.read(8), "little")
    if size > json_text.MAX_BYTES:
        raise RefusedFile(
            f"refused: its safetensors header takes {size:,} bytes, more than weights "
            f"need ({json_text.MAX_BYTES:,})"
        )
    if size > file_size - 8:
        raise RefusedFile("truncated: its safetensors header is cut off")
    try:
        header = json_text.parse(file.read(size))
    except ValueError as error:
        raise RefusedFile(f"broken: its safetensors header: {error}") from None
    if type(header) is not dict:
        raise RefusedFile("broken: its safetensors header is no JSON object")
    return header


def read_npz(
    file: BinaryIO, file_size: int, records: dict[str, Record]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file.

    Parameters
    ----------
    file : file
        The archive, seekable.
    file_size : int
        Its size in bytes; all arrays together take at most `memory_bound` of it.
    records : dict of str to Record
        Its directory, from `read_directory`.

    Raises
    ------
    RefusedFile
        If the file is broken, or an array is of objects or of a structured type.
    """
    tensors: dict[str, NDArray[Any]] = {}
    left = memory_bound(file_size)
    for record in records.values():
        name, dot, suffix = record.name.rpartition(".")
        if dot + suffix != ".npy":
            raise RefusedFile(
                "refused: a zip archive, but neither npz nor PyTorch's (it holds "
                f"{brief(record.name)})"
            )
        raw = read_record(file, record, largest_unpacked=left)
        left -= record.size
        tensors[name] = _read_npy(raw, name)
    return tensors


def _read_npy(raw: NDArray[np.uint8], name: str) -> NDArray[Any]:
    stream = io.BytesIO(raw[: MEBIBYTE // 8].tobytes())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2
            version = npy.read_magic(stream)
            read_header = (
                npy.read_array_header_1_0
                if version == (1, 0)
                else npy.read_array_header_2_0
            )
            shape, fortran_order, dtype = read_header(stream)
    except Exception as error:  # the header is Python source; so are its errors
        raise RefusedFile(
            f"broken: the header of array {brief(name)}: {_one_line(error)}"
        ) from None
    if dtype.newbyteorder("=") not in _DTYPES:
        raise RefusedFile(f"refused: array {brief(name)} has type {_one_line(dtype)}")
    values = _shaped(
        raw[stream.tell() :], dtype, shape[::-1] if fortran_order else shape, name
    )
    if fortran_order:
        values = values.T
    return np.array(values, dtype=dtype.newbyteorder("="), order="C")


def _shaped(
    raw: NDArray[np.uint8], dtype: np.dtype[Any], shape: Any, name: str
) -> NDArray[Any]:
    """Return bytes as an array, if there are exactly as many as its shape needs."""
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != raw.size:
        raise RefusedFile(
            f"broken: array {brief(name)} of shape {brief(tuple(shape))} and type "
            f"{dtype} has {raw.size} bytes"
        )
    try:
        if raw.size == 0:
            return np.empty(shape, dtype=dtype)
        return raw.view(dtype).reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has
        raise RefusedFile(f"broken: array {brief(name)}: {_one_line(error)}") from None


def _one_line(message: object) -> str:
    return shown(shown_message(message), 200)
