"""A pickle reader that builds plain values, and runs nothing.

A pickle is a program for a small stack machine, and Python's own machine will call
any function that the program names. This one is written out instead, opcode by
opcode, for protocols 0 to 5. A global is looked up in a table that the caller gives
and nowhere else (:mod:`npresnet.untrusted.pickle_values`); where it is not there,
whatever is made from it is a `Placeholder`, which names it and does nothing.

Nothing would happen either if a file named ``os.system``. Still, no file that
somebody saved in good faith does, so such a file is refused and says why.

A hostile file can also try to exhaust memory, time or the C stack. So: a pickle takes
at most 2,000,000 steps (what costs memory counts as several; a ResNet-1202 with the
state of AdamW takes about 1,400,000), remembers 1,000,000 values, and builds at most
twice as many bytes as it has; integers have at most 64 bytes; the result is nested at
most 64 deep and has at most 2,000,000 values when those that are referred to many times
are counted as often (the "billion laughs"). Keys of dicts and items of sets are texts,
bytes, small integers, True, False, None and placeholders, whose hashes hardly collide;
other numbers and tuples of all these cost ever more steps, as if all of them collided.
How long the pickle itself may be is for the caller to say.

References
----------
CPython, ``Lib/pickletools.py`` (the opcodes); PyTorch, ``torch/serialization.py``
and ``torch/_weights_only_unpickler.py`` (the same idea over there).
"""

from __future__ import annotations

import codecs
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from npresnet.untrusted.pickle_values import (
    CONTAINER_STEPS,
    PLAIN_GLOBALS,
    Globals,
    Placeholder,
    UnfinishedArray,
    named,
)
from npresnet.untrusted.text import RefusedFile, brief

MAX_STEPS = 2_000_000
MAX_MEMO = 1_000_000  # an entry takes some 80 bytes
MAX_DEPTH = 64
MAX_INTEGER_BYTES = 64
MAX_KEY_DEPTH = 8

_MAX_NUMBER_LINE = 200  # characters of a number that is written out
_MAX_NAME_LINE = 256
_NO_PROGRAM = "only values are read from a file, and nothing in it is run"

_PLAIN = frozenset(
    (str, bytes, bytearray, int, float, complex, bool, type(None), np.ndarray)
)
_SURE_KEYS = frozenset((str, bytes, bool, type(None)))  # hashes cannot be chosen
_OTHER_KEYS = frozenset((int, float, complex))
_CONTAINERS = frozenset((OrderedDict, Counter, dict, list, tuple, set, frozenset))

# What programs hide in a pickle calls. This list protects nobody, since nothing is
# called; it tells people what they have got.
_MODULES_THAT_ACT = frozenset(
    "os posix nt sys subprocess pty socket shutil runpy importlib ctypes webbrowser "
    "pickle _pickle".split()
)
_BUILTINS_THAT_ACT = frozenset(
    "eval exec execfile compile open file __import__ input breakpoint apply".split()
)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def read_pickle(
    data: bytes,
    start: int = 0,
    *,
    globals: Globals = PLAIN_GLOBALS,
    load_persistent: Callable[[object], Any] | None = None,
) -> tuple[Any, int]:
    """Run the pickle that begins at `data[start]`.

    Parameters
    ----------
    data : bytes
        The pickle, possibly with other things before and behind it.
    start : int
        Where it begins.
    globals : mapping of (str, str) to Global
        What module and name stand for; all others become placeholders.
    load_persistent : callable, optional
        Returns what a persistent id stands for; None where there can be none.

    Returns
    -------
    value : object
        OrderedDict, Counter, dict, list, tuple, set, frozenset, str, bytes,
        bytearray, int, float, complex, bool, None, arrays and scalars of NumPy, and
        `Placeholder`. The str of Python 2 is a str where it is UTF-8, else bytes.
    end : int
        The position behind the pickle.

    Raises
    ------
    RefusedFile
        If the pickle is broken, goes beyond the bounds or names a function that acts.
    """
    machine = _Machine(data, start, globals, load_persistent)
    value = machine.run()
    _check_size(value, 0, {})
    return value, machine.position


def _check_size(
    value: object, depth: int, seen: dict[int, tuple[int, int]]
) -> tuple[int, int]:
    """Return how many values `value` unfolds to and how deep they nest."""
    kind = type(value)
    if kind not in _CONTAINERS:
        if kind in _PLAIN or isinstance(value, Placeholder | np.generic):
            return 1, 0
        raise RefusedFile(f"broken: its pickle leaves {brief(value)}")
    count, height = seen.get(id(value), (1, 0))
    if not height:
        if depth >= MAX_DEPTH:  # also ends a list that contains itself
            raise RefusedFile(f"refused: values nested more than {MAX_DEPTH} deep")
        inner: Any = value.values() if isinstance(value, dict) else value
        height = 1
        for item in inner:
            items, below = _check_size(item, depth + 1, seen)
            count, height = count + items, max(height, below + 1)
        seen[id(value)] = count, height
    if depth + height > MAX_DEPTH:
        raise RefusedFile(f"refused: values nested more than {MAX_DEPTH} deep")
    if count > MAX_STEPS:
        raise RefusedFile(f"refused: unfolds to more than {MAX_STEPS} values")
    return count, height


class _Machine:
    """The stack machine: one method per group of opcodes, in `_OPCODES` below."""

    def __init__(
        self,
        data: bytes,
        start: int,
        globals: Globals,
        load_persistent: Callable[[object], Any] | None,
    ) -> None:
        self.data = data
        self.position = start
        self.globals = globals
        self.load_persistent = load_persistent
        self.steps = 0
        self.bytes_left = 2 * (len(data) - start)
        self.chosen_keys = 0  # whose hashes the file could choose
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        while (opcode := self.take(1)[0]) != ord("."):
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
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise RefusedFile(f"refused: its pickle takes more than {MAX_STEPS} steps")

    def allocate(self, count: int) -> None:
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise RefusedFile("refused: its arrays are larger than its pickle")

    # Reading the program.

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

    def line(self, limit: int | None = None) -> bytes:
        """Return what stands before the next end of a line."""
        furthest = len(self.data) if limit is None else self.position + limit
        end = self.data.find(b"\n", self.position, furthest)
        if end < 0:
            raise RefusedFile("truncated, or broken: a line in its pickle has no end")
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    def name_line(self) -> str:
        try:
            return self.line(_MAX_NAME_LINE).decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedFile("broken: a name in its pickle is not UTF-8") from None

    def number_line(self, read: Callable[[str], Any]) -> Any:
        line = self.line(_MAX_NUMBER_LINE).decode("latin-1").removesuffix("L")
        try:
            return read(line)
        except ValueError:
            raise RefusedFile(f"broken: {brief(line)} is not a number") from None

    def index_line(self) -> int:
        return int(self.number_line(int))

    def skip_frame(self, count: int) -> None:
        if count > len(self.data) - self.position:
            raise RefusedFile("truncated, or broken: a frame of its pickle has no end")

    def check_protocol(self) -> None:
        protocol = self.number("<B")
        if protocol > 5:
            raise RefusedFile(f"refused: a pickle of protocol {protocol}, not 0 to 5")

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

    # Plain values.

    def integer(self, count: int) -> None:
        if count > MAX_INTEGER_BYTES:
            raise RefusedFile(f"refused: an integer of {count} bytes")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def push_bytes(self, count: int) -> None:
        self.push(self.take(count))

    def push_python2_str(self, raw: bytes) -> None:
        """Push text where it is text: Python 2 had one type for text and bytes."""
        try:
            self.push(raw.decode("utf-8"))
        except UnicodeDecodeError:
            self.push(raw)

    def quoted_line(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise RefusedFile(f"broken: {brief(line)} is not a quoted text")
        self.push_python2_str(_unescaped(line[1:-1]))

    def unicode_line(self) -> None:
        try:
            self.push(codecs.raw_unicode_escape_decode(self.line())[0])
        except UnicodeDecodeError:
            raise RefusedFile("broken: a text in its pickle is not Unicode") from None

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
        self.find_global(self.name_line(), self.name_line())
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


def _unescaped(line: bytes) -> bytes:
    """Undo the escapes of Python 2's repr of a str."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code == b"x":
            raise RefusedFile(f"broken: an escape in {brief(line)} has no end")
        if code[:1] == b"x":
            return bytes([int(code[1:], 16)])
        return _ESCAPES.get(code, code)

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", plain, line, flags=re.DOTALL)


def _integer_or_truth(line: str) -> int:
    return line == "01" if line in ("00", "01") else int(line)


def _name(opcode: int) -> str:
    import pickletools

    known = {ord(o.code): o.name for o in pickletools.opcodes}
    return known.get(opcode, f"0x{opcode:02x}")


_OPCODES: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine.check_protocol,
    # numbers, texts and constants
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("I"): lambda m: m.push(m.number_line(_integer_or_truth)),
    ord("L"): lambda m: m.push(m.number_line(int)),
    ord("F"): lambda m: m.push(m.number_line(float)),
    0x8A: lambda m: m.integer(m.number("<B")),
    0x8B: lambda m: m.integer(m.number("<I")),
    ord("X"): lambda m: m.push(m.text(m.number("<I"))),
    0x8C: lambda m: m.push(m.text(m.number("<B"))),
    0x8D: lambda m: m.push(m.text(m.number("<Q"))),
    ord("V"): _Machine.unicode_line,
    ord("S"): _Machine.quoted_line,
    ord("T"): lambda m: m.push_python2_str(m.take(m.number("<I"))),
    ord("U"): lambda m: m.push_python2_str(m.take(m.number("<B"))),
    ord("B"): lambda m: m.push_bytes(m.number("<I")),
    ord("C"): lambda m: m.push_bytes(m.number("<B")),
    0x8E: lambda m: m.push_bytes(m.number("<Q")),
    0x96: lambda m: m.push(bytearray(m.take(m.number("<Q")))),
    # containers
    ord("("): _Machine.mark,
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
    ord("d"): _Machine.push_dict,
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.set_items(m.pop_mark()),
    0x8F: lambda m: m.push_set([], set),
    0x90: lambda m: m.add(m.pop_mark()),
    0x91: lambda m: m.push_set(m.pop_mark(), frozenset),
    # the stack and the memo
    ord("0"): _Machine.drop,
    ord("1"): _Machine.drop_mark,
    ord("2"): _Machine.duplicate,
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    ord("p"): lambda m: m.put(m.index_line()),
    0x94: lambda m: m.put(len(m.memo)),
    ord("h"): lambda m: m.get(m.number("<B")),
    ord("j"): lambda m: m.get(m.number("<I")),
    ord("g"): lambda m: m.get(m.index_line()),
    # globals, calls, state and storages
    ord("c"): lambda m: m.find_global(m.name_line(), m.name_line()),
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    0x81: _Machine.new_object,
    0x92: _Machine.new_object_of_keywords,
    ord("o"): _Machine.marked_object,
    ord("i"): _Machine.named_object,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.persistent_id,
    # framing (protocol 4): a hint for readers of streams
    0x95: lambda m: m.skip_frame(m.number("<Q")),
}
