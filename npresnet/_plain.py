"""Subclasses of ndarray at the door: taken as plain arrays, or refused by name.

A subclass may give operators, indexing and shapes another meaning, of which the code
behind the door knows nothing. Most hold ordinary numbers all the same (`np.memmap`,
`np.recarray`, people's own): those are seen as what they are in memory, without a copy,
and what else they carry is not carried on. Two are refused, because something would be
lost without a word: masked arrays (their mask), and `np.matrix` (its ``*``, and that it
has two axes always).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def plain(name: str, value: Any) -> NDArray[Any]:
    """Return an array as an ndarray that is no subclass of it, in the same memory.

    Parameters
    ----------
    name : str
        What the user calls it.
    value : object
        What the user passed.

    Raises
    ------
    TypeError
        If it is no array, a masked array or a matrix.
    """
    if type(value) is np.ndarray:
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain NumPy array, got a masked array, whose mask would "
            "be lost: fill it in, as with .filled(0)"
        )
    if isinstance(value, np.matrix):
        raise TypeError(
            f"{name} must be a plain NumPy array, got a matrix: convert it with "
            "np.asarray"
        )
    return np.asarray(value)


def plain_like(name: str, value: Any) -> NDArray[Any]:
    """Return what NumPy makes of numbers, nested sequences or an array: see `plain`."""
    return plain(name, value) if isinstance(value, np.ndarray) else np.asarray(value)


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Name a dtype, and say so where only its byte order is unusual."""
    if not dtype.isnative and dtype.newbyteorder("=") in FLOATS:
        return f"{dtype.newbyteorder('=')} in the byte order of other machines"
    return str(dtype)
