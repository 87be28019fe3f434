"""What a file from the disk must hold: read with bounds, and checked entry by entry.

A form says what is expected: a dict has the entries of an object, a list with one form
in it stands for any number of those, and a `Kind` for a single value. What does not fit
is told in one line, with the file and the entry.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A file of ours has some kilobytes; the mean of every pixel of large images, megabytes.
_LARGEST = 64 << 20


@dataclass(frozen=True)
class Kind:
    """A kind of value: in words, and as a test that never fails."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Optional:
    """An entry that may be missing, or null."""

    form: Any


@dataclass(frozen=True)
class MapOf:
    """An object with any names, whose values are of one form."""

    form: Any


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf


def whole(least: int = 0) -> Kind:
    """Return the kind of the whole numbers from one on."""
    words = f"a whole number from {least}"
    return Kind(words, lambda value: type(value) is int and value >= least)


def number(least: float = -math.inf, most: float = math.inf) -> Kind:
    """Return the kind of the finite numbers between two."""
    words = "a finite number"
    if least > -math.inf:
        words += f" from {least:g}" + (f" to {most:g}" if most < math.inf else "")
    return Kind(words, lambda value: _is_number(value) and least <= value <= most)


def one_of(*texts: str) -> Kind:
    """Return the kind that is one of some texts."""
    words = f"one of {', '.join(texts)}"
    return Kind(words, lambda value: isinstance(value, str) and value in texts)


TEXT = Kind("a text", lambda value: isinstance(value, str))
NUMBER = number()
NUMBER_OR_NULL = Kind(
    "a finite number, or null", lambda value: value is None or _is_number(value)
)
OBJECT = Kind("an object", lambda value: isinstance(value, dict))


def mismatch(value: Any, form: Any, entry: str = "") -> str | None:
    """Say in words which entry does not fit its form; None where all do.

    Examples
    --------
    >>> form = {"seed": whole(), "classes": [TEXT]}
    >>> mismatch({"seed": 3, "classes": ["cat", 5]}, form)
    "the entry 'classes[1]': expected a text, found 5"
    >>> mismatch({"classes": []}, form)
    "expected the entry 'seed', which is missing"
    """
    if isinstance(form, Kind):
        return None if form.holds(value) else _expected(entry, form.words, value)
    if isinstance(form, Optional):
        return None if value is None else mismatch(value, form.form, entry)
    if isinstance(form, list):
        if not isinstance(value, list):
            return _expected(entry, "a list", value)
        (each,) = form
        parts = [(f"{entry}[{i}]", one, each) for i, one in enumerate(value)]
        return _first(parts)
    if not isinstance(value, dict):
        return _expected(entry, "an object", value)
    if isinstance(form, MapOf):
        named = [(_within(entry, name), one, form.form) for name, one in value.items()]
        return _first(named)
    for name, of in form.items():
        if name not in value and not isinstance(of, Optional):
            return f"expected the entry {_within(entry, name)!r}, which is missing"
    entries = [(_within(entry, name), value.get(name), form[name]) for name in form]
    return _first(entries)


def _first(parts: list[tuple[str, Any, Any]]) -> str | None:
    found = (mismatch(value, form, entry) for entry, value, form in parts)
    return next((text for text in found if text is not None), None)


def _within(entry: str, name: str) -> str:
    return f"{entry}.{name}" if entry else name


def _expected(entry: str, words: str, value: Any) -> str:
    where = f"the entry {reprlib.repr(entry)}: " if entry else ""
    return f"{where}expected {words}, found {reprlib.repr(value)}"


def read_bytes(path: Path) -> bytes:
    """Read a file of moderate size; nothing else is waited for.

    Raises
    ------
    OSError
        If it is not there, or cannot be read.
    ValueError
        If it is no file, or too large.
    """
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path}: expected a file, found something else")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{path}: larger than the {_LARGEST >> 20} MiB that are read")
    return content


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
        If it is not there, or cannot be read.
    ValueError
        If it is not JSON.
    """
    content = read_bytes(path)
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: not readable as JSON (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None
