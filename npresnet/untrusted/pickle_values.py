"""What a pickle may build here: placeholders, arrays, and a few of Python's own types.

A pickle asks for globals by name. Those of `PLAIN_GLOBALS` stand for functions of
this package, which copy and check what the file gives them and trust neither the
number of the arguments nor their types; a reader of some format adds its own. Every
other name becomes a `Placeholder`: nothing is looked up, imported or called, whatever
the file does with it.

======================================  ===========================================
``collections.OrderedDict``             an OrderedDict; attributes such as the
                                        ``_metadata`` of a state_dict are dropped
``collections.Counter``                 a Counter
``collections.defaultdict``             a dict
``builtins.set``, ``frozenset``         the same
``builtins.complex``, ``bytearray``     the same
``_codecs.encode``, ``bytes``           bytes, in protocol 2's spelling
``builtins.getattr``                    a placeholder for the attribute
``copyreg._reconstructor``              a placeholder for the object
``numpy.dtype``, ``_reconstruct``, ...  arrays and scalars of numbers
======================================  ===========================================
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from npresnet.untrusted.text import RefusedFile, brief, shown

CONTAINER_STEPS = 8  # what an empty dict or list costs, in steps of the machine
MAX_DIMENSIONS = 32  # of an array

_LONGEST_NAME = 200  # characters of a type that are kept
_DTYPE_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")


class Machine(Protocol):
    """What a builder needs of the machine that runs the pickle."""

    def spend(self, steps: int) -> None:
        """Count work against the bound on steps."""
        ...

    def allocate(self, count: int) -> None:
        """Count bytes that are built against the bound that the pickle's size sets."""
        ...

    def key(self, value: object) -> Any:
        """Return a value that may be hashed."""
        ...


# In the patterns below a literal stands inside of its type, as in int(1): what a file
# gives is compared only then, and an array in that place would answer with an array.


class Placeholder:
    """Stands for something that a file asks for and that was not built.

    Attributes
    ----------
    type : str
        What the file calls it, such as ``"torch.device"`` or ``"__main__.Net"``.
    """

    __slots__ = ("type",)

    def __init__(self, type: str) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"<{self.type}, not built>"

    def _call(self, machine: Machine, args: tuple[Any, ...]) -> Any:
        """Return what stands for a call of this, or for an instance of it."""
        return Placeholder(self.type)

    def _set_state(self, machine: Machine, state: Any) -> Any:
        """Return what stands for this with a state; a placeholder forgets it."""
        return self


Builder = Callable[[Machine, tuple[Any, ...]], Any]


class Global(Placeholder):
    """A global that builds something when it is called; as a value, a placeholder."""

    __slots__ = ("build",)

    def __init__(self, type: str, build: Builder) -> None:
        super().__init__(type)
        self.build = build

    def _call(self, machine: Machine, args: tuple[Any, ...]) -> Any:
        return self.build(machine, args)


Globals = Mapping[tuple[str, str], Global]


def named(module: str, name: str) -> Placeholder:
    """Return the placeholder of a global, whose name may be of any length."""
    return Placeholder(shown(f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}", 200))


# --- containers and plain values ----------------------------------------------------


def _ordered_dict(machine: Machine, args: tuple[Any, ...]) -> Any:
    # () or, from Python 2, ([[key, value], ...],)
    machine.spend(CONTAINER_STEPS)
    ordered: OrderedDict[Any, Any] = OrderedDict()
    if not args:
        return ordered
    if len(args) != 1 or type(args[0]) is not list:
        raise RefusedFile("refused: an OrderedDict that is not made of pairs")
    machine.spend(len(args[0]))
    for pair in args[0]:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise RefusedFile("refused: an OrderedDict that is not made of pairs")
        ordered[machine.key(pair[0])] = pair[1]
    return ordered


def _counter(machine: Machine, args: tuple[Any, ...]) -> Any:
    # ({element: count},)
    machine.spend(CONTAINER_STEPS)
    counter: Counter[Any] = Counter()
    if not args:
        return counter
    if len(args) != 1 or type(args[0]) is not dict:
        raise RefusedFile("refused: a Counter that is not made of a dict")
    machine.spend(len(args[0]))
    dict.update(counter, args[0])  # not Counter's own, which adds up
    return counter


def _default_dict(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (default factory,); its items follow
    machine.spend(CONTAINER_STEPS)
    return {}


def _set_of(kind: type) -> Builder:
    def build(machine: Machine, args: tuple[Any, ...]) -> Any:
        # () or ([item, ...],)
        machine.spend(2 * CONTAINER_STEPS)
        if args and (len(args) > 1 or type(args[0]) not in (list, tuple)):
            raise RefusedFile(f"refused: a {kind.__name__} that is not made of a list")
        items: Iterable[Any] = args[0] if args else ()
        return kind([machine.key(item) for item in items])

    return build


def _complex(machine: Machine, args: tuple[Any, ...]) -> Any:
    if [type(part) for part in args] != [float, float]:
        raise RefusedFile("refused: a complex number that is not made of two floats")
    return complex(*args)


def _bytes(machine: Machine, args: tuple[Any, ...]) -> Any:
    # bytes() or _codecs.encode(text, "latin1")
    if not args:
        return b""
    if [type(arg) for arg in args] != [str, str] or args[1] not in (
        "latin1",
        "latin-1",
    ):
        raise RefusedFile("refused: bytes that are not encoded as latin1")
    machine.spend(len(args[0]) // 64)
    machine.allocate(len(args[0]))
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError:
        raise RefusedFile("broken: bytes with a value above 255") from None


def _bytearray(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (), (bytes,) or (text, "latin-1")
    if len(args) == 1 and type(args[0]) is bytes:
        machine.allocate(len(args[0]))
        return bytearray(args[0])
    return bytearray(_bytes(machine, args))


def _attribute(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (object, name): how a method is pickled
    if len(args) == 2 and isinstance(args[0], Placeholder) and type(args[1]) is str:
        return named(args[0].type, args[1])
    return Placeholder("builtins.getattr")


def _reconstructed(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (class, base, state): an object of a class, in protocols 0 and 1
    known = bool(args) and isinstance(args[0], Placeholder)
    return Placeholder(args[0].type if known else "copyreg._reconstructor")


# --- NumPy: arrays and scalars of numbers -------------------------------------------


class _Dtype(Placeholder):
    """A dtype: its code, then its byte order."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]) -> None:
        super().__init__("numpy.dtype")
        self.dtype = dtype

    def _set_state(self, machine: Machine, state: Any) -> Any:
        match state:
            case (
                int(3 | 4),
                str("<" | ">" | "|" as order),
                None,
                None,
                None,
                int(-1),
                int(-1),
                int(0),
            ):
                self.dtype = self.dtype.newbyteorder(order)
                return self
        return Placeholder("numpy.dtype")


class UnfinishedArray(Placeholder):
    """An array: first nothing, then its shape, dtype and bytes.

    Attributes
    ----------
    array : ndarray or None
        What it became. The machine's memo may still hold the unfinished one.
    """

    __slots__ = ("array",)

    def __init__(self) -> None:
        super().__init__("numpy.ndarray")
        self.array: NDArray[Any] | None = None

    def _set_state(self, machine: Machine, state: Any) -> Any:
        match state:
            case (int(1), tuple() as shape, _Dtype() as kind, int() as order, raw):
                self.array = _array(machine, shape, kind.dtype, bool(order), raw)
                return self.array
            case (int(1), tuple(), Placeholder(), _, _):
                return Placeholder("numpy.ndarray (not of numbers)")
        raise RefusedFile(f"refused: an array with the state {brief(state)}")


def _dtype(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (code, align, copy)
    match args:
        case (str() as code, int(0 | 1), int(0 | 1)) if _DTYPE_CODE.fullmatch(code):
            return _Dtype(np.dtype(code))
    return Placeholder("numpy.dtype")  # objects, texts, dates, records


def _unfinished_array(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (numpy.ndarray, (0,), b"b"): an empty array, whose state follows
    machine.spend(16)
    match args:
        case (Placeholder(type="numpy.ndarray"), (int(0),), str("b") | bytes(b"b")):
            return UnfinishedArray()
        case (Placeholder() as kind, *_):  # a matrix, a masked array
            return Placeholder(kind.type)
    return Placeholder("numpy.ndarray")


def _array_from_buffer(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (bytes, dtype, shape, order): protocol 5
    machine.spend(16)
    match args:
        case (raw, _Dtype() as kind, tuple() as shape, str("C" | "F" as order)):
            return _array(machine, shape, kind.dtype, order == "F", raw)
    return Placeholder("numpy.ndarray")


def _array(
    machine: Machine,
    shape: tuple[Any, ...],
    dtype: np.dtype[Any],
    fortran_order: bool,
    raw: Any,
) -> NDArray[Any]:
    """Return a fresh array, C-contiguous and in native byte order."""
    if type(raw) is str:  # bytes of Python 2 that happened to be UTF-8
        raw = raw.encode("utf-8", "surrogatepass")
    if type(raw) not in (bytes, bytearray):
        raise RefusedFile(f"refused: an array made from {brief(raw)}")
    counts = all(type(n) is int and n >= 0 for n in shape)
    if (
        len(shape) > MAX_DIMENSIONS
        or not counts
        or math.prod(shape) * dtype.itemsize != len(raw)
    ):
        raise RefusedFile(
            f"broken: an array of shape {brief(shape)} and type {dtype} made from "
            f"{len(raw)} bytes"
        )
    machine.allocate(len(raw))
    flat = np.frombuffer(raw, dtype)
    try:
        given = flat.reshape(shape, order="F" if fortran_order else "C")
    except ValueError:  # empty, but with sides that NumPy cannot count
        raise RefusedFile(f"broken: an array of shape {brief(shape)}") from None
    return np.array(given, dtype.newbyteorder("="), order="C")


def _scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (dtype, bytes)
    match args:
        case (_Dtype() as kind, bytes() | str() as raw):
            return _array(machine, (), kind.dtype, False, raw)[()]
    return Placeholder("numpy.generic")


def _table() -> dict[tuple[str, str], Global]:
    builders: dict[tuple[str, str], Builder] = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("collections", "Counter"): _counter,
        ("collections", "defaultdict"): _default_dict,
        ("_codecs", "encode"): _bytes,
        ("numpy", "dtype"): _dtype,
    }
    for module in ("builtins", "__builtin__"):  # of Python 3, of Python 2
        builders |= {
            (module, "set"): _set_of(set),
            (module, "frozenset"): _set_of(frozenset),
            (module, "complex"): _complex,
            (module, "bytes"): _bytes,
            (module, "bytearray"): _bytearray,
            (module, "getattr"): _attribute,
        }
    for module in ("copyreg", "copy_reg"):
        builders[module, "_reconstructor"] = _reconstructed
    for core in ("numpy.core", "numpy._core"):  # before NumPy 2, since
        builders |= {
            (f"{core}.multiarray", "_reconstruct"): _unfinished_array,
            (f"{core}.multiarray", "scalar"): _scalar,
            (f"{core}.numeric", "_frombuffer"): _array_from_buffer,
        }
    return {key: Global(".".join(key), build) for key, build in builders.items()}


PLAIN_GLOBALS: Globals = _table()
