"""What `npresnet.lens.program.measure` returns: a program's lines and its memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from npresnet.compiler.listing import listing_of, totals
from npresnet.lens.shared.result import Result, Table, column, plain

if TYPE_CHECKING:
    from npresnet.compiler.account import Account, Area, Entry
    from npresnet.plots.style import Figure


@dataclass(frozen=True)
class ProgramRow:
    """One line of a program.

    Attributes
    ----------
    number : int
        Where it stands.
    section : str
        ``"forward"``, ``"running statistics"`` or ``"backward"``.
    operation : str
        What of the backend it does.
    layers : str
        Paths of the layers whose work it is; ``+`` is the addition of a block.
    read : tuple of int
        Shape of the first array that it reads, which are images but for short vectors.
    written : tuple of int or None
        Shape of the first array that it writes; None where it changes one that it
        reads.
    offset : int or None
        Where in the arena that lies; None where it lies outside.
    written_bytes : int
        Size of all that it writes.
    scratch_bytes : int
        What else of the arena it needs, and only itself.
    moved_bytes : int
        All that it reads and writes, once each.
    macs : int
        Multiplications with additions.
    launches : bool
        False where it only gives an array another name or shape.
    """

    number: int = column("line")
    section: str = column("section")
    operation: str = column("operation")
    layers: str = column("layers")
    read: tuple[int, ...] = column("reads")
    written: tuple[int, ...] | None = column("writes")
    offset: int | None = column("at, bytes")
    written_bytes: int = column("written, bytes")
    scratch_bytes: int = column("scratch, bytes")
    moved_bytes: int = column("moved, bytes")
    macs: int = column("MACs")
    launches: bool = column("launches")


@dataclass(frozen=True, repr=False)
class Program(Result):
    """A training step as one program.

    Attributes
    ----------
    account : Account
        The program in plain values: sections, lines, areas of the arena.
    optimizer : str
        What moves the parameters behind the last line.
    """

    account: Account
    optimizer: str

    @property
    def rows(self) -> tuple[ProgramRow, ...]:  # type: ignore[override]
        """Its lines, in order."""
        return tuple(_row(entry) for entry in self.account.entries)

    @property
    def areas(self) -> tuple[Area, ...]:
        """What lies in the arena: what for, where, and from which line to which."""
        return self.account.areas

    @property
    def arena(self) -> int:
        """Bytes of the arena."""
        return self.account.arena

    @property
    def most_at_once(self) -> int:
        """Bytes that are needed at one line at most: no arena can be smaller."""
        return self.account.most_at_once

    @property
    def separate(self) -> int:
        """Bytes that the arena would have if no two arrays shared a place."""
        return self.account.separate

    @property
    def layered_most(self) -> int:
        """Bytes that the model's own passes need at most, layer by layer.

        Those are arrays that a later call takes, and what layers keep for their way
        back; there is no scratch among them.
        """
        return self.account.layered_most

    @property
    def macs(self) -> int:
        """Multiplications with additions, of all lines."""
        return self.account.macs

    @property
    def moved(self) -> int:
        """Bytes that lines read and write."""
        return self.account.moved

    def records(self) -> Table:
        """Return all lines, also those that launch nothing, in bytes."""
        return Table.of(self.rows)

    def table(self) -> Table:
        """Return the lines that launch something; `records` has all of everything."""
        table = self.records()
        names = (
            "number",
            "operation",
            "layers",
            "read",
            "written",
            "moved_bytes",
            "macs",
        )
        at = [table.names.index(name) for name in names]
        launches = table.names.index("launches")
        return Table(
            names,
            tuple(table.titles[i] for i in at),
            tuple(table.forms[i] for i in at),
            tuple(tuple(row[i] for i in at) for row in table.values if row[launches]),
        )

    def summary(self) -> str:
        """Say what the lines come to, and what memory they take."""
        return "\n".join(totals(self.account))

    def __repr__(self) -> str:
        return listing_of(self.account, self.optimizer)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the totals, as plain data."""
        program = self.account
        return {
            "input_shape": plain(program.input_shape),
            "dtype": program.dtype,
            "optimizer": self.optimizer,
            "lines": program.lines,
            "macs": program.macs,
            "moved_bytes": program.moved,
            "arena_bytes": program.arena,
            "most_at_once_bytes": program.most_at_once,
            "separate_bytes": program.separate,
            "layered_most_bytes": program.layered_most,
            "parameters": program.parameters,
            "parameter_bytes": program.parameter_bytes,
            "sections": [section._asdict() for section in program.sections],
            "rows": plain(self.rows),
            "areas": [area._asdict() for area in program.areas],
            "living_bytes": plain(program.living),
            "layered_bytes": plain(program.layered),
        }

    def plot(self) -> Figure:
        """Draw what lies where in the arena, line by line, and how much is needed."""
        from npresnet.lens.program.picture import memory

        return memory(self)


def _row(entry: Entry) -> ProgramRow:
    first = entry.writes[0] if entry.writes else None
    return ProgramRow(
        entry.number,
        entry.section,
        entry.operation,
        " ".join(entry.layers),
        entry.reads[0].shape,
        None if first is None else first.shape,
        None if first is None else first.offset,
        sum(written.bytes for written in entry.writes),
        entry.scratch,
        entry.moved,
        entry.macs,
        entry.launches,
    )
