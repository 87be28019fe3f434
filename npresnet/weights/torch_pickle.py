"""A pickle reader that can build plain values and tensors, and nothing else.

A pickle is a program for a small stack machine, and Python's own machine will call
any function that the program names. This one is written out instead, opcode by
opcode: it knows the opcodes that `torch.save` emits for tensors, dicts, lists and
plain values (pickle protocols 2 to 5), and refuses every other. A global is looked
up in the table of :mod:`npresnet.weights.torch_globals` and nowhere else; nothing is
imported, and all that the table holds are functions of ours that copy and check.

Storages are named by persistent ids, the tuples ``("storage", type, key, location,
numel)``, to which the legacy format appends a view, ``None`` or ``(key, offset,
numel)``. The location (``"cuda:0"``) is ignored.

A hostile file can also try to exhaust memory, time or the C stack. So: a pickle is
at most 16 MiB and takes at most 2,000,000 steps (what costs memory counts as several;
a ResNet-1202 with the state of AdamW takes about 1,400,000), integers have at most 64
bytes, keys of dicts are str, bytes or integers below 2**60 (their hashes cannot
recurse and hardly collide), and the result is nested at most 64 deep and has at most
2,000,000 values when those that are referred to many times are counted as often (the
"billion laughs").

References
----------
CPython, ``Lib/pickletools.py`` (the opcodes); PyTorch, ``torch/serialization.py``
and ``torch/_weights_only_unpickler.py`` (the same idea over there).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from npresnet.weights.tensors import (
    MEBIBYTE,
    STORAGE_TYPES,
    RefusedFile,
    Storages,
    brief,
)
from npresnet.weights.torch_globals import (
    CONTAINER_STEPS,
    GLOBALS,
    RULE,
    Global,
    dict_key,
)

MAX_PICKLE_BYTES = 16 * MEBIBYTE
MAX_STEPS = 2_000_000
MAX_DEPTH = 64
MAX_INTEGER_BYTES = 64

_PLAIN = (str, bytes, int, float, bool, type(None), np.ndarray)


def read_pickle(data: bytes, start: int, storages: Storages | None) -> tuple[Any, int]:
    """Run the pickle that begins at `data[start]`.

    Parameters
    ----------
    data : bytes
        The pickle, possibly with other things before and behind it.
    start : int
        Where it begins.
    storages : Storages or None
        Takes note of the storages and tensors that the pickle names; None where
        there can be none.

    Returns
    -------
    value : object
        Tensors (ndarrays, which `storages` fills later), OrderedDict, dict, list,
        tuple, str, bytes, int, float, bool, None.
    end : int
        The position behind the pickle.

    Raises
    ------
    RefusedFile
        If the pickle is broken or asks for anything else.
    """
    machine = _Machine(data, start, storages)
    value = machine.run()
    _check_plain(value, 0, {})
    return value, machine.position


def _check_plain(
    value: object, depth: int, seen: dict[int, tuple[int, int]]
) -> tuple[int, int]:
    """Return how many values `value` unfolds to and how deep they nest."""
    kind = type(value)
    if kind in _PLAIN:
        return 1, 0
    if kind not in (OrderedDict, dict, list, tuple):
        what = repr(value.name) if isinstance(value, Global) else brief(value)
        raise RefusedFile(f"refused: the file contains {what} itself; {RULE}")
    count, height = seen.get(id(value), (1, 0))
    if not height:
        if depth >= MAX_DEPTH:  # also ends a list that contains itself
            raise RefusedFile(f"refused: values nested more than {MAX_DEPTH} deep")
        inner: Any = value.values() if isinstance(value, dict) else value
        height = 1
        for item in inner:
            items, below = _check_plain(item, depth + 1, seen)
            count, height = count + items, max(height, below + 1)
        seen[id(value)] = count, height
    if depth + height > MAX_DEPTH:
        raise RefusedFile(f"refused: values nested more than {MAX_DEPTH} deep")
    if count > MAX_STEPS:
        raise RefusedFile(f"refused: unfolds to more than {MAX_STEPS} values")
    return count, height


class _Machine:
    """The stack machine: one method per group of opcodes, in `_OPCODES` below."""

    def __init__(self, data: bytes, start: int, storages: Storages | None) -> None:
        self.data = data
        self.position = start
        self.storages = storages
        self.steps = 0
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.take(1) != b"\x80" or self.take(1)[0] not in (2, 3, 4, 5):
            raise RefusedFile("refused: not a pickle of protocol 2 to 5")
        while (opcode := self.take(1)[0]) != ord("."):
            self.spend(1)
            method = _OPCODES.get(opcode)
            if method is None:
                raise RefusedFile(
                    f"refused: the file uses the pickle opcode {_name(opcode)}; {RULE}"
                )
            method(self)
        if self.marked or len(self.stack) != 1:
            raise RefusedFile("broken: its pickle does not end with one value")
        return self.stack[0]

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise RefusedFile(f"refused: its pickle takes more than {MAX_STEPS} steps")

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self.position + count
        if end > len(self.data):
            raise RefusedFile(
                "truncated, or broken: its pickle does not end within "
                f"{len(self.data)} bytes"
            )
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedFile("broken: a text in its pickle is not UTF-8") from None

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise RefusedFile("truncated, or broken: a global in its pickle has no end")
        line = self.text(end - self.position)
        self.position = end + 1
        return line

    def pop(self) -> Any:
        if not self.stack:
            raise RefusedFile("broken: its pickle takes a value from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last MARK."""
        if not self.marked:
            raise RefusedFile("broken: its pickle misses a MARK")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def top(self, *kinds: type) -> Any:
        """Return the value on top, which has to be exactly of one of these types."""
        if not self.stack or type(self.stack[-1]) not in kinds:
            raise RefusedFile("broken: its pickle adds items to what cannot hold them")
        return self.stack[-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def integer(self) -> None:
        count = self.number("<B")
        if count > MAX_INTEGER_BYTES:
            raise RefusedFile(f"refused: an integer of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def make_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def append(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top(dict, OrderedDict)
        if len(items) % 2:
            raise RefusedFile("broken: its pickle gives a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[dict_key(key)] = value

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def new_container(self, container: Any) -> None:
        self.spend(CONTAINER_STEPS)
        self.stack.append(container)

    def put(self, index: int) -> None:
        self.spend(1)
        if not self.stack:
            raise RefusedFile(
                "broken: its pickle remembers a value from an empty stack"
            )
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise RefusedFile(
                f"broken: its pickle recalls value {index}, which it never kept"
            )
        self.push(self.memo[index])

    def find_global(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise RefusedFile("refused: a global whose name is not a text")
        known = GLOBALS.get((module, name))
        if known is None:
            asked = brief(f"{module}.{name}")
            raise RefusedFile(f"refused: the file asks for {asked}; {RULE}")
        self.push(known)

    def stack_global(self) -> None:
        name = self.pop()
        self.find_global(self.pop(), name)

    def reduce(self) -> None:
        args, function = self.pop(), self.pop()
        if type(function) is not Global or type(args) is not tuple:
            raise RefusedFile(f"refused: the file calls {brief(function)}; {RULE}")
        self.push(function.build(self, args))

    def build(self) -> None:
        """Drop the state of an OrderedDict or a Parameter: nothing here has any."""
        state, target = self.pop(), self.pop()
        plain = (type(target), type(state)) in (
            (OrderedDict, dict),
            (np.ndarray, tuple),
        )
        if not plain:
            raise RefusedFile(
                f"refused: the file sets the state of {brief(target)}; {RULE}"
            )
        self.push(target)

    def skip_frame(self, count: int) -> None:
        if count > len(self.data) - self.position:
            raise RefusedFile("truncated, or broken: a frame of its pickle has no end")

    def persistent_id(self) -> None:
        identity = self.pop()
        if (
            self.storages is None
            or type(identity) is not tuple
            or len(identity) not in (5, 6)
            or type(identity[0]) is not str  # before ==, which a tensor takes over
            or identity[0] != "storage"
            or type(identity[1]) is not Global
            or not identity[1].is_storage_type
        ):
            shown = identity[0] if type(identity) is tuple and identity else identity
            raise RefusedFile(
                f"refused: a persistent id that is no storage ({brief(shown)}); {RULE}"
            )
        element = STORAGE_TYPES[identity[1].name.removeprefix("torch.")]
        storage = self.storages.name(identity[2], element, identity[4])
        view = identity[5] if len(identity) == 6 else None
        if view is not None:
            if type(view) is not tuple or len(view) != 3:
                raise RefusedFile(
                    f"broken: a view {brief(view)} of storage {storage.key}"
                )
            storage = storage.view(view[1], view[2])
        self.push(storage)


def _name(opcode: int) -> str:
    import pickletools

    known = {ord(o.code): o.name for o in pickletools.opcodes}
    return known.get(opcode, f"0x{opcode:02x}")


_OPCODES: dict[int, Callable[[_Machine], None]] = {
    # numbers, texts and constants
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    0x8A: _Machine.integer,
    ord("X"): lambda m: m.push(m.text(m.number("<I"))),
    0x8C: lambda m: m.push(m.text(m.number("<B"))),
    ord("T"): lambda m: m.push(m.text(m.number("<I"))),  # str of Python 2
    ord("U"): lambda m: m.push(m.text(m.number("<B"))),
    ord("B"): lambda m: m.push(m.take(m.number("<I"))),
    ord("C"): lambda m: m.push(m.take(m.number("<B"))),
    # containers
    ord("("): _Machine.mark,
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: m.make_tuple(1),
    0x86: lambda m: m.make_tuple(2),
    0x87: lambda m: m.make_tuple(3),
    ord("]"): lambda m: m.new_container([]),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_mark()),
    ord("}"): lambda m: m.new_container({}),
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    # the memo
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    0x94: lambda m: m.put(len(m.memo)),
    ord("h"): lambda m: m.get(m.number("<B")),
    ord("j"): lambda m: m.get(m.number("<I")),
    # globals, calls, state and storages
    ord("c"): lambda m: m.find_global(m.line(), m.line()),
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent_id,
    # framing (protocol 4): a hint for readers of streams
    0x95: lambda m: m.skip_frame(m.number("<Q")),
}
