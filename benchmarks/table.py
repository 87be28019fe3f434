"""Measurements as a Markdown table, and in a line."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measurement import Measurement
from benchmarks.rows import Row
from benchmarks.sides import OURS, SIDES

Outcome = Measurement | str  # or why it was not measured
Measured = Sequence[tuple[Row, Outcome]]

_HEADINGS = (
    "",
    "npresnet",
    "the others",
    "result",
    "range",
    "runs",
    "bar",
    "goal",
    "",
)
# Least value from which on a unit is taken, largest first.
_SCALES = {
    "s": ((1, "s"), (1e-3, "ms")),
    "s/image": ((1e-3, "ms"),),
    "bytes": ((1e9, "GB"), (1e6, "MB")),
    "s/MAC": ((1e-12, "ps"),),
}


def table(measured: Measured) -> str:
    """Write the results as a Markdown table."""
    return markdown([_HEADINGS, *(_cells(row, outcome) for row, outcome in measured)])


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Write cells as a Markdown table; the first line is its head."""
    head, *rest = lines
    rows = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cells(row: Row, outcome: Outcome) -> list[str]:
    if isinstance(outcome, str):
        # Bars of what may be missing are ratios.
        limits = _limit(row.bar, None), _limit(row.goal, None)
        return [row.label, "", outcome, "", "", "", *limits, "not measured"]
    taken = outcome.taken
    parts = {name: quantity(outcome.part(name), taken.unit) for name in taken.parts}
    if OURS in parts:
        ours = parts.pop(OURS)
        others = [f"{SIDES[side]} {part}" for side, part in parts.items()]
    else:  # works of ours alone
        ours, others = ", ".join(parts.values()), []
    return [
        row.label,
        ours,
        "; ".join([*others, *taken.missing.values()]),
        f"**{figure(outcome.figure, outcome)}**",
        range_of(outcome),
        str(len(outcome.figures)),
        _limit(row.bar, outcome),
        _limit(row.goal, outcome),
        verdict(row, outcome),
    ]


def summary(row: Row, outcome: Outcome) -> str:
    """Say in a line what came out."""
    if isinstance(outcome, str):
        return f"not measured ({outcome})"
    text = f"{figure(outcome.figure, outcome)} ({range_of(outcome)})"
    return f"{text}, {verdict(row, outcome)}"


def verdict(row: Row, result: Measurement) -> str:
    """Tell whether a result is good enough."""
    if row.goal is not None and result.figure <= row.goal:
        return "goal met"
    if row.bar is not None and result.figure <= row.bar:
        return "met"
    return "not met"


def quantity(value: float, unit: str) -> str:
    """Write a quantity with its unit."""
    scales = _SCALES[unit]
    scale, name = next((s for s in scales if value >= s[0]), scales[-1])
    return f"{_three_digits(value / scale)} {name}"


def figure(value: float, result: Measurement) -> str:
    """Write what is held against a bar."""
    return f"{value:.2f}" if result.is_ratio else quantity(value, result.taken.unit)


def range_of(result: Measurement) -> str:
    """Write the smallest and the largest figure."""
    low, high = min(result.figures), max(result.figures)
    return f"{figure(low, result)} to {figure(high, result)}"


def _limit(value: float | None, result: Measurement | None) -> str:
    if value is None:
        return ""
    unit = "" if result is None or result.is_ratio else f" {result.taken.unit}"
    return f"{value:g}{unit}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
