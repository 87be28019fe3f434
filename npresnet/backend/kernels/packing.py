"""Packing: weights copied into the order in which kernels read them.

Training changes weights at every step, so they are packed at every call. A model for
inference holds constants (`npresnet.backend.constants`): those are packed once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.backend.constants import packings_of
from npresnet.backend.kernels import memory
from npresnet.backend.recording import not_recording

Array = NDArray[np.floating[Any]]
# Makes an array of a shape and a dtype.
Allocate = Callable[[tuple[int, ...], DTypeLike], Array]


def packed_weight(
    weight: Array, order: Hashable, pack: Callable[[Allocate], Array]
) -> Array:
    """Return ``pack(allocate)``, or what it gave before for the same constant.

    `allocate` is `memory.empty` if the result is kept, and `memory.scratch` if not.
    """
    packings = packings_of(weight)
    if packings is None:
        return pack(memory.scratch)
    key = weight.shape, order
    packed = packings.get(key)
    if packed is None:
        with not_recording():
            packed = packings[key] = pack(memory.empty)
    return packed
