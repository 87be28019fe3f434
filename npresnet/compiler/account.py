"""What a program takes: its lines one by one, its memory, and that of the layers.

Plain numbers and names, for those who list a program or draw it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from npresnet.compiler.memory_plan import Buffer
from npresnet.compiler.symbols import Value

if TYPE_CHECKING:
    from npresnet.compiler.program import Plan
    from npresnet.compiler.tracing import Node

# What a part of the arena is there for.
KEPT = "activation, kept for the way back"
PASSING = "activation, not kept"  # or computed again when it is needed
GRADIENT = "gradient"
SCRATCH = "scratch of one line"
KINDS = KEPT, PASSING, GRADIENT, SCRATCH

# They give a value another name or shape, and launch nothing.
_NAMES_ONLY = frozenset(("copy", "view"))


class Section(NamedTuple):
    """A part of a program: the lines from `first` to `end`, without `end`."""

    name: str
    first: int
    end: int


class Operand(NamedTuple):
    """An array that a line reads or writes: what it is, and where it lies."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    offset: int | None  # in the arena; None outside of it, as small vectors are
    of_images: bool  # whether the first axis counts images


@dataclass(frozen=True)
class Entry:
    """One line of a program, in plain values.

    Attributes
    ----------
    number : int
        Where it stands.
    section, operation : str
        What it belongs to, and what of the backend it does.
    layers : tuple of str
        Whose work it does; ``"+"`` is the addition of branch and shortcut.
    reads, writes : tuple of Operand
        What comes and what goes, the images first.
    moved : int
        Bytes of all that is read and written, once each.
    scratch : int
        Bytes of the arena that only this line needs.
    macs : int
        Multiplications with additions.
    launches : bool
        False where it only gives an array another name or shape.
    """

    number: int
    section: str
    operation: str
    layers: tuple[str, ...]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    moved: int
    scratch: int
    macs: int
    launches: bool


class Area(NamedTuple):
    """A part of the arena, while something needs it."""

    name: str
    kind: str  # of `KINDS`
    first: int
    last: int  # included
    offset: int
    bytes: int


@dataclass(frozen=True)
class Account:
    """A program in plain values.

    Attributes
    ----------
    input_shape : tuple of int
        ``(N, C, H, W)``.
    dtype : str
        Of the images.
    sections : tuple of Section
        Way forward, running statistics, way back.
    entries : tuple of Entry
        All lines.
    areas : tuple of Area
        What lies in the arena, in the order in which it was asked for.
    arena : int
        Its bytes.
    parameters, parameter_bytes : int
        How many parameters there are gradients of, and the size of those.
    layered : tuple of int
        Bytes that the layers' own passes need at every line; see `layered_buffers`.
    """

    input_shape: tuple[int, ...]
    dtype: str
    sections: tuple[Section, ...]
    entries: tuple[Entry, ...]
    areas: tuple[Area, ...]
    arena: int
    parameters: int
    parameter_bytes: int
    layered: tuple[int, ...]

    @property
    def living(self) -> tuple[int, ...]:
        """Bytes that are needed at every line."""
        return tuple(_living(self.areas, len(self.entries)))

    @property
    def most_at_once(self) -> int:
        """What no arrangement of the arena can be below."""
        return max(self.living, default=0)

    @property
    def separate(self) -> int:
        """What the arena would take if no two arrays shared a place."""
        return sum(area.bytes for area in self.areas)

    @property
    def layered_most(self) -> int:
        """What the layers' own passes need at most at once."""
        return max(self.layered, default=0)

    def drawn(self) -> tuple[Any, ...]:
        """Return what `npresnet.plots.program_memory` draws, as its arguments."""
        shape = "x".join(map(str, self.input_shape))
        subject = f"Memory of a program for {shape}, {self.dtype}"
        return self.areas, KINDS, self.sections, self.arena, self.layered, subject

    @property
    def lines(self) -> int:
        """Lines that launch something."""
        return sum(entry.launches for entry in self.entries)

    @property
    def macs(self) -> int:
        """Multiplications with additions, of all lines."""
        return sum(entry.macs for entry in self.entries)

    @property
    def moved(self) -> int:
        """Bytes that lines read and write."""
        return sum(entry.moved for entry in self.entries)


def account(plan: Plan) -> Account:
    """Take a program's plan apart into plain values."""
    source = plan.source
    sections, end = [], 0
    for name, lines in (
        ("forward", source.forward),
        ("running statistics", source.statistics),
        ("backward", source.backward),
    ):
        sections.append(Section(name, end, end + len(lines)))
        end += len(lines)
    in_arena = set(plan.places.values())
    scratch = [0] * len(plan.lines)
    for buffer in plan.buffers:
        if buffer not in in_arena and buffer.first < end:
            scratch[buffer.first] += buffer.bytes
    parameters = {*source.sources}
    parameters |= {value for _, values in source.trace.gradients for value in values}
    entries = [
        _entry(plan, parameters, number, section.name, scratch[number])
        for section in sections
        for number in range(section.first, section.end)
    ]
    gradients = [values[0] for _, values in source.trace.gradients]
    return Account(
        source.trace.x.shape,
        str(source.trace.x.dtype),
        tuple(sections),
        tuple(entries),
        tuple(
            Area(
                one.name, kind, one.first, min(one.last, end - 1), one.offset, one.bytes
            )
            for one, kind in zip(plan.buffers, _kinds(plan), strict=True)
        ),
        plan.size,
        len(gradients),
        sum(value.bytes for value in gradients),
        _layered(plan),
    )


def _entry(
    plan: Plan, parameters: set[Value], number: int, section: str, scratch: int
) -> Entry:
    line, N = plan.lines[number], plan.source.trace.x.shape[0]

    def operand(value: Value) -> Operand:
        place, shape = plan.places.get(value), value.shape
        images = len(shape) in (2, 4) and shape[0] == N and value not in parameters
        offset = None if place is None else place.offset
        return Operand(value.name, shape, value.bytes, offset, images)

    launches = line.operation not in _NAMES_ONLY
    moved = sum(value.bytes for value in (*line.reads, *line.writes))
    return Entry(
        number,
        section,
        line.operation,
        line.layers,
        tuple(operand(value) for value in line.reads),
        tuple(operand(value) for value in line.writes),
        moved if launches else 0,
        scratch,
        line.macs,
        launches,
    )


def _kinds(plan: Plan) -> list[str]:
    """Tell what each of a plan's buffers is there for."""
    source, trace = plan.source, plan.source.trace
    back = len(source.forward) + len(source.statistics)  # where the way back begins
    in_arena = set(plan.places.values())
    gradients = {value for node in trace.backward for value in node.outputs}
    of_gradients = {
        plan.places.get(value) for value in (*gradients, trace.grad_out) if value
    }

    def kind(buffer: Buffer) -> str:
        if buffer not in in_arena:
            return SCRATCH
        if buffer in of_gradients:
            return GRADIENT
        return (
            KEPT if buffer.first < back <= buffer.last and trace.backward else PASSING
        )

    return [kind(buffer) for buffer in plan.buffers]


def _living(parts: tuple[Area, ...] | list[Buffer], lines: int) -> list[int]:
    """Count the bytes that are needed at each line."""
    steps = [0] * (lines + 1)
    for part in parts:
        steps[min(part.first, lines)] += part.bytes
        steps[min(part.last + 1, lines)] -= part.bytes
    total, living = 0, []
    for step in steps[:-1]:
        total += step
        living.append(total)
    return living


# ------------------------------------------------------------ the layers' own passes


def layered_buffers(plan: Plan) -> list[Buffer]:
    """List the arrays that the same passes have where the layers run one by one.

    Parameters
    ----------
    plan : Plan
        The program.

    Returns
    -------
    list of Buffer
        Without places; the time is the layers' calls, forward and then backward. An
        array is there from the call that makes it to the last one that takes it; what a
        layer keeps for its way back, until it has gone back: convolutions, linear
        layers and batch norms their input, ReLUs a bit for each element, max pools an
        index for each window. Neither scratch within a call is counted, nor vectors of
        a number per channel, nor parameters and their gradients.
    """
    trace = plan.source.trace
    calls = {node: time for time, node in enumerate((*trace.forward, *trace.backward))}
    buffers: dict[Value, Buffer] = {}
    same: dict[Value, Value] = {}  # views are of another's memory

    def use(value: Value, time: int) -> None:
        value = same.get(value, value)
        if value not in buffers:
            buffers[value] = Buffer(value.name, value.bytes, time, time)
        buffers[value].last = time

    for node, time in calls.items():
        for value in node.inputs:
            use(value, time)
        out = node.outputs[0]
        if node.kind == "view":
            source = node.inputs[0]
            same[out] = same.get(source, source)
        elif node.facts.get("input_grad", True):
            use(out, time)
        if node.forward is not None:
            for value in _kept_as_it_is(node.forward):
                use(value, time)
    kept = [
        Buffer(f"{layer.path}: kept", size, calls[layer], calls[back])
        for back in trace.backward
        if (layer := back.forward) is not None and (size := _kept_besides(layer))
    ]
    return [*buffers.values(), *kept]


def _layered(plan: Plan) -> tuple[int, ...]:
    """Count the bytes that the layers' calls need, by the lines that do their work."""
    at = _when(plan)  # by call, in order
    living = _living(layered_buffers(plan), len(at))
    sizes: list[int | None] = [None] * len(plan.lines)
    for line, size in zip(at, living, strict=True):
        sizes[line] = max(size, sizes[line] or 0)
    before, filled = 0, []
    for known in sizes:  # other lines, such as those of running statistics: no change
        before = before if known is None else known
        filled.append(before)
    return tuple(filled)


def _kept_as_it_is(node: Node) -> list[Value]:
    """Return the arrays that a layer keeps of those that come to it."""
    return node.inputs if node.kind in ("conv2d", "linear", "batch_norm") else []


def _kept_besides(node: Node) -> int:
    """Return the bytes of what a layer makes to keep it."""
    elements = math.prod(node.outputs[0].shape)
    return {"relu": -(-elements // 8), "max_pool2d": 4 * elements}.get(node.kind, 0)


def _when(plan: Plan) -> list[int]:
    """Find the line that does the work of each call of a layer, in order.

    A call that has no line of its own is part of one that comes later.
    """
    makers = {
        value: number for number, line in enumerate(plan.lines) for value in line.writes
    }
    trace = plan.source.trace
    at, later = [], len(plan.lines) - 1
    for node in reversed((*trace.forward, *trace.backward)):
        numbers = [makers[value] for value in node.outputs if value in makers]
        later = min(later, max(numbers, default=later))
        at.append(later)
    return at[::-1]


def most_scratch(entries: tuple[Entry, ...]) -> Entry | None:
    """Return the line that needs most scratch, if any needs some."""
    largest = max(entries, key=lambda entry: entry.scratch, default=None)
    return largest if largest is not None and largest.scratch else None
