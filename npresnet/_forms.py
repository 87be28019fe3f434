"""What a file from the disk must hold, checked entry by entry.

A form says what is expected: a dict has the entries of an object, a list with one form
in it stands for any number of those, and a `Kind` for a single value. What does not fit
is told in one line, with the file and the entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npresnet.untrusted.text import abridged, brief


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
            return f"expected the entry {brief(_within(entry, name))}, which is missing"
    entries = [(_within(entry, name), value.get(name), form[name]) for name in form]
    return _first(entries)


def _first(parts: list[tuple[str, Any, Any]]) -> str | None:
    found = (mismatch(value, form, entry) for entry, value, form in parts)
    return next((text for text in found if text is not None), None)


def _within(entry: str, name: str) -> str:
    return f"{entry}.{name}" if entry else name


def _expected(entry: str, words: str, value: Any) -> str:
    where = f"the entry {brief(entry)}: " if entry else ""
    return f"{where}expected {words}, found {abridged(value)}"
