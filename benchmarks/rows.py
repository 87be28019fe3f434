"""The rows of the table: what is measured, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.measurement import (
    Measurement,
    Source,
    Taken,
    against,
    first_over_second,
    plain,
    spread,
)
from benchmarks.sides import COMPILED, EAGER, ENGINES, LAYERED, OURS
from benchmarks.startup import FirstStep, Import
from benchmarks.steady import Memory, Shares, Times
from benchmarks.works import Work


class Row(NamedTuple):
    """One row. A bar is to be passed and a goal to be reached: at most so much."""

    name: str  # by which it is chosen
    label: str
    source: Source
    judge: Callable[[Taken], Measurement]
    bar: float | None
    goal: float | None = None
    sides: Sequence[str] = ()
    optional: bool = False  # measured if it is asked for


def _rivalry(
    name: str,
    source: Source,
    whom: str,
    rivals: Sequence[str],
    bar: float,
    goal: float | None,
    *,
    optional: bool = False,
) -> Row:
    judge, sides = partial(against, rivals), (OURS, *rivals)
    label = f"{source.label} / {whom}"
    return Row(name, label, source, judge, bar, goal, sides, optional)


def eager_row(name: str, source: Source, bar: float, goal: float) -> Row:
    """Hold something against the better of PyTorch's two memory formats."""
    return _rivalry(name, source, "PyTorch", EAGER, bar, goal)


def layered_row(name: str, work: Work) -> Row:
    """Hold the compiled step against the lines that it was compiled from."""
    return _rivalry(name, Times(work), "layer by layer", [LAYERED], 1.0, None)


def compiled_row(name: str, work: Work, bar: float, goal: float) -> Row:
    """Hold the compiled step against PyTorch's."""
    return _rivalry(
        name, Times(work), "torch.compile", [COMPILED], bar, goal, optional=True
    )


def engines_row(name: str, work: Work, bar: float, goal: float) -> Row:
    """Hold inference against the best engine."""
    return _rivalry(name, Times(work), "best engine", ENGINES, bar, goal, optional=True)


_RESNET20, _RESNET20_32, _RESNET56, _RESNET110 = (
    Work(model, batch, 32, trains=True)
    for model, batch in (
        ("resnet20", 128),
        ("resnet20", 32),
        ("resnet56", 128),
        ("resnet110", 128),
    )
)
_RESNET18 = Work("resnet18", 16, 224, trains=True)
_INFER20 = Work("resnet20", 128, 32, trains=False)
_INFER18_1, _INFER18_16, _INFER50_1, _INFER50_16 = (
    Work(model, batch, 224, trains=False)
    for model in ("resnet18", "resnet50")
    for batch in (1, 16)
)


def _first_step_row(
    name: str, *, compiled_before: bool, bar: float, goal: float
) -> Row:
    source = FirstStep(_RESNET20, compiled_before)
    return Row(name, source.label, source, plain, bar, goal)


ROWS = [
    eager_row("resnet20-training", Times(_RESNET20), 0.6, 0.5),
    layered_row("resnet20-training-layered", _RESNET20),
    compiled_row("resnet20-training-compile", _RESNET20, 0.75, 0.6),
    eager_row("resnet20-training-32", Times(_RESNET20_32), 0.36, 0.3),
    layered_row("resnet20-training-32-layered", _RESNET20_32),
    Row(
        "resnet20-batch",
        "ResNet-20, 32x32, training step: time of an image, batch 32 / batch 128",
        Shares((_RESNET20_32, _RESNET20), "s/image"),
        first_over_second,
        1.0,
        0.85,
    ),
    eager_row("resnet18-training", Times(_RESNET18), 0.5, 0.42),
    layered_row("resnet18-training-layered", _RESNET18),
    compiled_row("resnet18-training-compile", _RESNET18, 0.75, 0.6),
    eager_row("resnet20-inference", Times(_INFER20), 0.45, 0.38),
    eager_row("resnet18-inference-1", Times(_INFER18_1), 1.0, 0.55),
    engines_row("resnet18-inference-1-engines", _INFER18_1, 0.8, 0.65),
    eager_row("resnet18-inference-16", Times(_INFER18_16), 1.0, 0.55),
    engines_row("resnet18-inference-16-engines", _INFER18_16, 0.65, 0.55),
    eager_row("resnet50-inference-1", Times(_INFER50_1), 1.0, 0.65),
    engines_row("resnet50-inference-1-engines", _INFER50_1, 1.0, 0.85),
    eager_row("resnet50-inference-16", Times(_INFER50_16), 1.0, 0.65),
    engines_row("resnet50-inference-16-engines", _INFER50_16, 0.95, 0.8),
    eager_row("resnet20-memory", Memory(_RESNET20, of_process=True), 0.58, 0.5),
    eager_row("resnet18-memory", Memory(_RESNET18, of_process=True), 0.65, 0.5),
    eager_row("resnet20-step-memory", Memory(_RESNET20, of_process=False), 0.65, 0.5),
    eager_row("resnet18-step-memory", Memory(_RESNET18, of_process=False), 0.65, 0.5),
    Row("import", Import.label, Import(), plain, 1.0, 0.3),
    _first_step_row("first-step-cold", compiled_before=False, bar=18.0, goal=8.0),
    _first_step_row("first-step-warm", compiled_before=True, bar=1.0, goal=0.5),
    Row(
        "macs-depth",
        "training step, time per multiply-add: ResNet-20, 56, 110, batch 128",
        Shares((_RESNET20, _RESNET56, _RESNET110), "s/MAC"),
        spread,
        None,
        1.15,  # largest over smallest
    ),
]
