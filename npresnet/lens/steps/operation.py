"""One operation of a pass, as it is noted; and how operations hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module

Array = NDArray[np.floating[Any]]
Way = Literal["trunk", "branch", "shortcut"]
Place = Literal["before", "branch", "shortcut", "after"]
WAYS: tuple[Literal["branch"], Literal["shortcut"]] = ("branch", "shortcut")


@dataclass(eq=False)
class Operation:
    """One call of a layer; or an addition, a fork, a change of shape.

    Lists have one entry per output or input: a fork has two outputs, an addition two
    inputs, the branch's first. What was not seen is None until `connect` fills it in.
    """

    path: str
    name: str
    way: Way
    block: str  # path of the block around it, or ""
    module: Module | None  # a copy, to repeat the operation with
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    cache_bytes: int = 0
    seconds: float = 0.0
    received: list[Array | None] = field(default_factory=lambda: [None])
    handed: list[Array | None] = field(default_factory=lambda: [None])
    # What the later operation handed on; the same as `received` in a right network.
    expected: list[Array | None] = field(default_factory=lambda: [None, None])
    parameter_grads: dict[str, Array] = field(default_factory=dict)


@dataclass(eq=False)
class BlockCall:
    """One call of a block with a shortcut: what happened where.

    The operations before the ways part, on each of them, and after they have met.
    """

    path: str
    input: Array
    place: Place = "before"
    before: list[Operation] = field(default_factory=list)
    branch: list[Operation] = field(default_factory=list)
    shortcut: list[Operation] = field(default_factory=list)
    after: list[Operation] = field(default_factory=list)
    output: Array | None = None
    way_inputs: dict[str, Array] = field(default_factory=dict)
    way_outputs: dict[str, Array] = field(default_factory=dict)
    way_ends: dict[str, Operation | None] = field(default_factory=dict)
    grad_output: Array | None = None
    grad_input: Array | None = None
    handed: dict[str, Array | None] = field(default_factory=dict)  # to the two ways
    returned: dict[str, Array | None] = field(default_factory=dict)  # by them
    addition_seconds: float = 0.0
    fork_seconds: float = 0.0

    def fork(self) -> Operation:
        """Return the place where the ways part."""
        x = self.before[-1].outputs[0] if self.before else self.input
        return Operation(
            self.path,
            "fork",
            "trunk",
            self.path,
            None,
            (x,),
            tuple(self.way_inputs[way] for way in WAYS),
            seconds=self.fork_seconds,
            received=[self.returned.get(way) for way in WAYS],
            handed=[None if self.before else self.grad_input],
        )

    def addition(self) -> Operation:
        """Return the place where they meet."""
        ends = {way: getattr(self, way)[-1:] for way in WAYS}
        seen = {  # what the way got is what the addition gave, if nothing is between
            way: self.handed.get(way) if ends[way] == [self.way_ends[way]] else None
            for way in WAYS
        }
        return Operation(
            self.path,
            "addition",
            "trunk",
            self.path,
            None,
            tuple(
                ends[way][0].outputs[0] if ends[way] else self.way_outputs[way]
                for way in WAYS
            ),
            (self.after[0].inputs[0] if self.after else self.output,),
            seconds=self.addition_seconds,
            received=[None if self.after else self.grad_output],
            handed=[seen[way] for way in WAYS],
        )


Line = Sequence["Operation | BlockCall"]
_Link = tuple[Operation, int, Operation, int]  # an output of one, an input of another


def connect(line: Line) -> list[Operation]:
    """Put operations in order, and fill in which gradients passed between them.

    Parameters
    ----------
    line : sequence of Operation or BlockCall
        In the order of the forward pass.

    Returns
    -------
    list of Operation
        In the order of the backward pass; a branch comes before its shortcut.

    Raises
    ------
    ValueError
        If something happens between two of them that is no operation.
    """
    links: list[_Link] = []
    order: list[Operation] = []  # of the forward pass; a shortcut before its branch
    end: Operation | None = None

    def append(operations: Sequence[Operation], end: Operation | None, out: int) -> Any:
        for operation in operations:
            if end is not None:
                links.append((end, out, operation, 0))
            order.append(operation)
            end, out = operation, 0
        return end, out

    for item in line:
        first = item.inputs[0] if isinstance(item, Operation) else item.input
        if end is not None and not _same(end.outputs[0], first):
            end, _ = append([_flatten(end, first, item)], end, 0)
        if isinstance(item, Operation):
            end, _ = append([item], end, 0)
            continue
        fork, addition = item.fork(), item.addition()
        end, _ = append([*item.before, fork], end, 0)
        for number, way in reversed(list(enumerate(WAYS))):
            last, out = append(getattr(item, way), fork, number)
            links.append((last, out, addition, number))
        order.append(addition)
        end, _ = append(item.after, addition, 0)
    _fill_in(links, order)
    return order[::-1]


def _fill_in(links: Sequence[_Link], order: Sequence[Operation]) -> None:
    """Let neighbours tell what an operation did not note itself."""
    for _ in range(2):
        for earlier, i, later, j in links:
            if earlier.received[i] is None:
                earlier.received[i] = later.handed[j]
            if later.handed[j] is None:
                later.handed[j] = earlier.received[i]
            earlier.expected[i] = later.handed[j]
        for operation in order:
            # A ReLU behind an addition that was forgotten: the ways know better.
            if operation.name == "addition" and operation.received[0] is None:
                operation.received[0] = operation.handed[0]


def _flatten(end: Operation, x: Array, later: Operation | BlockCall) -> Operation:
    """Return the change of shape between two operations, if it is no more than that."""
    y = end.outputs[0]
    if not _same(y.reshape(-1), x.reshape(-1)):
        raise ValueError(
            f"something happens between {end.path} and {later.path} that is no module; "
            "the stepper takes modules that follow one another directly, and blocks"
        )
    return Operation("flatten", "flatten", "trunk", "", None, (y,), (x,))


def _same(one: Array, other: Array) -> bool:
    return one is other or (
        one.shape == other.shape and np.array_equal(one, other, equal_nan=True)
    )
