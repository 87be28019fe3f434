"""Reading a pickle without running it.

A pickle is a program for a small stack machine, and `pickle.load` lets that program
call whatever it names. The machine here has only the instructions that build plain
values, and knows four names, those with which NumPy pickles an array; everything
else is refused before anything happens. It looks up no module and calls nothing.
"""

from __future__ import annotations

import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PUSH_ARGUMENT = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_PUSH_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NOTHING_TO_DO = frozenset(("PROTO", "FRAME"))
_PUT = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GET = frozenset(("GET", "BINGET", "LONG_BINGET"))
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(frozen=True)
class _Name:
    """One of the four names; a token, not the function that it stands for."""

    name: str


_NDARRAY, _DTYPE, _RECONSTRUCT, _FROM_BUFFER = map(
    _Name, ("ndarray", "dtype", "_reconstruct", "_frombuffer")
)
_NAMES = {
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _DTYPE,
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,  # NumPy 2
    "numpy.core.numeric _frombuffer": _FROM_BUFFER,  # protocol 5
    "numpy._core.numeric _frombuffer": _FROM_BUFFER,
}


class _DtypeUnderWay:
    """A dtype: its code, then its byte order."""

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(code)


class _ArrayUnderWay:
    """An array: first nothing, then its shape, dtype and bytes."""

    array: NDArray[Any] | None = None


_NOT_PLAIN = (_Name, _DtypeUnderWay, _ArrayUnderWay)


def loads(data: bytes) -> Any:
    """Build what a pickle describes, if it is made of plain values and arrays.

    Parameters
    ----------
    data : bytes
        A pickle of protocol 0 to 5.

    Returns
    -------
    object
        Numbers, bool, None, bytes, str, list, dict, tuple, and arrays of numbers.
        The byte strings of Python 2 come as str, one character per byte.

    Raises
    ------
    ValueError
        If the pickle wants anything else, or is damaged.
    """
    machine = _Machine(len(data))
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop_plain()
            machine.step(opcode.name, argument, position)
    except (IndexError, KeyError, MemoryError, OverflowError, RecursionError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__})") from None
    except ValueError as error:
        raise ValueError(" ".join(str(error).split())) from None  # in one line
    raise ValueError("damaged pickle (it does not end)")


class _Machine:
    """The stack, the marks in it, and the memo."""

    def __init__(self, array_bytes: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        # Every array has its bytes in the pickle, so all of them fit in its length.
        self.array_bytes_left = array_bytes

    def step(self, name: str, argument: Any, position: int | None) -> None:
        """Run one instruction."""
        stack = self.stack
        if name in _PUSH_ARGUMENT:
            stack.append(argument)
        elif name in _PUT:
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _GET:
            value = self.memo[argument]
            built = isinstance(value, _ArrayUnderWay) and value.array is not None
            stack.append(value.array if built else value)
        elif name in _PUSH_CONSTANT:
            stack.append(_PUSH_CONSTANT[name])
        elif name in _NOTHING_TO_DO:
            pass
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name in _SHORT_TUPLES:
            stack.append(self.pop_many(_SHORT_TUPLES[name]))
        elif name == "TUPLE":
            stack.append(self.pop_to_mark())
        elif name == "LIST":
            stack.append([_plain(value) for value in self.pop_to_mark()])
        elif name == "DICT":
            values = self.pop_to_mark()
            stack.append({})
            self.set_items(values)
        elif name == "APPEND":
            self.extend((stack.pop(),))
        elif name == "APPENDS":
            self.extend(self.pop_to_mark())
        elif name == "SETITEM":
            self.set_items(self.pop_many(2))
        elif name == "SETITEMS":
            self.set_items(self.pop_to_mark())
        elif name == "GLOBAL":
            stack.append(_known(argument))
        elif name == "STACK_GLOBAL":
            module, attribute = self.pop_many(2)
            stack.append(_known(f"{module} {attribute}"))
        elif name == "REDUCE":
            function, arguments = self.pop_many(2)
            stack.append(self.call(function, arguments))
        elif name == "BUILD":
            target, state = self.pop_many(2)
            stack.append(self.build(target, state))
        else:
            raise ValueError(
                f"refused: instruction {name} at byte {position} does not build "
                "plain values"
            )

    def pop_many(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise IndexError("stack")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> tuple[Any, ...]:
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise IndexError("mark")
        values = tuple(self.stack[mark:])
        del self.stack[mark:]
        return values

    def pop_plain(self) -> Any:
        return _plain(self.stack.pop())

    def extend(self, values: tuple[Any, ...]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise ValueError(f"refused: appends to a {type(target).__name__}")
        target.extend(_plain(value) for value in values)

    def set_items(self, values: tuple[Any, ...]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError(f"refused: sets items of a {type(target).__name__}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float):
                raise ValueError(f"refused: a {type(key).__name__} as key of a dict")
            target[key] = _plain(value)

    def call(self, function: Any, arguments: Any) -> Any:
        """Make an array from its bytes, or start one that `build` gives them."""
        if function == _FROM_BUFFER:
            match arguments:
                case (raw, _DtypeUnderWay() as kind, tuple() as shape, "C" | "F" as to):
                    return self.array(shape, kind.dtype, to == "F", raw)
        return _begin(function, arguments)

    def build(self, target: Any, state: Any) -> Any:
        """Give a dtype its byte order, or an array its shape, dtype and bytes."""
        if isinstance(target, _DtypeUnderWay):
            match state:
                case (3 | 4, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
                    target.dtype = target.dtype.newbyteorder(order)
                    return target
            raise ValueError(f"refused: dtype with state {_shown(state)}")
        if isinstance(target, _ArrayUnderWay) and target.array is None:
            match state:
                case (1, tuple() as shape, _DtypeUnderWay() as kind, order, raw):
                    target.array = self.array(shape, kind.dtype, order, raw)
                    return target.array
            raise ValueError(f"refused: array with state {_shown(state)}")
        raise ValueError(f"refused: sets the state of {_shown(target)}")

    def array(
        self, shape: tuple[Any, ...], dtype: np.dtype[Any], fortran: Any, raw: Any
    ) -> NDArray[Any]:
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"refused: array of shape {_shown(shape)}")
        if isinstance(raw, str):  # Python 2's str
            raw = raw.encode("latin-1")
        if not isinstance(raw, bytes | bytearray):
            raise ValueError(f"refused: array made from a {type(raw).__name__}")
        if len(shape) > 8 or len(raw) != math.prod(shape) * dtype.itemsize:
            raise ValueError(
                f"refused: array of shape {_shown(shape)} and dtype {dtype} "
                f"made from {len(raw)} bytes"
            )
        self.array_bytes_left -= len(raw)
        if self.array_bytes_left < 0:
            raise ValueError("refused: its arrays are larger than the pickle")
        flat = np.frombuffer(raw, dtype)  # shares the bytes, so it is read-only
        return flat.reshape(shape, order="F" if fortran else "C")


def _known(name: str) -> _Name:
    if name not in _NAMES:
        raise ValueError(f"refused: it names {name.replace(' ', '.')}")
    return _NAMES[name]


def _begin(function: Any, arguments: Any) -> _DtypeUnderWay | _ArrayUnderWay:
    """Start the one array or dtype that NumPy's two functions would make."""
    if function == _RECONSTRUCT:
        match arguments:
            case (first, (0,), "b" | b"b") if first == _NDARRAY:
                return _ArrayUnderWay()
    elif function == _DTYPE:
        match arguments:
            case (str() as code, 0 | 1, 0 | 1) if re.fullmatch("b1|[iuf][1248]", code):
                if code != "f1":
                    return _DtypeUnderWay(code)
    raise ValueError(f"refused: calls {_shown(function)} with {_shown(arguments)}")


def _plain(value: Any) -> Any:
    if isinstance(value, _NOT_PLAIN):
        raise ValueError(f"refused: {_shown(value)} used as a value")
    return value


def _shown(value: Any) -> str:
    """Write a value shortly, and never walk through one that is large."""
    match value:
        case _Name(name=name):
            return name
        case tuple() if len(value) <= 8:
            return f"({', '.join(map(_shown_item, value))})"
        case _:
            return _shown_item(value)


def _shown_item(value: Any) -> str:
    if isinstance(value, _Name):
        return value.name
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 64 else "a large int"
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= 40 else f"a long {type(value).__name__}"
    return f"a {type(value).__name__.strip('_')}"
