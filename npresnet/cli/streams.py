"""Standard streams that are closed, or that nobody reads any more."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

import click

PIPE_STATUS = 141  # of a program that SIGPIPE has ended, as a shell counts: 128 + 13
_GONE = (errno.EPIPE, errno.EIO, errno.ESTALE, errno.ENXIO)


def open_closed() -> None:
    """Open what a shell has closed (``>&-``) on nothing at all.

    Python has no stream there, and the next file that is opened would get its number:
    what is printed to a closed terminal would end in a checkpoint.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                nothing = os.open(os.devnull, os.O_RDWR)
                os.set_inheritable(nothing, True)
                if nothing != number:
                    os.dup2(nothing, number)
                    os.close(nothing)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def is_gone(error: OSError) -> bool:
    """Tell whether an error means that nobody reads what is printed.

    That is a closed pipe (``| head -1``), or a terminal that is closed. Errors of files
    name one.
    """
    return error.errno in _GONE and error.filename is None


def tell(text: str) -> None:
    """Print a last line to standard error, if anybody is there."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def drop_unread() -> None:
    """Let Python not complain in the end about what it cannot print any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _drop(stream)


def _drop(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, stream.fileno())
        finally:
            os.close(nothing)
