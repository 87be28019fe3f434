"""Figures in a page are written by the command that measures them."""

from __future__ import annotations

import re
from pathlib import Path


class NoPlaceError(ValueError):
    """A page that has no place for a command's figures."""


def _marks(command: str) -> tuple[str, str]:
    return f"<!-- written by {command} -->", f"<!-- end of {command} -->"


def _place(page: Path, command: str) -> tuple[str, re.Match[str]]:
    begin, end = _marks(command)
    text = page.read_text(encoding="utf-8")
    found = re.search(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", text, re.S)
    if found is None:
        raise NoPlaceError(f"{page}: no lines {begin} and {end}")
    return text, found


def check_place(page: Path, command: str) -> None:
    """Refuse a page without a place, before anything is measured.

    Raises
    ------
    NoPlaceError
        If the two lines between which figures go are not there.
    OSError
        If the page cannot be read.
    """
    _place(page, command)


def write(page: Path, command: str, figures: str) -> None:
    """Replace a command's figures; the rest of the page stays."""
    text, place = _place(page, command)
    new = f"{text[: place.start()]}\n{figures.strip()}\n\n{text[place.end() :]}"
    page.write_text(new, encoding="utf-8")


def written(page: Path, command: str) -> str:
    """Return what stands there now."""
    return _place(page, command)[1].group()
