"""The text of a pickle: opcodes, and the numbers, texts and lines that follow them.

The standard library's `pickletools.genops` reads them, too, but not the strings of
Python 2 beyond ASCII, and it reads an integer of any length before anybody can refuse.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable
from typing import Any

from npresnet.untrusted.text import RefusedFile, brief

MAX_INTEGER_BYTES = 64

_MAX_NUMBER_LINE = 200  # characters of a number that is written out
_MAX_NAME_LINE = 256
_MAX_PROTOCOL = 5
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


class Program:
    """A pickle as it is read, from `position` on.

    Parameters
    ----------
    data : bytes
        The pickle, possibly with other things before and behind it.
    position : int
        Where it begins.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def opcode(self) -> int:
        """Return the next opcode."""
        return self.take(1)[0]

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        end = self.position + count
        if end > len(self.data):
            raise RefusedFile(
                "truncated, or broken: its pickle does not end within "
                f"{len(self.data)} bytes"
            )
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def number(self, layout: str) -> Any:
        """Return a number that `struct` lays out so."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, count: int) -> str:
        """Return a text of so many bytes."""
        try:
            return self.take(count).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedFile("broken: a text in its pickle is not UTF-8") from None

    def line(self, limit: int | None = None) -> bytes:
        """Return what stands before the next end of a line."""
        furthest = len(self.data) if limit is None else self.position + limit
        end = self.data.find(b"\n", self.position, furthest)
        if end < 0:
            raise RefusedFile("truncated, or broken: a line in its pickle has no end")
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    def name_line(self) -> str:
        """Return a line that names a module, or something in it."""
        try:
            return self.line(_MAX_NAME_LINE).decode("utf-8")
        except UnicodeDecodeError:
            raise RefusedFile("broken: a name in its pickle is not UTF-8") from None

    def number_line(self, read: Callable[[str], Any]) -> Any:
        """Return a number that is written out, as `read` reads it."""
        line = self.line(_MAX_NUMBER_LINE).decode("latin-1").removesuffix("L")
        try:
            return read(line)
        except ValueError:
            raise RefusedFile(f"broken: {brief(line)} is not a number") from None

    def index_line(self) -> int:
        """Return a key of the memo that is written out."""
        return int(self.number_line(int))

    def truth_or_integer_line(self) -> int:
        """Return a number, or the True or False of protocol 1."""
        value: int = self.number_line(_truth_or_integer)
        return value

    def integer(self, count: int) -> int:
        """Return a signed integer of so many bytes."""
        if count > MAX_INTEGER_BYTES:
            raise RefusedFile(f"refused: an integer of {count} bytes")
        return int.from_bytes(self.take(count), "little", signed=True)

    def quoted_line(self) -> str | bytes:
        """Return a str of Python 2 that is written as its repr."""
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise RefusedFile(f"broken: {brief(line)} is not a quoted text")
        return _python2_str(_unescaped(line[1:-1]))

    def counted_str(self, count: int) -> str | bytes:
        """Return a str of Python 2 that has so many bytes."""
        return _python2_str(self.take(count))

    def unicode_line(self) -> str:
        """Return a text that is written with escapes."""
        try:
            return codecs.raw_unicode_escape_decode(self.line())[0]
        except UnicodeDecodeError:
            raise RefusedFile("broken: a text in its pickle is not Unicode") from None

    def skip_frame(self, count: int) -> None:
        """Check that a frame is there: it is a hint for readers of streams."""
        if count > len(self.data) - self.position:
            raise RefusedFile("truncated, or broken: a frame of its pickle has no end")

    def check_protocol(self) -> None:
        """Refuse a protocol that does not exist yet."""
        protocol = self.number("<B")
        if protocol > _MAX_PROTOCOL:
            raise RefusedFile(f"refused: a pickle of protocol {protocol}, not 0 to 5")


def _python2_str(raw: bytes) -> str | bytes:
    """Return text where it is text: Python 2 had one type for text and bytes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _unescaped(line: bytes) -> bytes:
    """Undo the escapes of Python 2's repr of a str."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code == b"x":
            raise RefusedFile(f"broken: an escape in {brief(line)} has no end")
        if code[:1] == b"x":
            return bytes([int(code[1:], 16)])
        return _ESCAPES.get(code, code)

    return re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", plain, line, flags=re.DOTALL)


def _truth_or_integer(line: str) -> int:
    return line == "01" if line in ("00", "01") else int(line)
