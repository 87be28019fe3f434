"""The globals that every pickle may ask for: arrays, and a few of Python's own types.

A reader of some format adds its own to these.

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

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

from npresnet.untrusted._pickle_arrays import (
    array_from_buffer,
    dtype,
    scalar,
    unfinished_array,
)
from npresnet.untrusted.pickle_values import (
    CONTAINER_STEPS,
    Builder,
    Global,
    Globals,
    Machine,
    Placeholder,
    named,
)
from npresnet.untrusted.text import RefusedFile


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


def _table() -> dict[tuple[str, str], Global]:
    builders: dict[tuple[str, str], Builder] = {
        ("collections", "OrderedDict"): _ordered_dict,
        ("collections", "Counter"): _counter,
        ("collections", "defaultdict"): _default_dict,
        ("_codecs", "encode"): _bytes,
        ("numpy", "dtype"): dtype,
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
            (f"{core}.multiarray", "_reconstruct"): unfinished_array,
            (f"{core}.multiarray", "scalar"): scalar,
            (f"{core}.numeric", "_frombuffer"): array_from_buffer,
        }
    return {key: Global(".".join(key), build) for key, build in builders.items()}


PLAIN_GLOBALS: Globals = _table()
