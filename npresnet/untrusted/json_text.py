"""JSON whose size, nesting and number of values are bounded before it is read.

Python's reader has no bounds of its own: a megabyte of brackets exhausts its stack,
and a hundred megabytes of small objects become two gigabytes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from npresnet.untrusted.files import Path, read_bytes, shown_path
from npresnet.untrusted.text import shown

MAX_BYTES = 8 << 20
MAX_VALUES = 400_000
MAX_DEPTH = 32

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+', re.DOTALL)
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[]{},"))


def parse(text: str | bytes, max_bytes: int = MAX_BYTES) -> Any:
    """Read a text as JSON.

    Raises
    ------
    ValueError
        If it is none, has numbers that JSON has not (NaN, Infinity), or is larger,
        deeper or of more values than anything here needs. The message is one line.

    Examples
    --------
    >>> parse('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        if len(raw) > max_bytes:
            raise ValueError(
                f"it has {len(raw):,} bytes, expected no more than {max_bytes:,}"
            )
        _check_structure(raw)
        # Not the bytes: their encoding would be guessed. UTF-8 may begin with a mark.
        decoded = text if isinstance(text, str) else raw.decode().removeprefix("\ufeff")
        return json.loads(decoded, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("not readable as JSON (it is not UTF-8)") from None
    except ValueError as error:  # or an integer of thousands of digits
        raise ValueError(f"not readable as JSON ({error})") from None


def read(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """Read a file as JSON.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As for `parse`, and if it is not a file; the message begins with the path.
    """
    content = read_bytes(path, max_bytes)
    try:
        return parse(content, max_bytes)
    except ValueError as error:
        raise ValueError(f"{shown_path(path)}: {error}") from None


def _check_structure(raw: bytes) -> None:
    """Count brackets and commas outside of strings, in one pass without a stack."""
    too_many = ValueError(f"more than {MAX_VALUES:,} values")
    if raw.count(b'"') > 2 * MAX_VALUES:
        raise too_many
    structure = _STRING.sub(b"", raw).translate(None, _NO_STRUCTURE)
    opening = structure.count(b"[") + structure.count(b"{")
    if len(structure) > 2 * MAX_VALUES or opening > MAX_VALUES:
        raise too_many
    depth = 0
    for byte in structure:
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested more than {MAX_DEPTH} deep")
        elif byte in b"]}":
            depth -= 1


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it has no {shown(name)}")
