"""A program: lines with memory, recorded as launches that compiled code runs.

First every line is gone through without computing, to learn which arrays it asks for
and how large they are. `memory_plan` gives those places. Then every line is gone
through once more, with its arrays where they belong, and its launches are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.backend import between
from npresnet.backend.recording import CannotRecord, Launch, recording
from npresnet.backend.threads.recorded import Jobs, prepare
from npresnet.compiler import memory_plan
from npresnet.compiler.lowering import Line, Lines
from npresnet.compiler.memory_plan import Buffer
from npresnet.compiler.symbols import CannotCompile, Value

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

_HUGE_PAGE = 1 << 21


class Plan:
    """Lines, and where in an arena each of their arrays lies.

    Attributes
    ----------
    lines : list of Line
        All of them: the way forward, running statistics, the way back.
    buffers : list of Buffer
        Of the arena.
    size : int
        Bytes of the arena.
    places : dict of Value to Buffer
        Where arrays lie; those that are not in the arena are missing.
    """

    def __init__(self, source: Lines) -> None:
        self.source, trace = source, source.trace
        self.lines = [*source.forward, *source.statistics, *source.backward]
        # Before the first line, what comes in; behind the last, what goes out.
        self.given = [trace.x] + ([trace.grad_out] if trace.grad_out else [])
        kept = [trace.out]
        for _, values in source.gradients:
            kept += values
        self.kept = kept + ([trace.grad_x] if trace.grad_x else [])
        self.doubts = sum(
            line.writes[-1].shape[0] for line in self.lines if line.operation in _SUMS
        )
        self.requests: list[list[Buffer]] = []  # by line, in the order of asking
        self.buffers: list[Buffer] = []
        self.places: dict[Value, Buffer] = {}
        self._measure()
        self.size = memory_plan.place(self.buffers)

    def plot(self) -> Figure:
        """Draw what lies where in the arena, line by line, and how much is needed.

        Returns
        -------
        matplotlib.figure.Figure
            The picture; see `npresnet.plots.program_memory`.
        """
        from npresnet.compiler.account import account
        from npresnet.plots.program_memory import program_memory

        return program_memory(*account(self).drawn())

    def _measure(self) -> None:
        """Find out which arrays there are, and until when they are needed."""
        arrays: dict[Value, Any] = {
            value: source() for value, source in self.source.sources.items()
        }
        found: list[tuple[int, int, Buffer]] = []  # addresses of what is in the arena
        line_number = 0

        def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            array = np.empty(shape, dtype)
            buffer = Buffer("", array.nbytes, line_number, line_number)
            begin = array.ctypes.data
            found.append((begin, begin + max(array.nbytes, 1), buffer))
            self.requests[-1].append(buffer)
            everything.append(array)
            return array

        def notice(value: Value, array: Any, name: str) -> None:
            arrays[value] = array
            at = array.ctypes.data
            for begin, end, buffer in reversed(found):
                if begin <= at < end:
                    self.places[value] = buffer
                    buffer.name = buffer.name or name
                    return

        everything: list[Any] = []  # no address is used twice
        doubts = np.empty(self.doubts, np.bool_)
        with recording(allocate, doubts):
            for value in self.given:
                self.requests.append([])
                notice(value, _room(value), value.name)
            for line_number, line in enumerate(self.lines):  # noqa: B007
                self.requests.append([])
                results = _results(line, arrays, dry=True)
                for value, array in zip(line.writes, results, strict=True):
                    notice(value, array, value.name or line.operation)
                for buffer in self.requests[-1]:
                    buffer.name = buffer.name or f"{line.operation}: scratch"
        self.buffers = [buffer for _, _, buffer in found]
        for number, line in enumerate(self.lines):
            for value in line.reads:
                if value in self.places:
                    self.places[value].last = max(self.places[value].last, number)
        end = len(self.lines)
        if self.source.trace.grad_out is not None:
            # It is written when the way forward is done.
            begin = len(self.lines) - len(self.source.backward)
            given = self.places.get(self.source.trace.grad_out)
            if given is not None:
                given.first = begin
        for value in self.kept:
            if value in self.places:
                self.places[value].last = end


_SUMS = {
    "batch_norm_statistics",
    "batch_norm_grad_sums",
    "batch_norm_relu_grad_sums",
    "rectified_batch_norm_grad_sums",
}


def _room(value: Value) -> Any:
    """Make room for what comes from outside, laid out as kernels like it."""
    if len(value.shape) == 4:
        return between.empty_images(value.shape, value.dtype)
    return between.empty(value.shape, value.dtype)


def _results(line: Line, arrays: dict[Value, Any], *, dry: bool) -> tuple[Any, ...]:
    """Have a line ask for its arrays, and launch what it launches."""
    reads = [arrays[value] for value in line.reads]
    if line.on_host:
        return tuple(np.empty(value.shape, value.dtype) for value in line.writes)
    try:
        return line.run(*reads)
    except CannotRecord as error:
        where = ", ".join(line.layers)
        raise CannotCompile(f"{where}: {line.operation}: {error}") from None


@dataclass
class Binding:
    """An array of the model's own, and where it was found."""

    source: Callable[[], Any]
    array: Any


class Program:
    """A plan with an arena, the model's arrays, and launches in order.

    Attributes
    ----------
    x, out, grad_out, grad_x : ndarray or None
        What goes in and comes out.
    gradients : list of (Parameter, list of ndarray)
        What the way back leaves: what is added to each parameter's gradient, in order.
    """

    def __init__(self, plan: Plan, arena: NDArray[np.uint8]) -> None:
        self.plan, self.arena = plan, arena
        source, trace = plan.source, plan.source.trace
        self.bindings = [
            (value, Binding(find, find())) for value, find in source.sources.items()
        ]
        arrays: dict[Value, Any] = {
            value: binding.array for value, binding in self.bindings
        }
        requests = iter(plan.requests)
        pending: list[Buffer] = []

        def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
            buffer = pending.pop(0)
            memory = arena[buffer.offset : buffer.offset + buffer.bytes]
            return memory.view(dtype).reshape(shape)

        self._doubts = np.zeros(plan.doubts, np.bool_)
        forward = len(source.forward)
        counts = forward, len(source.statistics), len(source.backward)
        parts: list[list[Line]] = [
            plan.lines[:forward],
            plan.lines[forward : forward + counts[1]],
            plan.lines[forward + counts[1] :],
        ]
        self.launches: dict[Line, list[Launch]] = {}
        self._parts: list[list[Any]] = []
        with recording(allocate, self._doubts) as record:
            for value in plan.given:
                pending[:] = next(requests)
                arrays[value] = _room(value)
            self._record_copy(arrays[trace.x])
            copying = list(record.launches)
            for part in parts:
                steps: list[Any] = []
                launches: list[Launch] = []
                for line in part:
                    pending[:] = next(requests)
                    begin = len(record.launches)
                    results = _results(line, arrays, dry=False)
                    arrays.update(zip(line.writes, results, strict=True))
                    self.launches[line] = record.launches[begin:]
                    launches += record.launches[begin:]
                    if line.on_host:
                        steps.append(launches)
                        launches = []
                        steps.append(_on_host(line, arrays))
                steps.append(launches)
                self._parts.append(steps)
        prepare(record.launches)
        self._copying = Jobs(copying) if copying else None
        self._parts = [
            [Jobs(step) if isinstance(step, list) else step for step in steps if step]
            for steps in self._parts
        ]
        self.arrays = arrays
        self.x, self.out = arrays[trace.x], arrays[trace.out]
        self.grad_out = arrays[trace.grad_out] if trace.grad_out else None
        self.grad_x = arrays[trace.grad_x] if trace.grad_x else None
        self.gradients = [
            (parameter, [arrays[value] for value in values])
            for parameter, values in source.gradients
        ]

    def fits(self) -> bool:
        """Tell whether the model's arrays are still those that were found."""
        return all(binding.source() is binding.array for _, binding in self.bindings)

    def _record_copy(self, x: NDArray[Any]) -> None:
        """Record how images come in that lie in C order, as most do."""
        if x.ndim == 4 and not x.flags.c_contiguous:
            between.interleave(x, np.empty(x.shape, x.dtype))

    def _take(self, x: NDArray[Any]) -> None:
        """Copy what comes in to its place."""
        if self._copying is None or not x.flags.carray:
            self.x[...] = x
            return
        self._copying.point_to(0, 1, x)
        self._copying.run()

    def run_forward(self, x: NDArray[Any]) -> bool:
        """Compute the output, and what the way back needs; False where in doubt.

        Running statistics do not move.
        """
        self._doubts[:] = False
        self._take(x)
        self._run(self._parts[0])
        return not self._doubts.any()

    def move_statistics(self) -> None:
        """Move running statistics on, after `run_forward`."""
        self._run(self._parts[1])

    def run_backward(self, grad_out: NDArray[Any]) -> bool:
        """Compute all gradients, after `run_forward`; False where in doubt."""
        assert self.grad_out is not None
        self.grad_out[...] = grad_out
        self._run(self._parts[2])
        return not self._doubts.any()

    def _run(self, steps: list[Any]) -> None:
        for step in steps:
            step.run()


class _on_host:
    """A line that NumPy does."""

    def __init__(self, line: Line, arrays: dict[Value, Any]) -> None:
        self._line = line
        self._reads = [arrays[value] for value in line.reads]
        self._writes = [arrays[value] for value in line.writes]

    def run(self) -> None:
        for target, result in zip(
            self._writes, self._line.run(*self._reads), strict=True
        ):
            target[...] = result


def new_arena(size: int) -> NDArray[np.uint8]:
    """Make an arena that begins at a huge page; NumPy asks Linux for huge ones."""
    memory = np.empty(size + _HUGE_PAGE, np.uint8)
    begin = -memory.ctypes.data % _HUGE_PAGE
    return memory[begin : begin + size]
