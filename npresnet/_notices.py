"""What a user should know, though the work goes on: said once, in one line."""

from __future__ import annotations

import warnings

from npresnet.untrusted.text import shown


class Notice(RuntimeWarning):
    """Something works, but not as it could; the command line shows it as one line."""


def notice(text: str) -> None:
    """Warn, unless the same has been said in this process."""
    if text not in _said:
        _said.add(text)
        warnings.warn(text, Notice, stacklevel=3)


def reason(error: Exception) -> str:
    """Say in a few words what went wrong, also where somebody else's code says it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = shown(" ".join(str(error).split()), 160)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


_said: set[str] = set()
