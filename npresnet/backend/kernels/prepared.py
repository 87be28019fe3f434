"""Weights in the order in which kernels read them, kept where weights cannot change.

Training changes weights at every step, so they are put in order at every call. A
model for inference marks its weights read-only: those are put in order once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_kept: dict[tuple[int, str], tuple[weakref.ref[Array], Array]] = {}


def prepared(weight: Array, order: str, make: Callable[[], Array]) -> Array:
    """Return ``make()``, or what it gave before for the same read-only weight.

    Only for an array that owns its data: a read-only view of another one may change.
    """
    if weight.flags.writeable or weight.base is not None:
        return make()
    key = (id(weight), order)
    kept = _kept.get(key)
    if kept is not None and kept[0]() is weight:
        return kept[1]
    result = make()
    _kept[key] = (weakref.ref(weight, lambda _: _kept.pop(key, None)), result)
    return result
