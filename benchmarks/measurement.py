"""What is measured, and what a row of the table makes of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from benchmarks.asking import CannotRun
from benchmarks.sides import OURS

Tell = Callable[[str], None]  # how far a measurement is


class Effort(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float  # for every side in every round
    threads: int

    @property
    def few(self) -> int:
        """Rounds of what takes long, or hardly varies."""
        return min(self.rounds, 2)


@dataclass(frozen=True)
class Taken:
    """What was measured.

    Attributes
    ----------
    parts : dict of str to sequence of float
        What each side (or each work) took in every round, in `unit`.
    unit : str
        ``"s"``, ``"bytes"``, ``"s/MAC"`` or ``"s/image"``.
    missing : dict of str to str
        Why the other sides took no part.
    """

    parts: Mapping[str, Sequence[float]]
    unit: str
    missing: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Something to measure: rows that share one are measured together."""

    @property
    def label(self) -> str:
        """What it is, in words."""

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Measure these sides, if it has any."""


@dataclass(frozen=True)
class Measurement:
    """Figures of one row, one per round, and what they were made of.

    Attributes
    ----------
    figures : sequence of float
        What is held against the bar: a ratio, or seconds.
    taken : Taken
        What they were made of.
    is_ratio : bool
        Whether they have no unit.
    """

    figures: Sequence[float]
    taken: Taken
    is_ratio: bool = True

    @property
    def figure(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.figures)

    def part(self, name: str) -> float:
        """Median of what one side took."""
        return statistics.median(self.taken.parts[name])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "figure": self.figure,
            "range": [min(self.figures), max(self.figures)],
            "runs": len(self.figures),
            "figures": list(self.figures),
            "is_ratio": self.is_ratio,
            "parts": {name: list(part) for name, part in self.taken.parts.items()},
            "unit": self.taken.unit,
            "missing": dict(self.taken.missing),
        }


def against(rivals: Sequence[str], taken: Taken) -> Measurement:
    """Relate our figures to the best rival's, round by round.

    A machine that slows down slows the sides of one round down: ratios hardly notice.

    Raises
    ------
    CannotRun
        If no rival took part.
    """
    missing = {side: taken.missing[side] for side in rivals if side in taken.missing}
    there = [side for side in rivals if side not in missing]
    if not there:
        raise CannotRun("; ".join(dict.fromkeys(missing.values())))
    parts = {side: taken.parts[side] for side in (OURS, *there)}
    best = [min(ones) for ones in zip(*(parts[side] for side in there), strict=True)]
    ratios = [ours / one for ours, one in zip(parts[OURS], best, strict=True)]
    return Measurement(ratios, Taken(parts, taken.unit, missing))


def spread(taken: Taken) -> Measurement:
    """Relate the part that is largest, by medians, to the smallest, round by round.

    The largest of every round is another one each time, if all are equal but for noise,
    and its ratio is never 1.
    """
    by_size = sorted(taken.parts.values(), key=statistics.median)
    pairs = zip(by_size[-1], by_size[0], strict=True)
    return Measurement([large / small for large, small in pairs], taken)


def first_over_second(taken: Taken) -> Measurement:
    """Relate one part to another, round by round."""
    pairs = zip(*taken.parts.values(), strict=True)
    return Measurement([first / second for first, second in pairs], taken)


def plain(taken: Taken) -> Measurement:
    """Take our figures as they are."""
    return Measurement(taken.parts[OURS], taken, is_ratio=False)
