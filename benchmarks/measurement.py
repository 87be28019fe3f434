"""What a row of the table holds, and what is made of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.works import OURS, TORCHS

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
class Measurement:
    """Figures of one row, one per round, and what they were made of.

    Attributes
    ----------
    figures : sequence of float
        What is held against the bar: a ratio, or seconds.
    parts : dict of str to sequence of float
        What each side (or each work) took in every round, in `unit`.
    unit : str
        ``"s"``, ``"bytes"`` or ``"s/MAC"``.
    """

    figures: Sequence[float]
    parts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unit: str = "s"
    is_ratio: bool = True

    @property
    def figure(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.figures)

    def part(self, name: str) -> float | None:
        """Median of what one side took, or None if it was not asked."""
        return statistics.median(self.parts[name]) if name in self.parts else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "figure": self.figure,
            "range": [min(self.figures), max(self.figures)],
            "runs": len(self.figures),
            "figures": list(self.figures),
            "is_ratio": self.is_ratio,
            "parts": {name: list(part) for name, part in self.parts.items()},
            "unit": self.unit,
        }


def against_torch(parts: Mapping[str, Sequence[float]], unit: str) -> Measurement:
    """Relate our figures to the better of PyTorch's two, round by round.

    A machine that slows down slows the sides of one round down: ratios hardly notice.
    """
    better = [min(pair) for pair in zip(*(parts[s] for s in TORCHS), strict=True)]
    ratios = [ours / b for ours, b in zip(parts[OURS], better, strict=True)]
    return Measurement(ratios, parts, unit)


def spread(parts: Mapping[str, Sequence[float]], unit: str) -> Measurement:
    """Relate the part that is largest, by medians, to the smallest, round by round.

    The largest of every round is another one each time, if all are equal but for noise,
    and its ratio is never 1.
    """
    by_size = sorted(parts.values(), key=statistics.median)
    pairs = zip(by_size[-1], by_size[0], strict=True)
    return Measurement([large / small for large, small in pairs], parts, unit)


def plain(seconds: Sequence[float]) -> Measurement:
    """Take seconds as they are."""
    return Measurement(seconds, {OURS: seconds}, "s", is_ratio=False)
