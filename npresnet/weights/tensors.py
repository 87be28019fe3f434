"""From a PyTorch file's storages to ndarrays, within bounds that a file cannot move.

A PyTorch tensor is a view: a storage (a flat run of elements, kept under a key), an
offset, a size and a stride, both counted in elements. A file names the storages it
needs long before their bytes arrive (in the legacy format they come last), so an
array is allocated when the pickle asks for it, once its view is known to be sane,
and filled when its storage is read. Every array is a fresh, writeable, C-contiguous
copy; two tensors that share a storage become two arrays.

bfloat16 has no NumPy dtype and becomes float32, which holds each of its values
exactly. All other types keep theirs.

References
----------
PyTorch, ``torch/_utils.py`` (``_rebuild_tensor_v2``) and ``torch/storage.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from npresnet.untrusted.text import RefusedFile, brief

MEBIBYTE = 1 << 20
MAX_DIMENSIONS = 64  # NumPy's own limit


class ElementType(NamedTuple):
    """How a storage keeps an element, and what the element becomes."""

    stored: np.dtype[Any]  # little-endian, as in the file
    loaded: np.dtype[Any] | None  # native; None where NumPy has no such numbers


def _same(stored: str) -> ElementType:
    dtype = np.dtype(stored)
    return ElementType(dtype, dtype.newbyteorder("="))


def _without_array(stored: str) -> ElementType:
    return ElementType(np.dtype(stored), None)


BFLOAT16 = ElementType(np.dtype("<u2"), np.dtype(np.float32))
BOOL = ElementType(np.dtype("u1"), np.dtype(np.bool_))

STORAGE_TYPES = {
    "FloatStorage": _same("<f4"),
    "DoubleStorage": _same("<f8"),
    "HalfStorage": _same("<f2"),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": _same("<i8"),
    "IntStorage": _same("<i4"),
    "ShortStorage": _same("<i2"),
    "CharStorage": _same("i1"),
    "ByteStorage": _same("u1"),
    "BoolStorage": BOOL,
    "ComplexFloatStorage": _same("<c8"),
    "ComplexDoubleStorage": _same("<c16"),
    "UntypedStorage": _same("u1"),  # bytes of a type that the tensor names
    # of quantised tensors
    "QInt8Storage": _without_array("i1"),
    "QUInt8Storage": _without_array("u1"),
    "QInt32Storage": _without_array("<i4"),
    "QUInt4x2Storage": _without_array("u1"),
    "QUInt2x4Storage": _without_array("u1"),
}
# Types that have no storage type of their own, but that NumPy has.
UNTYPED = {
    "torch.uint16": _same("<u2"),
    "torch.uint32": _same("<u4"),
    "torch.uint64": _same("<u8"),
}


def memory_bound(file_size: int) -> int:
    """Return how many bytes the arrays of a file may take together.

    Four times the file and 64 MiB: room for bfloat16 (twice), for tensors that share
    a storage and for compressed zeros, and no room for a bomb.
    """
    return 4 * file_size + 64 * MEBIBYTE


def widen_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return bfloat16 `bits` as float32, of which they are the upper half."""
    return np.left_shift(bits, 16, dtype=np.uint32).view(np.float32)


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that the pickle has named, or a slice of one."""

    key: str
    element: ElementType
    numel: int
    start: int = 0  # in elements; not 0 only for the legacy format's storage views

    def view(self, start: object, numel: object) -> Storage:
        """Return the slice [start, start + numel) of this storage."""
        if not (is_count(start) and is_count(numel) and start + numel <= self.numel):
            raise RefusedFile(
                f"broken: a view ({brief(start)}, {brief(numel)}) of storage "
                f"{self.key!r} reaches outside its {self.numel} elements"
            )
        return Storage(self.key, self.element, numel, self.start + start)

    def of_type(self, element: ElementType) -> Storage:
        """Return these bytes as a storage of other elements."""
        size, itemsize = self.element.stored.itemsize, element.stored.itemsize
        if self.start * size % itemsize:
            raise RefusedFile(f"broken: a view of storage {self.key} between elements")
        return Storage(
            self.key,
            element,
            self.numel * size // itemsize,
            self.start * size // itemsize,
        )


class _Wanted(NamedTuple):
    """An allocated array and the view of a storage that will fill it."""

    array: NDArray[Any]
    element: ElementType
    start: int
    stride: tuple[int, ...]
    negative: bool
    conjugate: bool


class Storages:
    """The storages a file names and the arrays that wait for them.

    Parameters
    ----------
    file_size : int
        Size of the file in bytes; it bounds the storages, and with them everything.
    """

    def __init__(self, file_size: int) -> None:
        self.named: dict[str, Storage] = {}
        self._wanted: dict[str, list[_Wanted]] = {}
        self._file_size = file_size
        self._bytes_of_storages = 0
        self._bytes_of_arrays = 0

    def name(self, key: object, element: ElementType, numel: object) -> Storage:
        """Note that the pickle names a storage of `numel` elements under `key`."""
        if type(key) is not str or not (key.isascii() and key.isdecimal()):
            raise RefusedFile(
                f"broken: the storage key {brief(key)} is not a decimal number"
            )
        if not is_count(numel):
            raise RefusedFile(
                f"broken: storage {brief(key)} has a size of {brief(numel)}"
            )
        known = self.named.get(key)
        if known is not None:
            if (known.element, known.numel) != (element, numel):
                raise RefusedFile(
                    f"broken: storage {brief(key)} is named twice, with different "
                    "types or sizes"
                )
            return known
        self._bytes_of_storages += numel * element.stored.itemsize
        if self._bytes_of_storages > self._file_size:
            raise RefusedFile(
                f"broken: its storages would take {brief(self._bytes_of_storages)} "
                f"bytes, but the file has {self._file_size} (truncated?)"
            )
        self.named[key] = Storage(key, element, numel)
        self._wanted[key] = []
        return self.named[key]

    def tensor(
        self,
        storage: Storage,
        offset: object,
        size: object,
        stride: object,
        *,
        negative: bool = False,
        conjugate: bool = False,
    ) -> NDArray[Any]:
        """Allocate the array of a view; `fill` gives it its values.

        Parameters
        ----------
        storage : Storage
            Of elements that NumPy has.
        offset, size, stride : object
            As the file gives them.
        negative, conjugate : bool
            Whether the view turns the values' signs, or those of imaginary parts.

        Raises
        ------
        RefusedFile
            If the view is malformed or reaches outside its storage, or if all arrays
            together would exceed `memory_bound`: a stride of 0, as `expand` makes it,
            costs a file nothing.
        """
        if not (
            is_count(offset)
            and type(size) is tuple
            and type(stride) is tuple
            and len(size) == len(stride) <= MAX_DIMENSIONS
            and all(map(is_count, size))
            and all(map(is_count, stride))
        ):
            raise RefusedFile(
                f"broken: a tensor with offset {brief(offset)}, size {brief(size)} and "
                f"stride {brief(stride)}"
            )
        # Along an axis of one element a stride means nothing, and may be anything.
        stride = tuple(s if n > 1 else 0 for n, s in zip(size, stride, strict=True))
        numel = math.prod(size)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if numel and last >= storage.numel:
            raise RefusedFile(
                f"broken: a tensor with offset {brief(offset)}, size {brief(size)} and "
                f"stride {brief(stride)} reaches outside its storage of "
                f"{storage.numel} elements"
            )
        loaded = storage.element.loaded
        assert loaded is not None  # the caller's promise
        self._bytes_of_arrays += numel * loaded.itemsize
        if self._bytes_of_arrays > memory_bound(self._file_size):
            raise RefusedFile(
                f"refused: its tensors would take more than "
                f"{memory_bound(self._file_size)} bytes of memory (the file has "
                f"{self._file_size})"
            )
        try:
            array = np.empty(size, dtype=loaded)
        except ValueError:  # empty, but with sides that NumPy cannot count
            raise RefusedFile(f"broken: a tensor of size {brief(size)}") from None
        if numel:
            start = storage.start + offset
            self._wanted[storage.key].append(
                _Wanted(array, storage.element, start, stride, negative, conjugate)
            )
        return array

    def is_wanted(self, key: str) -> bool:
        """Return whether any array waits for the storage `key`."""
        return bool(self._wanted[key])

    def fill(self, key: str, raw: NDArray[np.uint8]) -> None:
        """Copy the bytes of a storage into the arrays that wait for it.

        Parameters
        ----------
        key : str
            The storage's key.
        raw : ndarray of shape (numel * itemsize,)
            Its bytes.
        """
        for array, element, start, stride, negative, conjugate in self._wanted.pop(key):
            whole = raw.size - raw.size % element.stored.itemsize
            flat = raw[:whole].view(element.stored)  # (numel,)
            # `tensor` has shown that this stays inside `flat`
            values: NDArray[Any] = np.lib.stride_tricks.as_strided(
                flat[start:],
                shape=array.shape,
                strides=[s * flat.itemsize for s in stride],
                writeable=False,
            )
            if element is BFLOAT16:
                values = widen_bfloat16(values)
            elif element is BOOL:
                values = values != 0
            if conjugate:
                values = np.conj(values)
            array[...] = -values if negative else values


def is_count(value: object) -> TypeGuard[int]:
    """Return whether `value` is an int (and no bool) from 0 up."""
    return type(value) is int and value >= 0
