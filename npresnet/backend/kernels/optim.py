"""The optimiser's step, in one pass over memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import reference
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.kernels.elementwise import blocks
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]

_CACHE_LINE = 16  # elements, at least: blocks end where a cache line does


def sgd_update(
    data: Array,
    grad: Array,
    velocity: Array,
    lr: float,
    momentum: float,
    keep: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """See `reference.sgd_update`; exactly equal."""
    settings = lr, momentum, keep, weight_decay
    if not (data.flags.carray and velocity.flags.carray):
        # What is changed in place must not be a copy.
        with np.errstate(all="ignore"):  # as in all that is compiled
            reference.sgd_update(data, grad, velocity, *settings, nesterov)
        return
    sgd_update_by(data, grad, velocity, np.array(settings), nesterov)


def sgd_update_by(
    data: Array, grad: Array, velocity: Array, settings: Array, nesterov: bool
) -> None:
    """Do `sgd_update` by settings in an array: lr, momentum, keep, weight_decay."""
    flat = data.reshape(-1), dense(grad).reshape(-1), velocity.reshape(-1)
    length, count = blocks(data.size, _CACHE_LINE)
    parallel_for(_sgd_update, count, *flat, settings, nesterov, length)


@kernel
def _sgd_update(data, grad, velocity, settings, nesterov, length, first, last):
    begin, end = first * length, last * length
    data, grad, velocity = data[begin:end], grad[begin:end], velocity[begin:end]
    one = data.dtype.type  # settings are rounded to the parameters' precision first
    lr, momentum = one(settings[0]), one(settings[1])
    keep, weight_decay = one(settings[2]), one(settings[3])
    if momentum == 0:
        for i in range(len(data)):
            data[i] -= (data[i] * weight_decay + grad[i]) * lr
        return
    for i in range(len(data)):
        direction = data[i] * weight_decay + grad[i]
        speed = velocity[i] * momentum + keep * direction
        velocity[i] = speed
        data[i] -= (speed * momentum + direction if nesterov else speed) * lr
