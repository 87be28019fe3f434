"""The rows of the table: what is measured, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks import startup, steady
from benchmarks.measurement import Effort, Measurement, Tell
from benchmarks.works import Work


class Row(NamedTuple):
    """One row. A bar is to be passed and a goal to be reached: at most so much."""

    name: str  # by which it is chosen
    label: str
    measure: Callable[[Effort, Tell], Measurement]
    bar: float | None
    goal: float | None = None
    needs_torch: bool = False


_AS_FAST, _AS_SMALL = 1.0, 1.0  # as the better of PyTorch's two
_ALIKE = 1.15  # largest cost per multiply-add over the smallest

_RESNET20 = Work("resnet20", 128, 32, trains=True)
_RESNET18 = Work("resnet18", 16, 224, trains=True)


def time_row(name: str, work: Work) -> Row:
    """Make the row of a work's time."""
    measure = partial(steady.compare_times, work)
    return Row(name, work.label, measure, _AS_FAST, needs_torch=True)


def memory_row(name: str, work: Work) -> Row:
    """Make the row of a work's memory."""
    measure = partial(steady.compare_memory, work)
    label = f"{work.label}: peak memory"
    return Row(name, label, measure, _AS_SMALL, needs_torch=True)


def macs_row(name: str, label: str, works: Sequence[Work]) -> Row:
    """Make the row of several works' cost per multiply-add."""

    def measure(effort: Effort, tell: Tell) -> Measurement:
        macs = [macs_of(work) for work in works]
        return steady.compare_macs(works, macs, effort, tell)

    label = f"training step, time per multiply-add: {label}"
    return Row(name, label, measure, None, _ALIKE)


def macs_of(work: Work) -> int:
    """Count the multiply-adds of one image's way forward."""
    import npresnet as nr

    with nr.using_backend("reference"):  # compiles nothing
        model = nr.models.create(work.model)
        return nr.lens.cost(model, (3, work.size, work.size)).macs


ROWS = [
    time_row("resnet20-training", _RESNET20),
    time_row("resnet20-inference", Work("resnet20", 128, 32, trains=False)),
    time_row("resnet18-training", _RESNET18),
    time_row("resnet18-inference-1", Work("resnet18", 1, 224, trains=False)),
    time_row("resnet18-inference-16", Work("resnet18", 16, 224, trains=False)),
    time_row("resnet50-inference-1", Work("resnet50", 1, 224, trains=False)),
    time_row("resnet50-inference-16", Work("resnet50", 16, 224, trains=False)),
    memory_row("resnet20-memory", _RESNET20),
    memory_row("resnet18-memory", _RESNET18),
    Row("import", "`import npresnet`", startup.import_time, 1.0, 0.3),
    Row(
        "first-step-cold",
        f"{_RESNET20.label}: the first of a process, nothing compiled",
        partial(startup.first_step_cold, _RESNET20),
        30.0,
        10.0,
    ),
    Row(
        "first-step-warm",
        f"{_RESNET20.label}: the first of a process, kernels compiled before",
        partial(startup.first_step_warm, _RESNET20),
        3.0,
        1.0,
    ),
    macs_row(
        "macs-depth",
        "ResNet-20, 56, 110, batch 128",
        [Work(f"resnet{d}", 128, 32, trains=True) for d in (20, 56, 110)],
    ),
    macs_row(
        "macs-batch",
        "ResNet-20, batch 32, 128, 512",
        [Work("resnet20", batch, 32, trains=True) for batch in (32, 128, 512)],
    ),
]
