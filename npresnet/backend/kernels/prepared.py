"""Weights in the order in which kernels read them, kept where weights cannot change.

Training changes weights at every step, so they are put in order at every call. A
model for inference marks its weights read-only: those are put in order once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.backend.kernels import memory

Array = NDArray[np.floating[Any]]
# Makes an array of a shape and a dtype.
Room = Callable[[tuple[int, ...], DTypeLike], Array]

_kept: dict[
    tuple[int, tuple[int, ...], Hashable], tuple[weakref.ref[Array], Array]
] = {}


def prepared(weight: Array, order: Hashable, make: Callable[[Room], Array]) -> Array:
    """Return ``make(room)``, or what it gave before for the same read-only weight.

    `room` is `memory.empty` if the result is kept, and `memory.scratch` if not. It is
    kept only if nobody can change the weight: neither the array nor, if it is a
    reshaped view of another one, that other one.
    """
    owner = weight if weight.base is None else weight.base
    if (
        not isinstance(owner, np.ndarray)
        or owner.flags.writeable
        or not owner.flags.owndata
        or owner.size != weight.size
    ):
        return make(memory.scratch)
    key = (id(owner), weight.shape, order)
    kept = _kept.get(key)
    if kept is not None and kept[0]() is owner:
        return kept[1]
    result = make(memory.empty)
    _kept[key] = (weakref.ref(owner, lambda _: _kept.pop(key, None)), result)
    return result
