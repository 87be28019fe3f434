"""What people pass to constructors, looked at where it comes in.

Each check returns the value in the form that the package works with, or raises in one
line: what the argument is called, what was expected, what came. TypeError where the
value is of another kind, ValueError where it is out of range.
"""

from __future__ import annotations

import math
import numbers
import operator
import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npresnet.untrusted import text as untrusted_text

_REPR = reprlib.Repr()
_REPR.maxother = _REPR.maxstring = 60


def shown(value: object) -> str:
    """Write a value for an error message: one short line, whatever it is."""
    if isinstance(value, type):
        return value.__name__
    try:
        text = _REPR.repr(value)
    except Exception:  # of somebody else's __repr__
        text = f"a {type(value).__name__}"
    return untrusted_text.shown(" ".join(text.split()), 200)


def whole(name: str, value: Any, least: int | None = None) -> int:
    """Insist on an int, or a NumPy integer, of at least `least` if that is given."""
    bound = "" if least is None else f" of at least {least}"
    wanted = f"{name} must be an int{bound}, got {shown(value)}"
    if isinstance(value, bool):
        raise TypeError(wanted)
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(wanted) from None
    if least is not None and number < least:
        raise ValueError(wanted)
    return number


def wholes(name: str, values: Any, count: int | None = None) -> tuple[int, ...]:
    """Insist on a tuple or list of ints of at least 1, `count` of them if given."""
    many = "" if count is None else f"{count} "
    complaint = f"{name} must be {many}ints of at least 1, got {shown(values)}"
    if not isinstance(values, tuple | list):
        raise TypeError(complaint)
    if not values or len(values) != (count or len(values)):
        raise ValueError(complaint)
    return tuple([whole(name, value, 1) for value in values])


def number(name: str, value: Any, wanted: str, holds: Callable[[float], bool]) -> float:
    """Insist on a finite real number for which `holds` is true, put as `wanted`."""
    complaint = f"{name} must be {wanted}, got {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(complaint)
    found = float(value)
    if not (math.isfinite(found) and holds(found)):
        raise ValueError(complaint)
    return found


def positive(name: str, value: Any) -> float:
    """Insist on a finite number above 0."""
    return number(name, value, "a finite number above 0", lambda x: x > 0)


def not_negative(name: str, value: Any) -> float:
    """Insist on a finite number of at least 0."""
    return number(name, value, "a finite number of at least 0", lambda x: x >= 0)


def share(name: str, value: Any) -> float:
    """Insist on a number from 0 to 1, both included."""
    return number(name, value, "a number in [0, 1]", lambda x: 0 <= x <= 1)


def truth(name: str, value: Any) -> bool:
    """Insist on True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def one_of(name: str, value: Any, *choices: str | None) -> Any:
    """Insist on one of some words."""
    words = ", ".join(map(repr, choices[:-1])) + f" or {choices[-1]!r}"
    complaint = f"{name} must be {words}, got {shown(value)}"
    if not (value is None or isinstance(value, str)):
        raise TypeError(complaint)
    if value not in choices:
        raise ValueError(complaint)
    return value


def floating(name: str, value: DTypeLike) -> np.dtype[Any]:
    """Insist on float32 or float64."""
    complaint = f"{name} must be float32 or float64, got {shown(value)}"
    if value is None:  # which NumPy takes for float64, and PyTorch for float32
        raise TypeError(complaint)
    try:
        kind = np.dtype(value)
    except (TypeError, ValueError):
        raise TypeError(complaint) from None
    if kind not in (np.float32, np.float64):
        raise TypeError(complaint)
    return kind


def instance(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    """Insist on an object of a class, put as `wanted`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}")
    return value
