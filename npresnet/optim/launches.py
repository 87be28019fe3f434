"""SGD's step as launches: all parameters by one call of compiled code."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.backend import between
from npresnet.backend.recording import CannotRecord, recording
from npresnet.backend.threads.recorded import Jobs

if TYPE_CHECKING:
    from npresnet.optim.sgd import SGD


class SGDLaunches:
    """What `SGD` does in a step, recorded.

    Parameters
    ----------
    optimizer : SGD
        Whose step it is.
    """

    def __init__(self, optimizer: SGD) -> None:
        self._optimizer = optimizer
        self._jobs: Jobs | None = None
        self._bound: list[Any] = []
        self._settings: list[Any] = []

    def run(self) -> bool:
        """Move all parameters; False where the optimiser itself has to do it.

        That is so where some parameters have moved before and others have not, and
        where an array is somebody's own and laid out in another way.
        """
        optimizer = self._optimizer
        moved = _have_moved(optimizer)
        if len(moved) > 1 or any(one.grad is None for one in optimizer._parameters()):
            return False
        is_first = moved == {False}
        if is_first:
            _make_velocities(optimizer)
        arrays = _arrays(optimizer)
        same = len(arrays) == len(self._bound)
        if not (same and all(map(operator.is_, arrays, self._bound))):
            self._record(optimizer)
            self._bound = arrays
        if self._jobs is None:
            if is_first:
                optimizer._slot = [{} for _ in optimizer._slot]
            return False
        for group, settings in zip(optimizer.groups, self._settings, strict=True):
            settings[:] = (
                optimizer.lr,
                group["momentum"],
                # The first step's direction is taken as it is.
                1.0 if is_first else 1.0 - float(group["dampening"]),
                group["weight_decay"],
            )
        self._jobs.run()
        return True

    def _record(self, optimizer: SGD) -> None:
        self._settings = [np.zeros(4) for _ in optimizer.groups]
        self._jobs = None
        of = dict(zip(map(id, optimizer.groups), self._settings, strict=True))
        try:
            with recording(np.empty, np.empty(0, np.bool_)) as record:
                for group, parameter, slots in _with_slots(optimizer):
                    data = parameter.data
                    velocity = slots.get("momentum_buffer", data)
                    arrays = data, parameter.grad, velocity, of[id(group)]
                    between.sgd_update_by(*arrays, bool(group["nesterov"]))
        except CannotRecord:  # an array of somebody's own, laid out in another way
            return
        self._jobs = Jobs(record.launches)


def _with_slots(optimizer: SGD) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Go through all parameters: each one's group, itself, what is kept of it."""
    slots = iter(optimizer._slot)
    for group in optimizer.groups:
        for parameter in group["params"]:
            yield group, parameter, next(slots)


def _have_moved(optimizer: SGD) -> set[bool]:
    """Tell whether parameters with momentum have a velocity: some, others, or both."""
    return {
        "momentum_buffer" in slots
        for group, _, slots in _with_slots(optimizer)
        if group["momentum"]
    }


def _make_velocities(optimizer: SGD) -> None:
    for group, parameter, slots in _with_slots(optimizer):
        if group["momentum"]:
            slots["momentum_buffer"] = np.zeros_like(parameter.data)


def _arrays(optimizer: SGD) -> list[Any]:
    """List everything that a recording depends on."""
    arrays: list[Any] = []
    for group, parameter, slots in _with_slots(optimizer):
        arrays += group["nesterov"], parameter.data, parameter.grad
        arrays.append(slots.get("momentum_buffer"))
    return arrays
