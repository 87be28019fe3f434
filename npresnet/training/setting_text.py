"""Settings of a recipe as a person writes them, on a command line or in a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from npresnet.training.recipe import LABELS, Recipe


def read_setting(text: str) -> tuple[str, Any]:
    """Read a setting as a person writes it: ``lr=0.1`` or ``milestones=60,120``.

    Raises
    ------
    ValueError
        If there is no such setting, or the value is not of its kind.

    Examples
    --------
    >>> read_setting("flip=yes"), read_setting("milestone_steps=32000,48000")
    (('flip', True), ('milestone_steps', (32000, 48000)))
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    kinds = {e.name: str(e.type) for e in fields(Recipe) if e.name not in LABELS}
    if not equals or name not in kinds:
        raise ValueError(
            f"expected SETTING=VALUE with one of {', '.join(kinds)}; got {text!r}"
        )
    wanted, read = _READERS[kinds[name].removesuffix(" | None")]
    try:
        return name, read(value)
    except (ValueError, KeyError):
        raise ValueError(f"{name}: expected {wanted}, got {value!r}") from None


def describe_value(value: object) -> str:
    """Write a setting's value so that `read_setting` understands it.

    Examples
    --------
    >>> [describe_value(value) for value in (True, (60.0, 120.5), 0.0, 5e-4, None)]
    ['yes', '60,120.5', '0', '0.0005', '-']
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(describe_value, value))
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return "-" if value is None else str(value)


_TRUTHS = {
    "yes": True,
    "true": True,
    "1": True,
    "no": False,
    "false": False,
    "0": False,
}
_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": ("a word", str),
    "int": ("a whole number", int),
    "float": ("a number", float),
    "bool": ("yes or no", lambda text: _TRUTHS[text.lower()]),
    "tuple[int, ...]": (
        "whole numbers and commas",
        lambda text: tuple(int(part) for part in text.split(",")),
    ),
    "tuple[float, ...]": (
        "numbers and commas",
        lambda text: tuple(float(part) for part in text.split(",")),
    ),
}
