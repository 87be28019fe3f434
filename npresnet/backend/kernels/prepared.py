"""Weights in the order in which kernels read them, kept where weights cannot change.

Training changes weights at every step, so they are put in order at every call. A
model for inference holds constants (`npresnet.backend.constants`): those are put in
order once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.backend.constants import orders_of
from npresnet.backend.kernels import memory

Array = NDArray[np.floating[Any]]
# Makes an array of a shape and a dtype.
Room = Callable[[tuple[int, ...], DTypeLike], Array]


def prepared(weight: Array, order: Hashable, make: Callable[[Room], Array]) -> Array:
    """Return ``make(room)``, or what it gave before for the same constant.

    `room` is `memory.empty` if the result is kept, and `memory.scratch` if not.
    """
    orders = orders_of(weight)
    if orders is None:
        return make(memory.scratch)
    key = weight.shape, order
    result = orders.get(key)
    if result is None:
        result = orders[key] = make(memory.empty)
    return result
