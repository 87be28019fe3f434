"""Text on consoles that have no letters for all of it: escaped, never an error.

A file's name may hold any character, and on some systems bytes that are no text at
all; a console has the letters of its encoding.
"""

from __future__ import annotations

import codecs
import io
import sys
from typing import IO

_HOW = "npresnet.console"


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write bytes of a file's name as they are, and other characters by number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.backslashreplace_errors(error)


codecs.register_error(_HOW, _escape)


def let_consoles_escape() -> None:
    """Let standard output and error escape what they cannot write."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in (
            "strict",
            "surrogateescape",
        ):
            stream.reconfigure(errors=_HOW)


def writable(text: str, stream: IO[str] | None) -> str:
    """Return a text with what a stream (None: standard output) cannot write escaped."""
    stream = sys.stdout if stream is None else stream
    encoding = getattr(stream, "encoding", None) or "utf-8"
    if getattr(stream, "errors", None) not in ("strict", "surrogateescape", None):
        return text  # it knows what to do
    return text.encode(encoding, "backslashreplace").decode(encoding)
