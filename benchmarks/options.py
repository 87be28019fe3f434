"""Arguments of the commands. What is wrong with them is said in one line, status 2."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that shows its usage when asked, not at every error."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit."""
        self.exit(2, f"{self.prog}: {message}\n")


def at_least(least: int) -> Callable[[str], int]:
    """Make a reader of whole numbers."""

    def read(text: str) -> int:
        # isdecimal() takes digits of every script, and so does int().
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, got {text!r}"
            )
        return int(text)

    return read


def seconds(text: str) -> float:
    """Read a time."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"expected seconds, 0 or more, got {text!r}"
        ) from None
    return value


def output_file(text: str) -> Path:
    """Read the name of a file to write: found out before anything is measured."""
    path = Path(text)
    if path.is_dir():
        reason = "it is a folder"
    elif not path.parent.is_dir():
        reason = f"there is no folder {str(path.parent)!r}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        reason = "no permission"
    else:
        return path
    raise argparse.ArgumentTypeError(
        f"expected a file that can be written, got {text!r}: {reason}"
    )
