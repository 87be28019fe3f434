"""Text that somebody else wrote, on its way to a terminal, a message or a page.

A name in a file may be ten megabytes long, or hold the bytes that move a terminal's
cursor, change its title or turn the direction of writing around. Everything that
prints such a text, or raises with it, calls `shown` or `brief`.
"""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

SHOWN = 80  # characters of a text, unless told otherwise
_LONG = 2000  # of a message that was put together from several texts


class RefusedFile(ValueError):
    """A file that is broken or asks for too much, told in one line without its name."""


def shown(text: object, limit: int = SHOWN) -> str:
    r"""Return a text as it may be shown: printable, on one line, not too long.

    Parameters
    ----------
    text : object
        The text, or what ``str`` makes one of.
    limit : int
        How many of its characters are shown; a longer one ends in ``...``.

    Returns
    -------
    str
        Letters of all scripts stay; control characters, ends of lines, what turns
        the direction of writing, and lone surrogates become escapes like ``\x1b``.

    Examples
    --------
    >>> print(shown("conv1\x1b[2J"), shown("été"), shown("a" * 100, 8))
    conv1\x1b[2J été aaaaaaaa...
    """
    whole = text if type(text) is str else str(text)
    escaped = "".join(
        c if c.isprintable() else ascii(c)[1:-1] for c in whole[: limit + 1]
    )
    return escaped if len(escaped) <= limit else f"{escaped[:limit]}..."


def shown_message(message: object) -> str:
    """Return a message as one line, with the texts of others in it made harmless."""
    return shown(" ".join(str(message)[: 2 * _LONG].split()), _LONG)


def shown_lines(text: object) -> str:
    """Return what is to be printed with the texts of others in it made harmless.

    Its lines stay lines, as tables need them.
    """
    return "\n".join(shown(line, _LONG) for line in str(text).split("\n"))


def brief(value: object) -> str:
    r"""Describe a value from a file in a few words; never walk through a large one.

    Examples
    --------
    >>> print(brief("a\n"), brief((2, 3)), brief(1 << 200), brief({}), sep="; ")
    'a\n'; (2, 3); an integer of 201 bits; a value of type dict
    """
    if type(value) is int and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if type(value) in (int, bool, float, type(None)):
        return repr(value)
    if type(value) is str:
        return f"'{shown(value)}'"
    if type(value) is bytes:
        return repr(value[:SHOWN]) + ("..." if len(value) > SHOWN else "")
    if type(value) is tuple:
        items = ", ".join(brief(v) if type(v) is int else "?" for v in value[:8])
        return f"({items}{', ...' if len(value) > 8 else ''})"
    if type(value) is np.ndarray:
        return "an array"
    return f"a value of type {shown(type(value).__name__)}"


def abridged(value: object) -> str:
    """Write a value that JSON or a person gave as Python does, but not at length.

    Examples
    --------
    >>> abridged({"name": "resnet20", "classes": list(range(100))})
    "{'classes': [0, 1, 2, 3, 4, 5, ...], 'name': 'resnet20'}"
    """
    return shown(reprlib.repr(value), 200)


def shown_throughout(value: Any, limit: int = SHOWN) -> Any:
    """Return what JSON was read to, with every text and key in it as `shown`.

    Its nesting has to be bounded, as `npresnet.untrusted.json_text` bounds it.
    """
    if isinstance(value, str):
        return shown(value, limit)
    if isinstance(value, dict):
        return {
            shown(key, limit): shown_throughout(entry, limit)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [shown_throughout(entry, limit) for entry in value]
    return value
