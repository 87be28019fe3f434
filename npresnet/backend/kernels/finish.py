"""What a convolution may do to its results before they leave the core.

A bias, an addition and a ReLU cost a pass over memory each, or nothing.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.channels_last import pixels
from npresnet.backend.kernels.compile import dense, inlined, kernel

Array = NDArray[np.floating[Any]]


class Finish(NamedTuple):
    """A bias to every channel, an addend to every element, and then a floor."""

    bias: Array  # (K,)
    addend: Array  # flat, laid out like the results; never read unless `adds`
    adds: bool
    floor: Any  # what is less becomes this: zero, or minus infinity for no floor


def finish_with(bias: Array, addend: Array | None, rectify: bool, dtype: Any) -> Finish:
    """Put together what is to be done; channels are `bias`'s."""
    # Numba compiles for arrays, not for None.
    flat = dense(bias) if addend is None else pixels(addend).reshape(-1)
    floor = dtype.type(0 if rectify else -np.inf)
    return Finish(dense(bias), flat, addend is not None, floor)


@functools.lru_cache(maxsize=512)
def no_finish(channels: int, dtype: np.dtype[Any]) -> Finish:
    """Put together that nothing is to be done. It is shared: nobody writes to it."""
    return finish_with(np.zeros(channels, dtype), None, False, dtype)


@inlined
def changes_anything(finish):
    """Tell whether results are not the same before and after."""
    if finish.adds or finish.floor == 0:
        return True
    for value in finish.bias:
        if value != 0:
            return True
    return False


@inlined
def finish_row_here(row, place, channel, finish):
    """Finish neighbours, the first of them at `place` of the results."""
    bias, addend = finish.bias[channel:], finish.addend[place:]
    for m in range(len(row)):
        value = row[m] + bias[m]
        if finish.adds:
            value += addend[m]
        row[m] = finish.floor if value <= finish.floor else value


@kernel
def finish_row(row, place, channel, finish):
    """Do the same as a call, where the code around it had better stay short."""
    finish_row_here(row, place, channel, finish)
