"""Time and memory of a work that has been done before, side by side, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from benchmarks import memory
from benchmarks.asking import Ask, CannotRun, MeasurementError
from benchmarks.measurement import Effort, Taken, Tell
from benchmarks.sides import OURS, SIDES
from benchmarks.worker import working
from benchmarks.works import Work

_WARM_UP = 2  # what is compiled, chosen and kept when a work is first done, is then
_TURNS = 2  # of a round, where works of ours are compared with each other
_STEPS = 3  # of a training whose memory is measured: optimizers begin with the first
_SAME = 1e-3  # logits may differ by so much of the largest


@dataclass(frozen=True)
class Times:
    """How long a work takes."""

    work: Work

    @property
    def label(self) -> str:
        """What it is, in words."""
        return self.work.label

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Time the sides that can run here."""
        asks: dict[str, Ask] = {}
        missing = {}
        with ExitStack() as stack:
            for side in sides:
                try:
                    asks[side] = stack.enter_context(
                        working(side, self.work, effort.threads)
                    )
                except CannotRun as reason:
                    missing[side] = str(reason)
            if set(asks) == {OURS}:  # nobody to compare with
                return Taken({}, "s", missing)
            if not self.work.trains:
                check_answers({side: ask("answer") for side, ask in asks.items()})
            return Taken(_in_turn(asks, effort, tell), "s", missing)


def check_answers(answers: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """See that all sides have the same logits: else they do not do the same work.

    Raises
    ------
    MeasurementError
        If a side's are others than ours.
    """
    ours = np.array(answers[OURS])
    for side, answer in answers.items():
        error = np.abs(np.array(answer) - ours).max() / np.abs(ours).max()
        if not error <= _SAME:
            raise MeasurementError(
                f"{SIDES[side]} has other logits, by {error:.1e} of the largest"
            )


@dataclass(frozen=True)
class Memory:
    """The most memory that a training's first steps take.

    Either what the steps hold above the idle process, with compiled code loaded; or the
    whole process from its start, libraries included.
    """

    work: Work
    of_process: bool

    @property
    def label(self) -> str:
        """What it is, in words."""
        what = "whole process" if self.of_process else "the step alone"
        return f"{self.work.label}: peak memory, {what}"

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Measure the sides, in a new process every time: what one got it may keep."""
        if not memory.measurable():
            raise MeasurementError("memory is measured on Linux only")
        question = "process-memory" if self.of_process else "step-memory"
        with working(OURS, self.work, effort.threads) as ask:
            ask("time 0")  # compiling takes memory: it has been done before
        parts: dict[str, list[float]] = {}
        missing = {}
        for run in range(effort.few):
            for side in sides:
                if side in missing:
                    continue
                try:
                    with working(side, self.work, effort.threads) as ask:
                        parts.setdefault(side, []).append(ask(f"{question} {_STEPS}"))
                except CannotRun as reason:
                    missing[side] = str(reason)
            tell(f"{run + 1}")
        return Taken(parts, "bytes", missing)


@dataclass(frozen=True)
class Shares:
    """Time of several works of ours, for each image or each of its multiply-adds.

    Multiply-adds are those of one image's way forward, as papers count them; a training
    step does some three times as many.
    """

    works: tuple[Work, ...]
    unit: str  # "s/image" or "s/MAC"

    @property
    def label(self) -> str:
        """What it is, in words."""
        return "; ".join(work.label for work in self.works)

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Time the works, ours alone."""
        with ExitStack() as stack:
            asks = {
                work.label: stack.enter_context(working(OURS, work, effort.threads))
                for work in self.works
            }
            # In short turns: a machine that slows down slows all of them down alike.
            turns = effort._replace(
                rounds=_TURNS * effort.rounds, seconds=effort.seconds / _TURNS
            )
            times = _in_turn(asks, turns, tell)
        parts = {}
        for work in self.works:
            count = work.count_macs() if self.unit == "s/MAC" else 1
            parts[work.label] = [
                time / (work.batch * count) for time in times[work.label]
            ]
        return Taken(parts, self.unit)


def _in_turn(
    asks: Mapping[str, Ask], effort: Effort, tell: Tell
) -> dict[str, list[float]]:
    for ask in asks.values():
        for _ in range(_WARM_UP):
            ask("time 0")
    times: dict[str, list[float]] = {name: [] for name in asks}
    for round_number in range(effort.rounds):
        for name, ask in asks.items():
            times[name].append(statistics.median(ask(f"time {effort.seconds}")))
        tell(f"{round_number + 1}")
    return times
