"""The checksum of named arrays: equal arrays under equal names, equal text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digest(arrays: Mapping[str, NDArray[Any]], preface: str = "") -> str:
    """Hash arrays with their names, dtypes and shapes, whatever their strides.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The arrays. Their order counts, too.
    preface : str
        What is hashed before them.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits: of the preface, and of every array's name, dtype
        (as in ``<f4``) and shape, with spaces between, and its elements in C order.
        Runs and checkpoints keep such digests, so that it must not change.

    Examples
    --------
    >>> a = np.arange(6.0).reshape(2, 3)
    >>> digest({"a": a}) == digest({"a": np.asfortranarray(a)})
    True
    >>> digest({"a": a}) == digest({"a": a.reshape(3, 2)})
    False
    """
    checksum = hashlib.sha256(preface.encode())
    for name, array in arrays.items():
        checksum.update(f"{name} {array.dtype.str} {array.shape}".encode())
        checksum.update(np.ascontiguousarray(array).reshape(-1).data)
    return checksum.hexdigest()
