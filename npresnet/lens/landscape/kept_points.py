"""Points of a long measurement, kept in a file while it goes on.

The file is replaced whole, so that it is never half a file; it names what was
measured, and is refused where something else is to be measured.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from npresnet._files import OpenFolder, write_text
from npresnet._json import to_json
from npresnet.nn import Module
from npresnet.untrusted import json_text
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import shown

Values = tuple[float, ...]

_KIND = "npresnet points 1"
_SECONDS_BETWEEN_WRITES = 1.0


class KeptPoints:
    """A dict from points to their values that survives.

    Parameters
    ----------
    path : path or None
        The file; None keeps everything in memory.
    settings : mapping of str to plain data
        All that decides the values, under names that a reader understands.

    Attributes
    ----------
    values : dict of int to tuple of float
        What is known.

    Raises
    ------
    ValueError
        If the file is another measurement's, or damaged, or no such file at all.
    FileNotFoundError
        If its folder does not exist.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, settings: Mapping[str, Any]
    ) -> None:
        self.path = None if path is None else Path(path)
        self.settings = dict(settings)
        self.values: dict[int, Values] = {}
        self._written_at, self._unwritten = -math.inf, False
        self._folder: OpenFolder | None = None  # within `written`
        if self.path is None:
            return
        if self.path.exists():
            self.values = self._read(self.path)
        elif not self.path.parent.is_dir():
            raise FileNotFoundError(f"{self.path.parent}: there is no such folder")

    def add(self, point: int, values: Values) -> None:
        """Take a point in, and write the file if the last time is a second ago."""
        self.values[point], self._unwritten = values, True
        if time.monotonic() - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self.write()

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write what is known when a ``with`` block ends, however it does."""
        with ExitStack() as stack:
            if self.path is not None:
                self._folder = stack.enter_context(OpenFolder(self.path.parent))
            try:
                yield
            finally:
                try:
                    self.write()
                finally:
                    self._folder = None

    def write(self) -> None:
        """Write everything that is known, unless the file knows it.

        Raises
        ------
        FileNotFoundError
            If the folder was moved meanwhile; the points go with it.
        """
        if self.path is None or not self._unwritten:
            return
        points = {
            # JSON has no NaN and no infinities; `float` reads them from texts.
            str(point): [v if math.isfinite(v) else str(v) for v in self.values[point]]
            for point in sorted(self.values)
        }
        contents = {"kind": _KIND, "settings": self.settings, "points": points}
        text = to_json(contents) + "\n"
        if self._folder is None:
            write_text(self.path, text)
        else:
            with self._folder.replacing(self.path.name) as file:
                file.write(text.encode())
        self._written_at, self._unwritten = time.monotonic(), False
        if self._folder is not None:
            self._folder.check_place()

    def _read(self, path: Path) -> dict[int, Values]:
        try:
            contents = json_text.read(path)
            if contents["kind"] != _KIND:
                raise ValueError
            settings = dict(contents["settings"])
            points = {
                int(point): tuple(map(float, values))
                for point, values in contents["points"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            raise ValueError(
                f"{shown_path(path)}: expected a file of points that an unfinished "
                "measurement left"
            ) from None
        for name, wanted in self.settings.items():
            if settings.get(name) != wanted:
                raise ValueError(
                    f"{shown_path(path)}: its points were measured with different "
                    f"{name} ({_brief(settings.get(name))}, now {_brief(wanted)}); "
                    "name another file, or remove it"
                )
        return points


def structure(model: Module) -> str:
    """Hash what a model is made of, apart from its weights."""
    return hashlib.sha256(repr(model).encode()).hexdigest()


def _brief(value: Any) -> str:
    text = str(value)
    return shown(text, 20 if len(text) <= 20 else 8)
