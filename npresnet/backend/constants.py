"""Arrays that nobody can change, so that what follows from them can be kept.

NumPy's read-only flag does not promise that: it can be taken away again, and a view
taken before it was set can still be written through. The memory of a `bytes` object
cannot be written to by any view of it, and NumPy refuses to say otherwise.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How kernels have packed a constant, by the order in which they read it.
Packings = dict[Hashable, NDArray[Any]]

# By the constant's id, for as long as there is one.
_packings: dict[int, tuple[weakref.ref[NDArray[Any]], Packings]] = {}


def constant(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array into memory that nobody can write to.

    Kernels pack such weights once, and others at every call.

    Parameters
    ----------
    array : ndarray of any shape
        Left as it is. A constant is returned as it is.

    Returns
    -------
    ndarray of the shape and dtype of `array`
        C-contiguous, read-only for good: writing to it, or to a view of it, and
        making either writeable raise ValueError. Its copies are ordinary arrays.

    Examples
    --------
    >>> weight = constant(np.ones(3))
    >>> weight.flags.writeable = True
    Traceback (most recent call last):
        ...
    ValueError: cannot set WRITEABLE flag to True of this array
    """
    if _find(array) is not None:
        return array
    made = np.ndarray(array.shape, array.dtype, array.tobytes())
    key = id(made)
    _packings[key] = weakref.ref(made, lambda _: _packings.pop(key, None)), {}
    return made


def packings_of(array: NDArray[Any]) -> Packings | None:
    """Return what kernels keep of a constant, or None if `array` is none.

    A view counts as the constant if it shows all of its numbers in the same order, as
    those with more axes of length one do.
    """
    owner = array.base if isinstance(array.base, np.ndarray) else array
    packings = _find(owner)
    if (
        packings is None
        or array.size != owner.size
        or array.dtype != owner.dtype
        or not array.flags.c_contiguous
    ):
        return None
    return packings


def _find(array: NDArray[Any]) -> Packings | None:
    found = _packings.get(id(array))
    return None if found is None or found[0]() is not array else found[1]
