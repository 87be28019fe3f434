"""What a user should know, though the work goes on: said once, in one line."""

from __future__ import annotations

import warnings


class Notice(RuntimeWarning):
    """Something works, but not as it could; the command line shows it as one line."""


def notice(text: str) -> None:
    """Warn, unless the same has been said in this process."""
    if text not in _said:
        _said.add(text)
        warnings.warn(text, Notice, stacklevel=3)


_said: set[str] = set()
