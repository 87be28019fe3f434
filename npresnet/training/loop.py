"""The training loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.optim import Optimizer, Schedule
from npresnet.training import checkpoint, configuration, recipes
from npresnet.training.averaging import Averaging
from npresnet.training.checkpoint import Checkpoint
from npresnet.training.evaluation import Evaluation, evaluate
from npresnet.training.interruption import (
    StopRequest,
    TrainingInterrupted,
    stop_requests,
)
from npresnet.training.metrics import Row
from npresnet.training.progress import Progress, make_progress
from npresnet.training.recipe import Recipe
from npresnet.training.report import write_report
from npresnet.training.run_folder import RunFolder
from npresnet.training.sets import Sets, prepare

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module

_SECONDS_BETWEEN_PICTURES = 10


@dataclass(frozen=True)
class Run:
    """What came of a training run.

    Attributes
    ----------
    folder : Path
        Where configuration, metrics, weights and curves are.
    recipe : Recipe
        What was done.
    history : list of dict
        One row per epoch: ``epoch`` (1, 2, ...), ``lr`` (of the epoch's last step),
        ``train_loss`` (nats), ``train_accuracy`` (0 to 1), both as they came up while
        the weights changed, the same for ``test`` (and ``validation``, where there
        is such a set) with the weights, or their average, at the epoch's end,
        ``test_flip`` (1: mirror images were looked at, too; absent where they were
        not), ``seconds`` (training and evaluation) and ``images_per_second``
        (training).
    test : Evaluation
        The final weights on the test set.
    """

    folder: Path
    recipe: Recipe
    history: list[Row]
    test: Evaluation


def fit(
    model: Module,
    train: Dataset,
    test: Dataset,
    validation_set: Dataset | None = None,
    recipe: str | Recipe = "digits-quick",
    out: str | os.PathLike[str] | None = "runs/first",
    seed: int = 0,
    resume: str | os.PathLike[str] | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    quiet: bool = False,
    progress: Progress | None = None,
    callbacks: Iterable[Callable[[Row], None]] = (),
    record: Mapping[str, Mapping[str, Any]] | None = None,
) -> Run:
    """Train a model and leave a run folder.

    Parameters
    ----------
    model : Module
        Changed in place; in training mode afterwards. Where the recipe averages
        weights, it ends as their average.
    train, test : Dataset
        Images to learn from, and images to measure on.
    validation_set : Dataset, optional
        Images to measure on after each epoch; the test set is then looked at once,
        after the last epoch. Takes the place of those that the recipe would hold out
        of `train`. Without either, the test set is measured after each epoch.
    recipe : str or Recipe, default "digits-quick"
        The settings, or the name of a recipe.
    out : path or None, default "runs/first"
        The run folder, which must not hold a run; None makes a new one under
        ``runs/``, named by date, time, model and data set.
    seed : int, default 0
        Decides the order of the images and their augmentation.
    resume : path, optional
        Continue the run in this folder: recipe, seed and everything else come from
        it. A run that was cut off before its first checkpoint starts anew.
    epochs, batch_size, lr : optional
        Settings that replace the recipe's.
    quiet : bool, default False
        Show no progress.
    progress : Progress, optional
        Who is told how it goes; by default a live bar or plain lines.
    callbacks : iterable of callable, optional
        Each is called with every new row of the history.
    record : mapping, optional
        More for ``config.json``, such as ``{"model": {"name": "resnet8"}}``.

    Returns
    -------
    Run
        The folder, the history, and the final result on the test set.

    Raises
    ------
    ValueError
        If the settings, the data and the model do not fit each other, or what is
        given to a resumed run disagrees with its folder.
    FileExistsError
        If `out` already holds a run.
    FloatingPointError
        If the loss is not finite; the last complete epoch's weights stay.
    TrainingInterrupted
        At Ctrl-C or a terminate signal; the last complete epoch's weights stay.

    Notes
    -----
    Every random number depends on (seed, epoch) only, and the learning rate on the
    step: a run that was interrupted and resumed ends with the same bits as one that
    was not.
    """
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    watch = make_progress(quiet) if progress is None else progress

    if resume is not None:
        folder = RunFolder.open(resume)
        config = folder.read_config()
        resolved = Recipe.from_dict(config["recipe"])
        sets = prepare(resolved, train, test, validation_set)
        facts = configuration.describe(model, *sets, record)
        configuration.check_resumed(folder, config, facts, recipe, seed, given)
        seed = int(config["seed"])
        start, remarks = checkpoint.load_latest(folder.checkpoint_path)
        for remark in remarks:
            watch.message(f"{remark}; going on from the one before it")
    else:
        chosen = recipes.get(recipe) if isinstance(recipe, str) else recipe
        resolved = chosen.changed(**given)
        sets = prepare(resolved, train, test, validation_set)
        resolved = resolved.fitted_to(len(sets.train))
        facts = configuration.describe(model, *sets, record)
        facts.update(recipe=resolved.to_dict(), seed=seed)
        folder = RunFolder.create(out, facts["model"]["name"], train.name)
        folder.write_config(facts)
        start = None

    session = _Session(model, sets, resolved, seed, folder, watch, tuple(callbacks))
    return session.run(start)


class _Session:
    """One run under way."""

    def __init__(
        self,
        model: Module,
        sets: Sets,
        recipe: Recipe,
        seed: int,
        folder: RunFolder,
        watch: Progress,
        callbacks: tuple[Callable[[Row], None], ...],
    ) -> None:
        self.model, self.recipe, self.seed, self.folder = model, recipe, seed, folder
        self.watch, self.callbacks = watch, callbacks
        self.sets = sets
        self.config = folder.read_config()
        self.history: list[Row] = []
        self.drawn = -math.inf
        self.steps = recipe.steps_per_epoch(len(sets.train))
        self.schedule: Schedule = recipe.make_schedule(self.steps)
        self.optimizer: Optimizer = recipe.make_optimizer(model)
        self.averaging = Averaging(recipe, model)

    def run(self, start: Checkpoint | None) -> Run:
        """Train the epochs that are left."""
        try:
            with stop_requests() as stop:
                if start is not None:
                    self._restore(start)
                self._announce()
                result = self._run_epochs(stop)
        except KeyboardInterrupt:
            raise self._interrupted(stop) from None
        finally:
            self.watch.close()
        self._finish(result)
        return Run(self.folder.path, self.recipe, self.history, result)

    def _announce(self) -> None:
        headline = configuration.headline(self.config, self.recipe, self.folder)
        self.watch.message(headline)
        if len(self.history) == self.recipe.epochs:
            self.watch.message("this run is complete; nothing is left to do")
        elif self.history:
            self.watch.message(f"going on after epoch {len(self.history)}")
        if configuration.kernels_are_missing():
            self.watch.message(
                "compiling kernels: once per machine, a few seconds to a minute"
            )

    def _run_epochs(self, stop: StopRequest) -> Evaluation:
        result: Evaluation | None = None
        for epoch in range(len(self.history) + 1, self.recipe.epochs + 1):
            row, result = self._epoch(epoch, stop)
            self._save(row)
            self.watch.end_epoch(row)
            for callback in self.callbacks:
                callback(row)
        if result is None:  # there was nothing left to train
            with self.averaging.applied():
                result = self._evaluate("test", self.sets.test)
        return result

    def _finish(self, result: Evaluation) -> None:
        """Leave the model as it was measured, and write the report."""
        self.averaging.settle()
        self.model.train()
        write_report(self.folder, self.sets.test, result)

    def _epoch(self, epoch: int, stop: StopRequest) -> tuple[Row, Evaluation | None]:
        """Train one epoch and measure it."""
        first_step = (epoch - 1) * self.steps
        steps = min(self.steps, self.recipe.total_steps(self.steps) - first_step)
        self.watch.begin_epoch(epoch, self.recipe.epochs, steps)
        began = time.perf_counter()
        # NaN and infinity are looked for where the loss is known: one line names them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, accuracy, images = self._train_epoch(epoch, steps, stop)
            trained = time.perf_counter()
            row: Row = {
                "epoch": epoch,
                "lr": self.optimizer.lr,
                "train_loss": loss,
                "train_accuracy": accuracy,
            }
            self.averaging.after_epoch(epoch, self._batches(epoch))
            with self.averaging.applied():
                result = self._measure_epoch(epoch, row)
        row["seconds"] = time.perf_counter() - began
        row["images_per_second"] = images / (trained - began)
        return row, result

    def _batches(
        self, epoch: int
    ) -> Iterator[tuple[NDArray[np.floating], NDArray[np.int64]]]:
        """Return an epoch's batches; they depend on seed and epoch alone."""
        from npresnet.data import batches

        return batches(
            self.sets.train,
            self.recipe.batch_size,
            shuffle=True,
            seed=self.seed,
            epoch=epoch,
            augment=self.recipe.make_augmentation(self.sets.train.images.shape[1]),
            dtype=_dtype(self.model),
        )

    def _train_epoch(
        self, epoch: int, steps: int, stop: StopRequest
    ) -> tuple[float, float, int]:
        """Take an epoch's steps; return mean loss, accuracy and number of images."""
        from npresnet.nn import CrossEntropyLoss

        model, optimizer = self.model, self.optimizer
        criterion = CrossEntropyLoss(label_smoothing=self.recipe.label_smoothing)
        first_step = (epoch - 1) * self.steps
        loss_sum, correct, images = 0.0, 0, 0
        model.train()
        for number, (x, labels) in enumerate(islice(self._batches(epoch), steps)):
            if stop.signal_number is not None:
                raise KeyboardInterrupt
            logits = model(x)  # (N, classes)
            loss = float(criterion(logits, labels))
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"epoch {epoch}, step {number + 1} of {steps}: the loss is "
                    f"{loss}; {self._kept()} (a lower learning rate may help)"
                )
            optimizer.zero_grad()
            model.backward(criterion.backward(), input_grad=False)
            optimizer.lr = self.schedule(first_step + number)
            optimizer.step()
            self.averaging.after_step()

            stop.between_batches = True
            loss_sum += loss * len(labels)
            correct += int((logits.argmax(axis=1) == labels).sum())
            images += len(labels)
            self.watch.batch(
                loss_sum / images, correct / images, len(labels), optimizer.lr
            )
        return loss_sum / images, correct / images, images

    def _measure_epoch(self, epoch: int, row: Row) -> Evaluation | None:
        """Measure what is to be measured after an epoch; return the test's result."""
        result: Evaluation | None = None
        validation = self.sets.validation
        if validation is not None:
            self._measure("validation", validation, row)
        if validation is None or epoch == self.recipe.epochs:
            result = self._measure("test", self.sets.test, row)
        else:
            row.update(test_loss=None, test_accuracy=None)
        if self.recipe.test_flip:
            row["test_flip"] = 1
        return result

    def _evaluate(self, name: str, dataset: Dataset) -> Evaluation:
        self.watch.measuring(name, len(dataset))
        return evaluate(self.model, dataset, flip=self.recipe.test_flip)

    def _measure(self, name: str, dataset: Dataset, row: Row) -> Evaluation:
        result = self._evaluate(name, dataset)
        if not math.isfinite(result.loss):
            raise FloatingPointError(
                f"epoch {row['epoch']}: the {name} loss after its last step is "
                f"{result.loss}; {self._kept()} (a lower learning rate may help)"
            )
        row[f"{name}_loss"] = result.loss
        row[f"{name}_accuracy"] = result.accuracy
        return result

    def _save(self, row: Row) -> None:
        """Bring a complete epoch to the disk; the checkpoint first, it decides."""
        self.history.append(row)
        state = Checkpoint(
            len(self.history),
            self.model.state_dict(),
            self.optimizer.state_dict(),
            self.history,
            self.averaging.state_dict(),
        )
        try:
            checkpoint.save(self.folder.checkpoint_path, state)
            self._write_results()
        except OSError as error:
            if error.filename is None:  # a full disk does not say where it is
                error.filename = str(self.folder.path)
            raise

    def _write_results(self) -> None:
        with self.averaging.applied():
            self.folder.write_weights(self.model, configuration.metadata(self.config))
        self.folder.write_metrics(self.history)
        # A picture takes a third of a second: as much as a short epoch.
        now = time.monotonic()
        finished = len(self.history) == self.recipe.epochs
        if finished or now - self.drawn >= _SECONDS_BETWEEN_PICTURES:
            self.folder.write_curves(self.history)
            self.drawn = now

    def _restore(self, start: Checkpoint) -> None:
        """Go back to the end of an epoch; the other files may be older or newer."""
        self.folder.remove_leftovers()
        self.model.load_state_dict(start.model)
        self.optimizer.load_state_dict(start.optimizer)
        self.averaging.load_state_dict(start.average)
        self.history = start.history
        if self.folder.curves_path.exists():
            self.drawn = time.monotonic()
        self._write_results()

    def _kept(self) -> str:
        if not self.history:
            return "no epoch was complete"
        return (
            f"the weights of epoch {len(self.history)} are kept in {self.folder.path}"
        )

    def _interrupted(self, stop: StopRequest) -> TrainingInterrupted:
        number = stop.signal_number or 2
        cause = "Ctrl-C" if number == 2 else f"signal {number}"
        return TrainingInterrupted(
            f"stopped by {cause} in epoch {len(self.history) + 1} of "
            f"{self.recipe.epochs}; {self._kept()}; continue with: "
            f"npresnet train --resume {self.folder.path}",
            self.folder.path,
            number,
        )


def _dtype(model: Module) -> np.dtype[Any]:
    data: NDArray[Any] = next(iter(model.parameters())).data
    return data.dtype
