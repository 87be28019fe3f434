"""The epilogue of a convolution: what it does to results before they leave the core.

A bias, the addition of a residual and a ReLU cost a pass over memory each, or nothing.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.channels_last import pixels
from npresnet.backend.kernels.compile import dense, inlined, kernel

Array = NDArray[np.floating[Any]]


class Epilogue(NamedTuple):
    """A bias to every channel, a residual to every element, and then a floor."""

    bias: Array  # (K,)
    residual: Array  # flat, laid out like the results; never read unless `adds`
    adds: bool
    floor: Any  # what is less becomes this: zero, or minus infinity for no floor


def make_epilogue(
    bias: Array, residual: Array | None, rectify: bool, dtype: Any
) -> Epilogue:
    """Make an epilogue; it has as many channels as `bias`."""
    # Numba compiles for arrays, not for None.
    flat = dense(bias) if residual is None else pixels(residual).reshape(-1)
    floor = dtype.type(0 if rectify else -np.inf)
    return Epilogue(dense(bias), flat, residual is not None, floor)


@functools.lru_cache(maxsize=512)
def no_epilogue(channels: int, dtype: np.dtype[Any]) -> Epilogue:
    """Make one that changes nothing. It is shared: nobody writes to it."""
    return make_epilogue(np.zeros(channels, dtype), None, False, dtype)


@inlined
def changes_anything(epilogue):
    """Tell whether results are not the same before and after."""
    if epilogue.adds or epilogue.floor == 0:
        return True
    for value in epilogue.bias:
        if value != 0:
            return True
    return False


@inlined
def apply_epilogue_inline(row, offset, channel, epilogue):
    """Apply it to neighbours, the first of which has this offset in the results."""
    bias, residual = epilogue.bias[channel:], epilogue.residual[offset:]
    for m in range(len(row)):
        value = row[m] + bias[m]
        if epilogue.adds:
            value += residual[m]
        row[m] = epilogue.floor if value <= epilogue.floor else value


@kernel
def apply_epilogue(row, offset, channel, epilogue):
    """Do the same as a call, where the code around it had better stay short."""
    apply_epilogue_inline(row, offset, channel, epilogue)
