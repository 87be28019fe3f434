"""A program as text: a row for each line."""

from __future__ import annotations

from npresnet._tables import columns
from npresnet.compiler.lowering import Line
from npresnet.compiler.program import Plan

_HEAD = ("line", "operation", "layers", "writes", "at", "bytes", "moved", "MACs")


def listing(plan: Plan) -> str:
    """List the lines of a program."""
    rows = [_HEAD, *(_row(plan, i, line) for i, line in enumerate(plan.lines))]
    return columns(rows, (True, False, False, False, True, True, True, True))


def _row(plan: Plan, number: int, line: Line) -> tuple[str, ...]:
    written = line.writes[0] if line.writes else None
    place = plan.places.get(written) if written is not None else None
    moved = sum(value.bytes for value in (*line.reads, *line.writes))
    return (
        str(number),
        line.operation,
        " ".join(line.layers),
        "" if written is None else "x".join(map(str, written.shape)),
        "" if place is None else f"{place.offset:,}",
        "" if written is None else f"{written.bytes:,}",
        f"{moved:,}",
        f"{line.macs:,}" if line.macs else "",
    )
