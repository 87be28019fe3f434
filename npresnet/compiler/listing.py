"""A program as text: a row for each line, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from npresnet._tables import columns
from npresnet.compiler.account import (
    Account,
    Entry,
    Operand,
    account,
    most_scratch,
)

if TYPE_CHECKING:
    from npresnet.compiler.program import Plan

_HEAD = (
    *("line", "operation", "layers", "reads -> writes"),
    *("at MiB", "MiB", "moved MiB", "MACs M"),
)
_TO_RIGHT = (True, False, False, False, True, True, True, True)
_MIB = 2**20
_FEW = 3  # from so many on, neighbours that do the same in place are one row

_Row = tuple[str, ...]


def listing(plan: Plan, optimizer: Any = None) -> str:
    """List the lines of a program.

    Parameters
    ----------
    plan : Plan
        The program.
    optimizer : Optimizer, optional
        What moves the parameters behind its last line.
    """
    update = None if optimizer is None else type(optimizer).__name__
    return listing_of(account(plan), update)


def listing_of(program: Account, update: str | None = None) -> str:
    """List the lines of a program, what updates the parameters, and the totals.

    A row has the shapes of one image that come and go, the place in the arena and the
    size of what is written, and what the line reads and writes, all in MiB, and
    millions of multiply-adds. Lines that launch nothing have no row.
    """
    rows: list[_Row] = [_HEAD]
    for section in program.sections:
        entries = program.entries[section.first : section.end]
        shown = [entry for entry in entries if entry.launches]
        if not shown:
            continue
        rows += _heading(f"{section.name}: {_count(len(shown), 'line')}", shown)
        for _, same in groupby(shown, key=lambda entry: entry.operation):
            rows += _rows(list(same))
    if update is not None:
        rows += [_blank(), _blank("update")]
        what = _count(program.parameters, "parameter")
        size = _two(program.parameter_bytes)
        rows.append(("", update, what, "", "", size, "", ""))
    return columns(rows, _TO_RIGHT) + "\n\n" + "\n".join(totals(program))


def totals(program: Account) -> list[str]:
    """Say in a few lines what a program comes to."""
    shape = "x".join(map(str, program.input_shape))
    lines = [
        f"{shape}, {program.dtype}: {_count(program.lines, 'line')}, "
        f"{program.macs:,} MACs, {program.moved / _MIB:,.0f} MiB moved",
        f"arena of {_mib(program.arena)}: at most {_mib(program.most_at_once)} are "
        f"needed at once, {_mib(program.separate)} if nothing shared a place",
        f"layers one by one: at most {_mib(program.layered_most)} at once, without "
        "their scratch",
    ]
    widest = most_scratch(program.entries)
    if widest is not None:
        lines.append(
            f"scratch of a line: up to {_mib(widest.scratch)} (line {widest.number}, "
            f"{widest.operation})"
        )
    return lines


def _rows(same: list[Entry]) -> Iterator[_Row]:
    """Write lines that follow each other and do the same."""
    if len(same) < _FEW or any(entry.writes for entry in same):
        for entry in same:
            yield _row(entry)
            yield from _beside(entry)
        return
    first, last = same[0], same[-1]
    yield (
        f"{first.number}-{last.number}",
        first.operation,
        _count(len({layer for entry in same for layer in entry.layers}), "layer"),
        *("",) * 3,
        _two(sum(entry.moved for entry in same)),
        _millions(sum(entry.macs for entry in same)),
    )


def _row(entry: Entry) -> _Row:
    shapes = " -> ".join(_shape(one) for one in (*entry.reads[:1], *entry.writes[:1]))
    offset = entry.writes[0].offset if entry.writes else None
    again = " again" if "again" in entry.layers else ""
    return (
        str(entry.number),
        entry.operation + again,
        _layers(path for path in entry.layers if path != "again"),
        shapes,
        "" if offset is None else _place(offset),
        _two(entry.writes[0].bytes) if entry.writes else "",
        _two(entry.moved),
        _millions(entry.macs),
    )


def _beside(entry: Entry) -> Iterator[_Row]:
    """Write what else a line leaves in the arena."""
    for written in entry.writes[1:]:
        if written.offset is not None:
            yield (
                *("", "", written.name),
                "-> " + _shape(written),
                *(_place(written.offset), _two(written.bytes), "", ""),
            )


def _heading(text: str, entries: list[Entry]) -> list[_Row]:
    moved = _two(sum(entry.moved for entry in entries))
    macs = _millions(sum(entry.macs for entry in entries))
    return [_blank(), ("", text, *("",) * 4, moved, macs)]


def _blank(*texts: str) -> _Row:
    return ("", *texts, *("",) * (len(_HEAD) - 1 - len(texts)))


def _layers(paths: Iterable[str]) -> str:
    """Join layers' paths; those in the same block as the first, by their own names."""
    first, *others = paths
    block = first.rpartition(".")[0] + "."
    return " ".join([first, *(path.removeprefix(block) for path in others)])


def _shape(operand: Operand) -> str:
    """Write a shape; that of one of the images where it is theirs."""
    own = operand.shape[1:] if operand.of_images else operand.shape
    return "x".join(map(str, own))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _mib(size: int) -> str:
    return (
        f"{size / _MIB:,.1f} MiB" if size >= _MIB // 10 else f"{size / 2**10:,.1f} KiB"
    )


def _two(size: int) -> str:
    """Write bytes as MiB; those of a vector come to nothing there."""
    return f"{size / _MIB:,.2f}" if size >= _MIB // 200 else ""


def _place(offset: int) -> str:
    return f"{offset / _MIB:,.2f}"


def _millions(macs: int) -> str:
    if not macs:
        return ""
    return f"{macs / 1e6:,.1f}" if macs >= 1e5 else f"{macs / 1e6:.1g}"
