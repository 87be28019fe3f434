"""A pickle reader that builds plain values, and runs nothing.

A pickle is a program for a small stack machine, and Python's own machine will call
any function that the program names. This one is written out instead, opcode by
opcode, for protocols 0 to 5 (:mod:`npresnet.untrusted._pickle_machine`), and it is the
only one: weights and data sets are read by it alike. A global is looked up in a table
that the caller gives and nowhere else (:mod:`npresnet.untrusted.pickle_globals`); where
it is not there, whatever is made from it is a `Placeholder`, which names it and does
nothing.

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

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from npresnet.untrusted._pickle_machine import Machine
from npresnet.untrusted.pickle_globals import PLAIN_GLOBALS
from npresnet.untrusted.pickle_values import Globals, Placeholder
from npresnet.untrusted.text import RefusedFile, brief

MAX_DEPTH = 64
MAX_VALUES = 2_000_000

_PLAIN = frozenset(
    (str, bytes, bytearray, int, float, complex, bool, type(None), np.ndarray)
)
_CONTAINERS = frozenset((OrderedDict, Counter, dict, list, tuple, set, frozenset))


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
    machine = Machine(data, start, globals, load_persistent)
    value = machine.run()
    _check_size(value, 0, {})
    return value, machine.program.position


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
    if count > MAX_VALUES:
        raise RefusedFile(f"refused: unfolds to more than {MAX_VALUES} values")
    return count, height
