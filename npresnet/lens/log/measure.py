"""Readings of an instrument while a model trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shared.result import Result
from npresnet.nn import Module

Array = NDArray[np.floating[Any]]
Reading = TypeVar("Reading", bound=Result)
Instrument = Callable[[Module, Array, NDArray[np.integer[Any]]], Reading]


class Log(Generic[Reading]):
    """Takes a reading every so many steps or epochs, always on the same batch.

    It is a callback for `npresnet.training.fit`, after steps or after epochs. The
    model is left as it was, so a run with a log ends with the same bits as one
    without.

    Parameters
    ----------
    instrument : callable
        ``instrument(model, x, y)``, such as `ledger` or `spectrum`.
    model : Module
        The model that trains.
    x, y : ndarray
        The batch to look at.
    every : int
        Steps, or epochs, from one reading to the next.

    Attributes
    ----------
    moments : list of int
        After which steps, or epochs, readings were taken.
    readings : list of Result
        What the instrument read.
    unit : str
        ``"step"`` or ``"epoch"``.

    Raises
    ------
    ValueError
        If `every` is below 1.

    Examples
    --------
    ::

        log = nr.lens.Log(nr.lens.ledger, model, x, y, every=50)
        log.read(0)  # before the first step
        nr.training.fit(model, train, test, step_callbacks=[log])
        nr.lens.LedgerHistory.of(log).save("ledger.png")
    """

    def __init__(
        self,
        instrument: Instrument[Reading],
        model: Module,
        x: Array,
        y: NDArray[np.integer[Any]],
        *,
        every: int = 1,
    ) -> None:
        if every < 1:
            raise ValueError(f"every: expected 1 or more, got {every}")
        self.instrument, self.model, self.every = instrument, model, every
        self.x, self.y = x, y
        self.moments: list[int] = []
        self.readings: list[Reading] = []
        self.unit = "step"

    def __call__(self, event: int | Mapping[str, Any]) -> None:
        """Take a reading if it is time.

        Parameters
        ----------
        event : int or mapping
            The number of the step just taken, or the row of the epoch just done.
        """
        if isinstance(event, Mapping):
            self.unit = "epoch"
            event = int(event["epoch"])
        if event % self.every == 0:
            self.read(event)

    def read(self, moment: int) -> Reading:
        """Take a reading now."""
        reading = self.instrument(self.model, self.x, self.y)
        self.moments.append(moment)
        self.readings.append(reading)
        return reading

    def read_checkpoints(
        self,
        checkpoints: Mapping[int, str | os.PathLike[str] | Mapping[str, Any]],
        unit: str = "epoch",
    ) -> None:
        """Take a reading for each of several states of the model, then put it back.

        Parameters
        ----------
        checkpoints : mapping of int to path or state dict
            Files of weights, or what ``state_dict()`` gave, by epoch or step.
        unit : str
            Which of the two.
        """
        from npresnet import weights

        self.unit = unit
        with preserve_state(self.model):
            for moment, state in checkpoints.items():
                if not isinstance(state, Mapping):
                    state = weights.load(state)
                self.model.load_state_dict(state)
                self.read(moment)
