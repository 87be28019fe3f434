"""Measurements as a Markdown table, and in a line."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.measurement import Measurement
from benchmarks.rows import Row
from benchmarks.works import SIDES

_HEADINGS = (
    "",
    "npresnet",
    "PyTorch",
    "PyTorch, channels_last",
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
    "bytes": ((1e9, "GB"), (1e6, "MB")),
    "s/MAC": ((1e-12, "ps"),),
}


def table(measured: Sequence[tuple[Row, Measurement]]) -> str:
    """Write the results as a Markdown table."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS)]
    lines += [_cells(row, result) for row, result in measured]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(row: Row, result: Measurement) -> list[str]:
    sides = {side: quantity(result.part(side), result.unit) for side in SIDES}
    if not set(sides) & set(result.parts):  # works of ours alone
        works = [quantity(result.part(work), result.unit) for work in result.parts]
        sides[SIDES[0]] = ", ".join(works)
    low, high = min(result.figures), max(result.figures)
    return [
        row.label,
        *sides.values(),
        f"**{_figure(result.figure, result)}**",
        f"{_figure(low, result)} to {_figure(high, result)}",
        str(len(result.figures)),
        _limit(row.bar, result),
        _limit(row.goal, result),
        verdict(row, result),
    ]


def summary(row: Row, result: Measurement) -> str:
    """Say in a line what came out."""
    low, high = min(result.figures), max(result.figures)
    text = f"{_figure(result.figure, result)} "
    text += f"({_figure(low, result)} to {_figure(high, result)})"
    return f"{text}, {verdict(row, result)}"


def verdict(row: Row, result: Measurement) -> str:
    """Tell whether a result is good enough."""
    if row.goal is not None and result.figure <= row.goal:
        return "goal met"
    if row.bar is not None and result.figure <= row.bar:
        return "met"
    return "not met"


def quantity(value: float | None, unit: str) -> str:
    """Write a quantity with its unit, or nothing."""
    if value is None:
        return ""
    scales = _SCALES[unit]
    scale, name = next((s for s in scales if value >= s[0]), scales[-1])
    return f"{_three_digits(value / scale)} {name}"


def _figure(value: float, result: Measurement) -> str:
    return f"{value:.2f}" if result.is_ratio else quantity(value, result.unit)


def _limit(value: float | None, result: Measurement) -> str:
    if value is None:
        return ""
    return f"{value:g}" if result.is_ratio else f"{value:g} {result.unit}"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
