"""Training and measuring gone wrong.

This room may not import the one above it, so it asks `original` for what is right.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npresnet.data import Dataset
from npresnet.lens.bugs.patching import original
from npresnet.lens.bugs.registry import bug
from npresnet.nn import Module

_EVALUATE = "npresnet.training.evaluation:evaluate"
_SCHEDULE = "npresnet.training.recipes:Recipe.make_schedule"


@bug(
    _EVALUATE,
    seen_in="resnet-numpy-cifar10",
    symptom="accuracy depends on the batch size, and evaluating changes the network",
)
def eval_mode_forgotten(
    model: Module, dataset: Dataset, batch_size: int = 256, **statistics: Any
) -> Any:
    """Measure in whatever mode the model happens to be in."""
    model.eval = lambda: model  # type: ignore[method-assign]
    try:
        return original(_EVALUATE)(model, dataset, batch_size, **statistics)
    finally:
        del model.eval


@bug(
    _EVALUATE,
    seen_in="common: drop_last=True, or len(dataset) // batch_size",
    symptom="a test set of 9,984 images: results that cannot be compared",
)
def evaluation_drops_last_batch(
    model: Module, dataset: Dataset, batch_size: int = 256, **statistics: Any
) -> Any:
    """Leave out the images that do not fill a batch."""
    full = len(dataset) - len(dataset) % batch_size
    seen = dataset.subset(np.arange(full)) if full else dataset
    return original(_EVALUATE)(model, seen, batch_size, **statistics)


@bug(
    _EVALUATE,
    seen_in="common: losses.append(loss), then np.mean(losses)",
    symptom="a loss that depends on the batch size in its third digit",
)
def mean_of_batch_means(
    model: Module, dataset: Dataset, batch_size: int = 256, **statistics: Any
) -> Any:
    """Average the batches' losses as if the last one were as large as the others."""
    measure = original(_EVALUATE)
    losses = [
        measure(
            model,
            dataset.subset(np.arange(start, min(start + batch_size, len(dataset)))),
            batch_size,
            **statistics,
        ).loss
        for start in range(0, len(dataset), batch_size)
    ]
    result = measure(model, dataset, batch_size, **statistics)
    return replace(result, loss=float(np.mean(losses)))


@bug(
    _SCHEDULE,
    seen_in="common: scheduler.step() once per batch with a schedule made for epochs",
    symptom="the learning rate is at its end after a few batches",
)
def schedule_made_for_epochs(self: Any, steps_per_epoch: int) -> Any:
    """Make a schedule that counts epochs, for a loop that counts steps."""
    return original(_SCHEDULE)(self, 1)
