"""Time and memory of a work that has been done before, side by side, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import memory
from benchmarks.asking import Ask, MeasurementError
from benchmarks.measurement import Effort, Measurement, Tell, against_torch, spread
from benchmarks.worker import working
from benchmarks.works import OURS, SIDES, Work

_WARM_UP = 2  # what is compiled, chosen and kept when a work is first done, is then
_TURNS = 2  # of a round, where works of ours are compared with each other
_STEPS = 3  # of a training whose memory is measured: optimizers begin with the first


def compare_times(work: Work, effort: Effort, tell: Tell) -> Measurement:
    """Time all sides of a work."""
    with ExitStack() as stack:
        sides = {
            side: stack.enter_context(working(side, work, effort.threads))
            for side in SIDES
        }
        return against_torch(_in_turn(sides, effort, tell), "s")


def compare_memory(work: Work, effort: Effort, tell: Tell) -> Measurement:
    """Compare the most memory that a training holds above the prepared process.

    Every run has a new process, because what a process was given it may keep.
    """
    if not memory.measurable():
        raise MeasurementError("memory is measured on Linux only")
    parts: dict[str, list[float]] = {side: [] for side in SIDES}
    for run in range(effort.few):
        for side in SIDES:
            with working(side, work, effort.threads) as ask:
                held = ask(f"memory {_STEPS}")
            parts[side].append(held["peak"] - held["before"])
        tell(f"{run + 1}")
    return against_torch(parts, "bytes")


def compare_macs(
    works: Sequence[Work], macs: Sequence[int], effort: Effort, tell: Tell
) -> Measurement:
    """Compare the time per multiply-add of several works of ours.

    `macs` are those of one image's way forward, as papers count them; a training step
    does some three times as many.
    """
    with ExitStack() as stack:
        asks = {
            work.label: stack.enter_context(working(OURS, work, effort.threads))
            for work in works
        }
        # In short turns: a machine that slows down slows all of them down alike.
        turns = effort._replace(
            rounds=_TURNS * effort.rounds, seconds=effort.seconds / _TURNS
        )
        times = _in_turn(asks, turns, tell)
    parts = {
        work.label: [time / (work.batch * count) for time in times[work.label]]
        for work, count in zip(works, macs, strict=True)
    }
    return spread(parts, "s/MAC")


def _in_turn(
    asks: dict[str, Ask], effort: Effort, tell: Tell
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
