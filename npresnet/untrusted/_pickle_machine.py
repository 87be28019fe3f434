"""The stack machine that runs a pickle: what it builds, what it costs, what it refuses.

One method per group of opcodes; `_OPCODES`, at the end, is the list of all. The bounds
are described in :mod:`npresnet.untrusted.pickles`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from npresnet.untrusted._pickle_arrays import UnfinishedArray
from npresnet.untrusted._pickle_program import Program
from npresnet.untrusted.pickle_values import (
    CONTAINER_STEPS,
    Globals,
    Placeholder,
    named,
)
from npresnet.untrusted.text import RefusedFile, brief

MAX_STEPS = 2_000_000
MAX_MEMO = 1_000_000  # an entry takes some 80 bytes
MAX_KEY_DEPTH = 8

_NO_PROGRAM = "only values are read from a file, and nothing in it is run"

_SURE_KEYS = frozenset((str, bytes, bool, type(None)))  # hashes cannot be chosen
_OTHER_KEYS = frozenset((int, float, complex))

# What programs hide in a pickle calls. This list protects nobody, since nothing is
# called; it tells people what they have got.
_MODULES_THAT_ACT = frozenset(
    "os posix nt sys subprocess pty socket shutil runpy importlib ctypes webbrowser "
    "pickle _pickle".split()
)
_BUILTINS_THAT_ACT = frozenset(
    "eval exec execfile compile open file __import__ input breakpoint apply".split()
)


class Machine:
    """The stack machine: one method per group of opcodes, in `_OPCODES` below.

    Parameters
    ----------
    data, start, globals, load_persistent
        See `npresnet.untrusted.pickles.read_pickle`.
    """

    def __init__(
        self,
        data: bytes,
        start: int,
        globals: Globals,
        load_persistent: Callable[[object], Any] | None,
    ) -> None:
        self.program = Program(data, start)
        self.globals = globals
        self.load_persistent = load_persistent
        self.steps = 0
        self.bytes_left = 2 * (len(data) - start)
        self.chosen_keys = 0  # whose hashes the file could choose
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Take the program's steps, and return the value that it leaves."""
        while (opcode := self.program.opcode()) != ord("."):
            self.spend(1)
            method = _OPCODES.get(opcode)
            if method is None:
                raise RefusedFile(
                    f"refused: the file uses the pickle opcode {_name(opcode)}; "
                    f"{_NO_PROGRAM}"
                )
            method(self)
        if self.marked or len(self.stack) != 1:
            raise RefusedFile("broken: its pickle does not end with one value")
        return self.stack[0]

    # What things cost.

    def spend(self, steps: int) -> None:
        """Count steps, and refuse too many."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise RefusedFile(f"refused: its pickle takes more than {MAX_STEPS} steps")

    def allocate(self, count: int) -> None:
        """Count bytes that are built, and refuse too many."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise RefusedFile("refused: its arrays are larger than its pickle")

    # The stack.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise RefusedFile("broken: its pickle takes a value from an empty stack")
        return self.stack.pop()

    def drop(self) -> None:
        """Forget the value on top, or a MARK that nothing was pushed on."""
        if not self.stack and self.marked:
            self.stack = self.marked.pop()
        else:
            self.pop()

    def drop_mark(self) -> None:
        self.pop_mark()

    def duplicate(self) -> None:
        self.push(self.top())

    def top(self) -> Any:
        if not self.stack:
            raise RefusedFile("broken: its pickle uses a value from an empty stack")
        return self.stack[-1]

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return what was pushed since the last MARK."""
        if not self.marked:
            raise RefusedFile("broken: its pickle misses a MARK")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def put(self, index: int) -> None:
        if len(self.memo) >= MAX_MEMO:
            raise RefusedFile(f"refused: its pickle remembers over {MAX_MEMO} values")
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise RefusedFile(
                f"broken: its pickle recalls value {index}, which it never kept"
            )
        value = self.memo[index]
        if type(value) is UnfinishedArray and value.array is not None:
            value = value.array
        self.push(value)

    # Containers.

    def make_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def new_container(self, container: Any) -> None:
        self.spend(CONTAINER_STEPS)
        self.push(container)

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Placeholder):
            raise RefusedFile(f"broken: its pickle appends to {brief(target)}")

    def add(self, items: list[Any]) -> None:
        target = self.top()
        if type(target) is set:
            target.update([self.key(item) for item in items])
        elif not isinstance(target, Placeholder):
            raise RefusedFile(f"broken: its pickle adds items to {brief(target)}")

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if len(items) % 2:
            raise RefusedFile("broken: its pickle gives a key without a value")
        if isinstance(target, Placeholder):
            return
        if type(target) not in (dict, OrderedDict, Counter):
            raise RefusedFile(f"broken: its pickle sets items of {brief(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.key(key)] = value

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def push_dict(self) -> None:
        items = self.pop_mark()
        self.new_container({})
        self.set_items(items)

    def push_set(self, items: list[Any], kind: type) -> None:
        self.new_container(kind([self.key(item) for item in items]))

    def key(self, value: object) -> Any:
        """Return a value that may be hashed, having charged for what that may cost."""
        if type(value) in _SURE_KEYS or (
            type(value) is int and -(1 << 60) < value < 1 << 60  # its own hash
        ):
            return value
        if type(value) is np.ndarray:  # PyTorch's tensors may be keys, each for itself
            return Placeholder("tensor")
        if isinstance(value, Placeholder):
            return value
        size = self.size_of_key(value, 0)
        self.chosen_keys += 1
        # The n-th of them may have to be compared with all n - 1 before.
        self.spend(size * (1 + self.chosen_keys // 8))
        return value

    def size_of_key(self, value: object, depth: int) -> int:
        """Return how many values a key is made of, if it can be one at all."""
        if type(value) is tuple and depth < MAX_KEY_DEPTH:
            items: tuple[object, ...] = value
            self.spend(1 + len(items))
            return 1 + sum([self.size_of_key(item, depth + 1) for item in items])
        if (
            type(value) not in _SURE_KEYS
            and type(value) not in _OTHER_KEYS
            and not isinstance(value, Placeholder | np.generic)
        ):
            raise RefusedFile(f"refused: {brief(value)} as the key of a dict")
        return 1

    # Globals, calls, state and storages.

    def find_global(self, module: object, name: object) -> None:
        if type(module) is not str or type(name) is not str:
            raise RefusedFile("refused: a global whose name is not a text")
        known = self.globals.get((module, name))
        if known is not None:
            self.push(known)
            return
        self.spend(4)
        first = module.partition(".")[0]
        acts = first in _MODULES_THAT_ACT or (
            first in ("builtins", "__builtin__")
            and name.partition(".")[0] in _BUILTINS_THAT_ACT
        )
        unknown = named(module, name)
        if acts:
            raise RefusedFile(
                f"refused: the file asks for {brief(unknown.type)}, as programs that "
                f"hide in weights and data do; {_NO_PROGRAM}"
            )
        self.push(unknown)

    def stack_global(self) -> None:
        name = self.pop()
        self.find_global(self.pop(), name)

    def call(self, function: Any, args: Any) -> None:
        self.spend(2)
        if not isinstance(function, Placeholder) or type(args) is not tuple:
            raise RefusedFile(f"refused: the file calls {brief(function)}")
        self.push(function._call(self, args))

    def reduce(self) -> None:
        args = self.pop()
        self.call(self.pop(), args)

    def new_object(self) -> None:
        # cls.__new__(cls, *args)
        args = self.pop()
        self.call(self.pop(), args)

    def new_object_of_keywords(self) -> None:
        # cls.__new__(cls, *args, **keywords)
        self.pop()
        self.new_object()

    def marked_object(self) -> None:
        items = self.pop_mark()
        if not items:
            raise RefusedFile("broken: its pickle makes an object of no class")
        self.call(items[0], tuple(items[1:]))

    def named_object(self) -> None:
        self.find_global(self.program.name_line(), self.program.name_line())
        kind = self.pop()
        self.call(kind, tuple(self.pop_mark()))

    def build(self) -> None:
        """Give a value its state: attributes, which nothing here has, or an array's."""
        state, target = self.pop(), self.pop()
        if isinstance(target, Placeholder):
            self.push(target._set_state(self, state))
        elif type(target) in (OrderedDict, Counter, np.ndarray):
            self.push(target)
        else:
            raise RefusedFile(f"refused: the file sets the state of {brief(target)}")

    def persistent_id(self) -> None:
        identity = self.pop()
        if self.load_persistent is None:
            raise RefusedFile(f"refused: a persistent id ({brief(identity)})")
        self.push(self.load_persistent(identity))


def _name(opcode: int) -> str:
    import pickletools

    known = {ord(o.code): o.name for o in pickletools.opcodes}
    return known.get(opcode, f"0x{opcode:02x}")


_OPCODES: dict[int, Callable[[Machine], None]] = {
    0x80: lambda m: m.program.check_protocol(),
    # numbers, texts and constants
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.program.number("<i")),
    ord("K"): lambda m: m.push(m.program.number("<B")),
    ord("M"): lambda m: m.push(m.program.number("<H")),
    ord("G"): lambda m: m.push(m.program.number(">d")),
    ord("I"): lambda m: m.push(m.program.truth_or_integer_line()),
    ord("L"): lambda m: m.push(m.program.number_line(int)),
    ord("F"): lambda m: m.push(m.program.number_line(float)),
    0x8A: lambda m: m.push(m.program.integer(m.program.number("<B"))),
    0x8B: lambda m: m.push(m.program.integer(m.program.number("<I"))),
    ord("X"): lambda m: m.push(m.program.text(m.program.number("<I"))),
    0x8C: lambda m: m.push(m.program.text(m.program.number("<B"))),
    0x8D: lambda m: m.push(m.program.text(m.program.number("<Q"))),
    ord("V"): lambda m: m.push(m.program.unicode_line()),
    ord("S"): lambda m: m.push(m.program.quoted_line()),
    ord("T"): lambda m: m.push(m.program.counted_str(m.program.number("<I"))),
    ord("U"): lambda m: m.push(m.program.counted_str(m.program.number("<B"))),
    ord("B"): lambda m: m.push(m.program.take(m.program.number("<I"))),
    ord("C"): lambda m: m.push(m.program.take(m.program.number("<B"))),
    0x8E: lambda m: m.push(m.program.take(m.program.number("<Q"))),
    0x96: lambda m: m.push(bytearray(m.program.take(m.program.number("<Q")))),
    # containers
    ord("("): Machine.mark,
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: m.make_tuple(1),
    0x86: lambda m: m.make_tuple(2),
    0x87: lambda m: m.make_tuple(3),
    ord("]"): lambda m: m.new_container([]),
    ord("l"): lambda m: m.new_container(m.pop_mark()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_mark()),
    ord("}"): lambda m: m.new_container({}),
    ord("d"): Machine.push_dict,
    ord("s"): Machine.set_item,
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    0x8F: lambda m: m.push_set([], set),
    0x90: lambda m: m.add(m.pop_mark()),
    0x91: lambda m: m.push_set(m.pop_mark(), frozenset),
    # the stack and the memo
    ord("0"): Machine.drop,
    ord("1"): Machine.drop_mark,
    ord("2"): Machine.duplicate,
    ord("q"): lambda m: m.put(m.program.number("<B")),
    ord("r"): lambda m: m.put(m.program.number("<I")),
    ord("p"): lambda m: m.put(m.program.index_line()),
    0x94: lambda m: m.put(len(m.memo)),
    ord("h"): lambda m: m.get(m.program.number("<B")),
    ord("j"): lambda m: m.get(m.program.number("<I")),
    ord("g"): lambda m: m.get(m.program.index_line()),
    # globals, calls, state and storages
    ord("c"): lambda m: m.find_global(m.program.name_line(), m.program.name_line()),
    0x93: Machine.stack_global,
    ord("R"): Machine.reduce,
    0x81: Machine.new_object,
    0x92: Machine.new_object_of_keywords,
    ord("o"): Machine.marked_object,
    ord("i"): Machine.named_object,
    ord("b"): Machine.build,
    ord("Q"): Machine.persistent_id,
    # framing (protocol 4)
    0x95: lambda m: m.program.skip_frame(m.program.number("<Q")),
}
