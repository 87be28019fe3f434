"""Averages of a model's weights over a run, which are measured and kept instead.

Two kinds. An exponential average over the steps smooths away the noise of the last
few hundred; batch norm's running statistics are averaged along. The plain average
over the ends of the last epochs (stochastic weight averaging) lies in the middle of
the places that training went through; nothing was ever normalised there, so batch
norm's statistics are measured anew.

References
----------
Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging";
Izmailov et al. 2018, arXiv 1803.05407, algorithm 1 and section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import BatchNorm2d, Module, no_grad
from npresnet.training.recipe import Recipe

_COUNT = "count"
# So many training images tell batch norm's statistics at averaged weights.
_STATISTICS_IMAGES = 10_000
Array = NDArray[Any]


class Averaging:
    """The average that a recipe asks for, if it asks for any.

    Parameters
    ----------
    recipe : Recipe
        Its `ema_decay` and `average_epochs` count.
    model : Module
        The model that is being trained.
    """

    def __init__(self, recipe: Recipe, model: Module) -> None:
        self.recipe, self.model = recipe, model
        self.average: WeightAverage | None = None
        if recipe.ema_decay or recipe.average_epochs:
            self.average = WeightAverage(model, recipe.ema_decay or None)

    def after_step(self) -> None:
        """Take the weights into an average over the steps."""
        if self.average is not None and self.recipe.ema_decay:
            self.average.update(self.model)

    def take_epoch(self, epoch: int) -> None:
        """Take the weights into an average over the last epochs, unless they are in.

        Parameters
        ----------
        epoch : int
            The epoch whose steps are done: 1, 2, ... Once more, after a run was
            stopped there and resumed, changes nothing.
        """
        if self.average is not None and self._is_among_the_last(epoch):
            before = max(0, self.recipe.epochs - self.recipe.average_epochs)
            if self.average.count < epoch - before:
                self.average.update(self.model)

    def measure_statistics(
        self, epoch: int, batches: Iterable[tuple[Array, NDArray[np.int64]]]
    ) -> None:
        """Measure batch norm's statistics, where the last epochs are averaged.

        Parameters
        ----------
        epoch : int
            The epoch whose steps are done.
        batches : iterable of (x, labels)
            Training images as the epoch saw them.
        """
        if self.average is not None and self._is_among_the_last(epoch):
            count = math.ceil(_STATISTICS_IMAGES / self.recipe.batch_size)
            self.average.measure_statistics(
                self.model, (x for x, _ in islice(batches, count))
            )

    def _is_among_the_last(self, epoch: int) -> bool:
        return self.recipe.average_epochs > self.recipe.epochs - epoch

    def applied(self) -> AbstractContextManager[None]:
        """Let the model be the average, where there is one, in a ``with`` block."""
        return (
            nullcontext() if self.average is None else self.average.applied(self.model)
        )

    def training_state(self) -> dict[str, Array]:
        """Return the ``state_dict`` that training goes on from, at any moment.

        It is the model's own, also while the model is the average.
        """
        own = None if self.average is None else self.average.set_aside
        return self.model.state_dict() if own is None else own

    def settle(self) -> None:
        """Leave the model as the average, where there is one."""
        if self.average is not None and self.average.count:
            self.model.load_state_dict(self.average.weights())

    def state_dict(self) -> dict[str, Array]:
        """Return what a checkpoint has to hold; empty where nothing is averaged."""
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Array]) -> None:
        """Continue from what `state_dict` returned."""
        if self.average is not None:
            self.average.load_state_dict(state_dict)


class WeightAverage:
    """A running average of everything in a model's ``state_dict``.

    Parameters
    ----------
    model : Module
        The model that is being trained.
    decay : float, optional
        Share of itself that the average keeps at each update, in [0, 1). The first
        updates keep less, ``(1 + t) / (10 + t)`` at update t = 1, 2, ..., so that the
        first weights are soon forgotten. None: the plain average of all updates.

    Attributes
    ----------
    count : int
        How many updates there were.
    set_aside : dict of str to ndarray, or None
        The model's own state while it is the average.
    """

    def __init__(self, model: Module, decay: float | None = None) -> None:
        self.decay = decay
        self.count = 0
        self.set_aside: dict[str, Array] | None = None
        self._average: dict[str, Array] = model.state_dict()

    @np.errstate(under="ignore")  # what is too small for a float is zero, no error
    def update(self, model: Module) -> None:
        """Take the model's present state into the average."""
        self.count += 1
        share = 1 / self.count
        if self.decay is not None:
            share = 1 - min(self.decay, (1 + self.count) / (10 + self.count))
        for name, value in _state(model):
            average = self._average[name]
            if average.dtype.kind != "f" or share == 1:
                average[...] = value  # a count of batches, or the first of all
            else:
                average += share * (value - average)

    def measure_statistics(self, model: Module, batches: Iterable[Array]) -> None:
        """Measure batch norm's statistics at the averaged weights.

        Parameters
        ----------
        model : Module
            The model; as it was afterwards.
        batches : iterable of ndarray of shape (N, C, H, W)
            Images as training sees them. The statistics are the mean of the batches'.
        """
        norms = [
            part
            for part in model.modules()
            if isinstance(part, BatchNorm2d) and part.track_running_stats
        ]
        momenta = [norm.momentum for norm in norms]
        was_training = model.training
        with self.applied(model):
            try:
                model.train()
                for norm in norms:
                    norm.num_batches_tracked = np.array(0, np.int64)
                for number, x in enumerate(batches, 1):
                    for norm in norms:
                        norm.momentum = 1 / number  # the running mean of all so far
                    with no_grad():
                        model(x)
            finally:
                for norm, momentum in zip(norms, momenta, strict=True):
                    norm.momentum = momentum
                model.train(was_training)

    @contextmanager
    def applied(self, model: Module) -> Iterator[None]:
        """Let the model be its average within a ``with`` block.

        Where there was no update yet, the model stays what it is. What the block
        changes belongs to the average.
        """
        if not self.count:
            yield
            return
        # Whoever interrupts this, at whatever line, finds the model's own state: set
        # aside before it is touched, and let go of when it is back.
        self.set_aside = own = model.state_dict()
        model.load_state_dict(self._average)
        try:
            yield
        finally:
            self._average = model.state_dict()
            model.load_state_dict(own)
            self.set_aside = None

    def weights(self) -> dict[str, Array]:
        """Return the average, under the names of the model's ``state_dict``."""
        return {name: array.copy() for name, array in self._average.items()}

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the average and of the number of updates."""
        count = {_COUNT: np.array(self.count, np.int64)}
        return count | self.weights()

    def load_state_dict(self, state_dict: Mapping[str, Array]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or an array has another shape or dtype.
        """
        given = dict(state_dict)
        count = given.pop(_COUNT, None)
        if count is None or given.keys() != self._average.keys():
            names = sorted(given.keys() ^ self._average.keys()) or [_COUNT]
            raise ValueError(f"state_dict: missing or unknown: {', '.join(names[:3])}")
        for name, array in given.items():
            own = self._average[name]
            if array.shape != own.shape or array.dtype != own.dtype:
                raise ValueError(
                    f"state_dict: {name!r} should be {own.dtype} of shape {own.shape}, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        self._average = {name: array.copy() for name, array in given.items()}
        self.count = int(count)


def _state(model: Module) -> Iterator[tuple[str, Array]]:
    for name, parameter in model.named_parameters():
        yield name, parameter.data
    yield from model.named_buffers()
