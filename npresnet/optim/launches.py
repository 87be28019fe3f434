"""SGD's step as launches: all parameters by one call of compiled code."""

from __future__ import annotations

import operator
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

        That is so in its first step, which makes the velocities, and where an array is
        somebody's own and laid out in another way.
        """
        optimizer = self._optimizer
        arrays = self._arrays(optimizer)
        if arrays is None:
            return False
        same = len(arrays) == len(self._bound)
        if not (same and all(map(operator.is_, arrays, self._bound))):
            self._record(optimizer)
            self._bound = arrays
        if self._jobs is None:
            return False
        for group, settings in zip(optimizer.groups, self._settings, strict=True):
            settings[:] = (
                optimizer.lr,
                group["momentum"],
                1.0 - float(group["dampening"]),
                group["weight_decay"],
            )
        self._jobs.run()
        return True

    @staticmethod
    def _arrays(optimizer: SGD) -> list[Any] | None:
        """List all arrays that take part; None where one is not there yet."""
        arrays: list[Any] = []
        slots = iter(optimizer._slot)
        for group in optimizer.groups:
            arrays.append(group["nesterov"])
            arrays.append(bool(group["momentum"]))
            for parameter in group["params"]:
                velocity = next(slots).get("momentum_buffer")
                if parameter.grad is None or (group["momentum"] and velocity is None):
                    return None
                arrays += parameter.data, parameter.grad, velocity
        return arrays

    def _record(self, optimizer: SGD) -> None:
        self._settings = [np.zeros(4) for _ in optimizer.groups]
        self._jobs = None
        slots = iter(optimizer._slot)
        try:
            with recording(np.empty, np.empty(0, np.bool_)) as record:
                for group, settings in zip(
                    optimizer.groups, self._settings, strict=True
                ):
                    for parameter in group["params"]:
                        data = parameter.data
                        velocity = next(slots).get("momentum_buffer", data)
                        between.sgd_update_by(
                            data,
                            parameter.grad,
                            velocity,
                            settings,
                            bool(group["nesterov"]),
                        )
        except CannotRecord:  # an array of somebody's own, laid out in another way
            return
        self._jobs = Jobs(record.launches)
