"""The training loop."""

from __future__ import annotations

import errno
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet._notices import notice, reason
from npresnet.backend.recording import telling
from npresnet.compiler import CannotCompile, CompiledStep
from npresnet.nn import CrossEntropyLoss
from npresnet.optim import Optimizer, Schedule
from npresnet.training import checkpoint, configuration, not_finite
from npresnet.training.averaging import Averaging
from npresnet.training.checkpoint import Checkpoint, PartOfEpoch
from npresnet.training.evaluation import Evaluation, evaluate
from npresnet.training.interruption import (
    StopRequest,
    TrainingInterrupted,
    stop_requests,
)
from npresnet.training.metrics import Row
from npresnet.training.progress import Progress
from npresnet.training.recipe import Recipe
from npresnet.training.report import write_report
from npresnet.training.run_folder import FolderMoved, RunFolder
from npresnet.training.sets import Sets
from npresnet.training.step import take_step

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module

_SECONDS_BETWEEN_PICTURES = 10
_OF_PACE = ("seconds", "images_per_second")


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


class Session:
    """One run under way."""

    def __init__(
        self,
        model: Module,
        sets: Sets,
        config: Mapping[str, Any],
        folder: RunFolder,
        watch: Progress,
        callbacks: tuple[Callable[[Row], None], ...],
        step_callbacks: tuple[Callable[[int], None], ...],
        checkpoint_seconds: float,
        *,
        compiled: bool,
    ) -> None:
        self.model, self.config, self.folder = model, config, folder
        self.watch, self.callbacks = watch, callbacks
        self.step_callbacks, self.sets = step_callbacks, sets
        self.checkpoint_seconds = checkpoint_seconds
        self.identity = configuration.identity(config)
        # A run from before there was such a setting goes on as it began.
        self.recipe = Recipe.from_dict({"last_batch": "keep", **config["recipe"]})
        self.seed = int(config["seed"])
        self.history: list[Row] = []
        self.part = PartOfEpoch()
        # False within a step: the state is then neither the old one nor the new one.
        self.whole = True
        self.warm = False
        self.saved: tuple[int, int] | None = None  # epochs and steps on the disk
        self.saved_at = self.drawn = -math.inf
        self.steps = self.recipe.steps_per_epoch(len(sets.train))
        self.schedule: Schedule = self.recipe.make_schedule(self.steps)
        self.optimizer: Optimizer = self.recipe.make_optimizer(model)
        self.averaging = Averaging(self.recipe, model)
        self.criterion = CrossEntropyLoss(label_smoothing=self.recipe.label_smoothing)
        # None: layer by layer.
        self.compiled: CompiledStep | None = None
        if compiled:
            self.compiled = CompiledStep(model, self.criterion, self.optimizer)

    @property
    def position(self) -> tuple[int, int]:
        """Epochs completed, and steps of the one after them."""
        return len(self.history), self.part.steps

    def run(self, start: Checkpoint | None) -> Run:
        """Train what is left."""
        try:
            with stop_requests() as stop:
                try:
                    with stop.postponed():
                        self._begin(start)
                    result = self._run_epochs(stop)
                except KeyboardInterrupt:
                    raise self._interrupted(stop) from None
                except FolderMoved:
                    raise self._moved(stop) from None
                except OSError as error:
                    if not _output_is_gone(error):
                        raise
                    if stop.signal_number is not None:  # the terminal was closed
                        raise self._interrupted(stop) from None
                    self._save_what_there_is(None)
                    raise
        finally:
            with suppress(OSError):  # of a terminal that is gone
                self.watch.close()
        try:
            self._finish(result)
        except FolderMoved:
            raise self._moved(None) from None
        return Run(self.folder.path, self.recipe, self.history, result)

    def _finish(self, result: Evaluation) -> None:
        """Leave the model as it was measured, and write the report."""
        self.averaging.settle()
        self.model.train()
        self.folder.check_place()
        with self.folder.naming_errors("the weights and all figures are written"):
            write_report(self.folder, self.sets.test, result)

    def _begin(self, start: Checkpoint | None) -> None:
        headline = configuration.headline(self.config, self.recipe, self.folder)
        self.watch.message(headline)
        if left_over := configuration.left_over(self.recipe, len(self.sets.train)):
            self.watch.message(left_over)
        if start is None:
            # The first weights, too: whoever resumes need not have them.
            self._save_checkpoint()
        else:
            self._restore(start)
            self.watch.message(f"going on {self._place()}")
        if configuration.kernels_are_missing():
            self.watch.message(
                "compiling kernels: once per machine, a few seconds to a minute"
            )

    def _run_epochs(self, stop: StopRequest) -> Evaluation:
        result: Evaluation | None = None
        for epoch in range(len(self.history) + 1, self.recipe.epochs + 1):
            row, result = self._epoch(epoch, stop)
            with stop.postponed():
                self.history.append(row)
                self.part = PartOfEpoch()
                self._save_checkpoint()  # first: it decides
                self._write_results()
                self.watch.end_epoch(row)
                for callback in self.callbacks:
                    callback(row)
        if result is None:  # there was nothing left to train
            with self.averaging.applied():
                result = self._evaluate("test", self.sets.test)
        return result

    def _steps_of(self, epoch: int) -> int:
        """Return an epoch's number of steps: the last one's may be limited."""
        before = (epoch - 1) * self.steps
        return min(self.steps, self.recipe.total_steps(self.steps) - before)

    @property
    def seen(self) -> int:
        """Images that the epoch under way has learnt from."""
        return self.recipe.images_of(self.part.steps, len(self.sets.train))

    def _epoch(self, epoch: int, stop: StopRequest) -> tuple[Row, Evaluation | None]:
        """Train what is left of an epoch and measure it."""
        steps = self._steps_of(epoch)
        left = steps - self.part.steps  # fewer where the epoch was interrupted
        self.watch.begin_epoch(epoch, self.recipe.epochs, left)
        began = time.perf_counter() - self.part.seconds
        # NaN and infinity are looked for where they come up: one line names them.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self._train_epoch(epoch, left, began, stop)
            row: Row = {
                "epoch": epoch,
                "lr": self.schedule((epoch - 1) * self.steps + steps - 1),
                "train_loss": self.part.loss_sum / self.seen,
                "train_accuracy": self.part.correct / self.seen,
            }
            with stop.postponed():
                self.averaging.take_epoch(epoch)
            self.averaging.measure_statistics(epoch, self._batches(epoch))
            with self.averaging.applied():
                result = self._measure_epoch(epoch, row)
        row["seconds"] = time.perf_counter() - began
        row["images_per_second"] = self.seen / self.part.seconds
        return row, result

    def _batches(
        self, epoch: int, start: int = 0
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
            drop_last=self.recipe.last_batch == "drop",
            join_single=self.recipe.last_batch == "join",
            start=start,
        )

    def _train_epoch(
        self, epoch: int, left: int, began: float, stop: StopRequest
    ) -> None:
        """Take the steps that are left of an epoch."""
        self.model.train()
        for x, labels in islice(self._batches(epoch, self.part.steps), left):
            # The first step may compile the kernels: nobody wants to wait for that.
            with stop.postponed() if self.warm else nullcontext():
                loss, correct = self._step(epoch, x, labels)
                self.part = PartOfEpoch(
                    self.part.steps + 1,
                    self.part.loss_sum + loss * len(labels),
                    self.part.correct + correct,
                    time.perf_counter() - began,
                )
                self.whole = self.warm = True
                self._tell(len(labels))
                for step_callback in self.step_callbacks:
                    step_callback((epoch - 1) * self.steps + self.part.steps)
                self.folder.check_place()
                if time.monotonic() - self.saved_at >= self.checkpoint_seconds:
                    self._try_to_save_checkpoint()

    def _step(
        self,
        epoch: int,
        x: NDArray[Any],
        labels: NDArray[np.int64],
    ) -> tuple[float, int]:
        self.optimizer.lr = self.schedule((epoch - 1) * self.steps + self.part.steps)
        self.whole = False
        try:
            result = self._take_step(x, labels)
        except FloatingPointError as error:
            step = f"step {self.part.steps + 1} of {self._steps_of(epoch)}"
            raise self._diverged(f"epoch {epoch}, {step}: {error}") from None
        self.averaging.after_step()
        return result

    def _take_step(
        self, x: NDArray[Any], labels: NDArray[np.int64]
    ) -> tuple[float, int]:
        parts = self.model, self.criterion, self.optimizer
        try:
            with telling(self._compiling):
                return take_step(*parts, x, labels, self.compiled)
        except CannotCompile as reason:  # nothing has been done yet
            self.watch.message(f"training layer by layer: {reason}")
            self.compiled = None
            return take_step(*parts, x, labels)

    def _compiling(self, done: int, total: int) -> None:
        # A watch of somebody's own need not know of it.
        if hasattr(self.watch, "compiling"):
            self.watch.compiling(done, total)

    def _tell(self, images: int) -> None:
        loss, accuracy = self.part.loss_sum / self.seen, self.part.correct / self.seen
        self.watch.batch(loss, accuracy, images, self.optimizer.lr)

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
            where = not_finite.find_forward(
                self.model, lambda: evaluate(self.model, dataset)
            )
            raise self._diverged(
                f"epoch {row['epoch']}: the {name} loss after its last step is "
                f"{result.loss}; {where}"
            )
        row[f"{name}_loss"] = result.loss
        row[f"{name}_accuracy"] = result.accuracy
        return result

    def _diverged(self, what: str) -> FloatingPointError:
        return FloatingPointError(
            f"{what}; {self._kept()} in {self.folder.path} "
            "(a lower learning rate may help)"
        )

    # --------------------------------------------------------------- the disk

    def _save_checkpoint(self) -> None:
        self.folder.check_place()
        self._put_checkpoint()

    def _put_checkpoint(self) -> None:
        """Write a checkpoint into the run's folder, wherever that is by now."""
        state = Checkpoint(
            self.averaging.training_state(),
            self.optimizer.state_dict(),
            self.history,
            self.part,
            self.identity,
            self.averaging.state_dict(),
        )
        if (found := state.first_not_finite()) is not None:
            name, array = found
            epoch, step = self.position
            raise self._diverged(
                f"epoch {epoch + 1}, after step {step} of {self._steps_of(epoch + 1)}: "
                f"{not_finite.describe(array)} in {name}"
            )
        with self.folder.naming_errors(self._kept()):
            checkpoint.save(self.folder.checkpoint, state)
        self.saved, self.saved_at = self.position, time.monotonic()

    def _try_to_save_checkpoint(self) -> None:
        """Save, but let an hour's work not end for a disk that is full just now."""
        try:
            self._save_checkpoint()
        except FolderMoved:
            raise
        except OSError as error:
            self.watch.warning(
                f"no checkpoint, going on: {error.filename}: {error.strerror}"
            )
            self.saved_at = time.monotonic()

    def _write_results(self) -> None:
        with self.folder.naming_errors("the checkpoint is written"):
            with self.averaging.applied():
                facts = configuration.metadata(self.config)
                self.folder.write_weights(self.model, facts)
            self.folder.write_metrics(self.history)
            # A picture takes a third of a second: as much as a short epoch.
            now = time.monotonic()
            finished = len(self.history) == self.recipe.epochs
            if finished or now - self.drawn >= _SECONDS_BETWEEN_PICTURES:
                self._draw_curves()
                self.drawn = now

    def _draw_curves(self) -> None:
        """Draw, but let no run end for want of a picture."""
        try:
            self.folder.write_curves(self.history)
        except Exception as error:  # of Matplotlib, of what it loads, or of the disk
            path = self.folder.curves_path
            notice(f"{path}: not drawn, going on without it ({reason(error)})")

    def _restore(self, start: Checkpoint) -> None:
        """Go back to a checkpoint; the other files may be older or newer."""
        self._check(start)
        self.model.load_state_dict(start.model)
        self.optimizer.load_state_dict(start.optimizer)
        self.averaging.load_state_dict(start.average)
        self.history, self.part = start.history, start.part
        self.saved, self.saved_at = self.position, time.monotonic()
        if self.folder.curves_path.exists():
            self.drawn = time.monotonic()
        if self.history and not self.part.steps:  # else: weights within an epoch
            self._write_results()

    def _check(self, start: Checkpoint) -> None:
        """Refuse a checkpoint that no run with these settings has left."""
        path, rows = self.folder.checkpoint_path, start.history
        expected = {"lr", "train_loss", "train_accuracy", *_OF_PACE}
        for number, row in enumerate(rows, 1):
            lacking = sorted(name for name in expected if row.get(name) is None)
            if row.get("epoch") != number or lacking or row.keys() != rows[0].keys():
                raise ValueError(
                    f"{path}: epoch {number} of its history: expected the figures of "
                    "an epoch, as metrics.csv has them"
                )
        left = self.recipe.epochs - len(rows)
        steps = self._steps_of(len(rows) + 1) if left > 0 else 0
        if left < 0 or start.part.steps > steps:
            raise ValueError(
                f"{path}: it is further than a run of {self.recipe.epochs} epochs with "
                f"{self.steps} steps each"
            )

    # ---------------------------------------------------------------- in words

    def _place(self) -> str:
        epoch, step = self.position
        if epoch == self.recipe.epochs:
            return "after the last epoch: this run is complete"
        steps = self._steps_of(epoch + 1)
        where = f"after step {step} of {steps}" if step else "before its first step"
        return f"in epoch {epoch + 1} of {self.recipe.epochs}, {where}"

    def _kept(self) -> str:
        epochs = self.saved[0] if self.saved else 0
        if not epochs:
            return "no epoch was complete"
        return f"the weights of epoch {epochs} are kept"

    def _interrupted(self, stop: StopRequest) -> TrainingInterrupted | FolderMoved:
        """Save what there is, and say what became of it."""
        try:
            self.folder.check_place()
        except FolderMoved:
            return self._moved(stop)
        trouble = self._save_what_there_is(stop)
        number = stop.signal_number or signal.SIGINT
        cause = "Ctrl-C" if number == signal.SIGINT else f"signal {number}"
        text = f"stopped by {cause} {self._place()}"
        if len(self.history) < self.recipe.epochs:
            text += f"; {self._fate(trouble)}; continue with: npresnet train --resume "
            text += str(self.folder.path)
        return TrainingInterrupted(text, self.folder.path, number)

    def _moved(self, stop: StopRequest | None) -> FolderMoved:
        """Save what there is to where the folder went, and say what became of it."""
        where = self.folder.whereabouts()
        text = "the run folder was moved or removed"
        if where is not None:
            trouble = self._save_what_there_is(stop)
            text += (
                f", it is now {where}; stopped {self._place()}; {self._fate(trouble)}; "
                f"continue with: npresnet train --resume {where}"
            )
        return FolderMoved(errno.ENOENT, text, str(self.folder.path))

    def _save_what_there_is(self, stop: StopRequest | None) -> str:
        """Write a last checkpoint; return what was in the way, or nothing."""
        trouble = ""
        # `postponed` ends in a KeyboardInterrupt where the run was asked to stop.
        with suppress(KeyboardInterrupt), stop.postponed() if stop else nullcontext():
            if self.whole and self.saved != self.position:
                try:
                    self._put_checkpoint()
                except (OSError, FloatingPointError) as error:
                    trouble = f" ({error})"
        return trouble

    def _fate(self, trouble: str) -> str:
        if self.saved == self.position:
            return "nothing is lost"
        epoch, step = self.saved or (0, 0)
        return f"kept: epoch {epoch + 1} after its step {step}{trouble}"


def _output_is_gone(error: OSError) -> bool:
    """Tell whether nobody reads the output: a closed pipe, or a closed terminal.

    Errors of the disk name the run folder.
    """
    return error.filename is None and error.errno in (errno.EPIPE, errno.EIO)


def _dtype(model: Module) -> np.dtype[Any]:
    data: NDArray[Any] = next(iter(model.parameters())).data
    return data.dtype
