"""How pickles make arrays and scalars of NumPy: of numbers, and of nothing else."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.untrusted.pickle_values import Machine, Placeholder
from npresnet.untrusted.text import RefusedFile, brief

MAX_DIMENSIONS = 32

_DTYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")

# In the patterns below a literal stands inside of its type, as in int(1): what a file
# gives is compared only then, and an array in that place would answer with an array.


class _Dtype(Placeholder):
    """A dtype: its code, then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        super().__init__("numpy.dtype")
        self.dtype = dtype

    def _set_state(self, machine: Machine, state: Any) -> Any:
        match state:
            case (
                int(3 | 4),
                str("<" | ">" | "|" as order),
                None,
                None,
                None,
                int(-1),
                int(-1),
                int(0),
            ):
                self.dtype = self.dtype.newbyteorder(order)
                return self
        return Placeholder("numpy.dtype")


class UnfinishedArray(Placeholder):
    """An array: first nothing, then its shape, dtype and bytes.

    Attributes
    ----------
    array : ndarray or None
        What it became. The machine's memo may still hold the unfinished one.
    """

    __slots__ = ("array",)

    def __init__(self) -> None:
        super().__init__("numpy.ndarray")
        self.array: NDArray[Any] | None = None

    def _set_state(self, machine: Machine, state: Any) -> Any:
        match state:
            case (int(1), tuple() as shape, _Dtype() as kind, int() as order, raw):
                self.array = _array(machine, shape, kind.dtype, bool(order), raw)
                return self.array
            case (int(1), tuple(), Placeholder(), _, _):
                return Placeholder("numpy.ndarray (not of numbers)")
        raise RefusedFile(f"refused: an array with the state {brief(state)}")


def dtype(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (code, align, copy)
    match args:
        case (str() as code, int(0 | 1), int(0 | 1)) if _DTYPE_CODE.fullmatch(code):
            return _Dtype(np.dtype(code))
    return Placeholder("numpy.dtype")  # objects, texts, dates, records


def unfinished_array(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (numpy.ndarray, (0,), b"b"): an empty array, whose state follows
    machine.spend(16)
    match args:
        case (Placeholder(type="numpy.ndarray"), (int(0),), str("b") | bytes(b"b")):
            return UnfinishedArray()
        case (Placeholder() as kind, *_):  # a matrix, a masked array
            return Placeholder(kind.type)
    return Placeholder("numpy.ndarray")


def array_from_buffer(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (bytes, dtype, shape, order): protocol 5
    machine.spend(16)
    match args:
        case (raw, _Dtype() as kind, tuple() as shape, str("C" | "F" as order)):
            return _array(machine, shape, kind.dtype, order == "F", raw)
    return Placeholder("numpy.ndarray")


def _array(
    machine: Machine,
    shape: tuple[Any, ...],
    dtype: np.dtype[Any],
    fortran_order: bool,
    raw: Any,
) -> NDArray[Any]:
    """Return a fresh array, C-contiguous and in native byte order."""
    if type(raw) is str:  # bytes of Python 2 that happened to be UTF-8
        raw = raw.encode("utf-8", "surrogatepass")
    if type(raw) not in (bytes, bytearray):
        raise RefusedFile(f"refused: an array made from {brief(raw)}")
    counts = all(type(n) is int and n >= 0 for n in shape)
    if (
        len(shape) > MAX_DIMENSIONS
        or not counts
        or math.prod(shape) * dtype.itemsize != len(raw)
    ):
        raise RefusedFile(
            f"broken: an array of shape {brief(shape)} and type {dtype} made from "
            f"{len(raw)} bytes"
        )
    machine.allocate(len(raw))
    flat = np.frombuffer(raw, dtype)
    try:
        given = flat.reshape(shape, order="F" if fortran_order else "C")
    except ValueError:  # empty, but with sides that NumPy cannot count
        raise RefusedFile(f"broken: an array of shape {brief(shape)}") from None
    return np.array(given, dtype.newbyteorder("="), order="C")


def scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (dtype, bytes)
    match args:
        case (_Dtype() as kind, bytes() | str() as raw):
            return _array(machine, (), kind.dtype, False, raw)[()]
    return Placeholder("numpy.generic")
