"""The run folder: what a training run leaves behind, file by file.

``config.json``
    Everything that decided the run, and where it ran.
``metrics.csv``
    One row per epoch.
``weights.safetensors``
    The weights of the last complete epoch; in the end, the final ones.
``curves.png``
    The learning curves so far.
``report.html``
    What came of it, on one page; written when the run is complete.
``checkpoint.safetensors``, ``checkpoint-previous.safetensors``
    What ``--resume`` needs, and the one before, should the newest be damaged;
    such a one is set aside as ``checkpoint-damaged.safetensors``.
``.lock``
    While a run is under way: keeps a second one out.

A run holds its folder open: where that is moved, what is written goes with it, and
never into another folder that has got its name.
"""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet._files import FileIn, OpenFolder, sync_folder
from npresnet._forms import (
    OBJECT,
    TEXT,
    Kind,
    MapOf,
    Optional,
    mismatch,
    number,
    one_of,
    whole,
)
from npresnet._json import to_json
from npresnet.training import lock
from npresnet.untrusted import json_text
from npresnet.untrusted.files import shown_path

if TYPE_CHECKING:
    from npresnet.nn import Module

_CONFIG, _METRICS, _WEIGHTS = "config.json", "metrics.csv", "weights.safetensors"
_CURVES, _REPORT = "curves.png", "report.html"
_CHECKPOINT = "checkpoint.safetensors"
_OTHER_CHECKPOINTS = (
    "checkpoint-previous.safetensors",
    "checkpoint-damaged.safetensors",
)
# What makes a folder that of a run, and what else a run writes.
_DECIDING = (_CONFIG, _METRICS, _WEIGHTS, _CHECKPOINT, _OTHER_CHECKPOINTS[0])
_FURTHER = (_CURVES, _REPORT, _OTHER_CHECKPOINTS[1])
# The names of new files before they take another's place: ours, of any version.
_NAMES = "|".join(map(re.escape, (*_DECIDING, *_FURTHER)))
_NEW = re.compile(rf"\.new-({_NAMES})\.[0-9a-f]{{16}}")
_NEW_BEFORE = re.compile(rf"\.new-({_NAMES})|\.\.new-({_NAMES})\.[0-9a-f]+\.tmp")

# The images that a network takes, as ``config.json`` and the header of weights tell:
# with so many numbers at most, which is 2,300 x 2,300 in colour.
_MOST_NUMBERS = 2**24
_IMAGES_FORM = {
    "image_shape": Kind(
        f"three whole numbers from 1, whose product is {_MOST_NUMBERS:,} at most",
        lambda v: _is_shape(v),
    ),
    "classes": [TEXT],
    "mean": Kind("a list", lambda v: isinstance(v, list)),
    "std": [number(0)],
}
_SHA256 = Kind("64 hexadecimal digits", lambda v: _is_digest(v))
# What `configuration.describe` and `fit` write. Entries that a caller of `fit` records,
# and those that a machine may not know, are optional.
_CONFIG_FORM = {
    "seed": whole(),
    "npresnet": TEXT,
    "created": TEXT,
    "recipe": OBJECT,  # see `Recipe.from_dict`
    "model": {
        "name": TEXT,
        "parameters": whole(),
        "dtype": one_of("float32", "float64"),
        "first_weights_sha256": _SHA256,
        "shortcut": Optional(TEXT),
    },
    "dataset": {
        "name": TEXT,
        "train": whole(1),
        "validation": whole(),
        "test": whole(1),
        "sha256": MapOf(_SHA256),
        **_IMAGES_FORM,
        "data_dir": Optional(TEXT),
    },
    "numerics": {
        "backend": one_of("numba", "reference"),
        "algorithm": one_of("auto", "direct"),
    },
    "environment": {
        **dict.fromkeys(("python", "numpy", "numba", "platform", "processor"), TEXT),
        "threads": whole(1),
        "cpu": Optional(TEXT),
        "cpus": Optional(whole(1)),
        "command": Optional([TEXT]),
        "repeat": Optional(TEXT),
    },
}


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    whole_numbers = all(type(size) is int and size > 0 for size in value)
    return whole_numbers and math.prod(value) <= _MOST_NUMBERS


class FolderMoved(FileNotFoundError):
    """The path of a run's folder does not name it any longer."""


class RunFolder:
    """A folder that holds one run.

    Parameters
    ----------
    path : path
        The folder; use `create` or `open` rather than the constructor.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config_path = self.path / _CONFIG
        self.metrics_path = self.path / _METRICS
        self.weights_path = self.path / _WEIGHTS
        self.curves_path = self.path / _CURVES
        self.report_path = self.path / _REPORT
        self.checkpoint_path = self.path / _CHECKPOINT
        self._held: OpenFolder | None = None  # while the run is under way

    @classmethod
    def create(
        cls, path: str | os.PathLike[str] | None, model: str, dataset: str
    ) -> RunFolder:
        """Make a folder for a new run.

        Parameters
        ----------
        path : path or None
            None makes ``runs/<date>-<time>-<model>-<dataset>``, a new one each time.
        model, dataset : str
            For that name.

        Raises
        ------
        FileExistsError
            If the folder already holds a run, or a file that a run would write
            over, or `path` is a file.
        """
        if path is None:
            return cls(_fresh_folder(Path("runs"), f"{model}-{dataset}"))
        folder = cls(path)
        folder.refuse_used()
        lock.refuse_foreign(folder.path)
        if folder.path.exists() and not folder.path.is_dir():
            raise FileExistsError(f"{folder.path}: expected a folder, found a file")
        folder.path.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.path.parent)
        return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open the folder of an earlier run.

        Raises
        ------
        FileNotFoundError
            If there is no run in it.
        """
        folder = cls(path)
        if not folder.config_path.exists():
            raise FileNotFoundError(
                f"{folder.path}: holds no run ({_CONFIG} is missing)"
            )
        return folder

    def refuse_used(self) -> None:
        """Raise FileExistsError if the folder holds a run, or what one would replace.

        A broken link counts, too: whoever made it wants something else there.
        """
        for taken in _DECIDING:
            if os.path.lexists(self.path / taken):
                raise FileExistsError(
                    f"{self.path}: already holds a run ({taken}); name another "
                    "folder, or resume that run"
                )
        for taken in _FURTHER:
            if os.path.lexists(self.path / taken):
                raise FileExistsError(
                    f"{self.path}: holds no run, but a file that a run would replace "
                    f"({taken}); name another folder, or move it away"
                )

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the folder open, and keep other runs out, within a ``with`` block.

        Yields
        ------
        bool
            See `npresnet.training.lock.locked`.
        """
        with ExitStack() as stack:
            with self.naming_errors("nothing was changed"):
                folder = stack.enter_context(OpenFolder(self.path))
                held = stack.enter_context(lock.locked(folder))
            self._held = folder
            try:
                yield held
            finally:
                self._held = None

    def check_place(self) -> None:
        """Raise FolderMoved where the path names another folder by now, or none."""
        if self._held is not None and not self._held.is_in_place():
            text = "the run folder was moved or removed"
            raise FolderMoved(errno.ENOENT, text, str(self.path))

    def whereabouts(self) -> Path | None:
        """Find out where a folder is that is held open; None where nobody knows."""
        return None if self._held is None else self._held.whereabouts()

    @property
    def checkpoint(self) -> Path | FileIn:
        """The newest checkpoint, to be written."""
        if self._held is None:
            return self.checkpoint_path
        return FileIn(self._held, _CHECKPOINT)

    @contextmanager
    def _opened(self) -> Iterator[OpenFolder]:
        """Hold the folder open within a ``with`` block, unless it is already."""
        if self._held is not None:
            yield self._held
            return
        with OpenFolder(self.path) as folder:
            yield folder

    def _write(self, name: str, content: bytes) -> None:
        with self._opened() as folder, folder.replacing(name) as file:
            file.write(content)

    @contextmanager
    def naming_errors(self, kept: str) -> Iterator[None]:
        """Let errors of the system name the folder, and say what is kept there.

        A full disk names no file, and a file that takes the place of another is
        none that the user knows.
        """
        try:
            yield
        except (BlockingIOError, FileExistsError, FolderMoved):
            raise
        except OSError as error:
            self.check_place()
            number = error.errno or errno.EIO
            text = f"{error.strerror or error}; {kept}"
            if not self.path.is_dir():
                number, text = errno.ENOENT, "the run folder was moved or removed"
            raise OSError(number, text, str(self.path)) from error

    def remove_leftovers(self, of_older_versions: bool = True) -> None:
        """Remove the half-written files of a process that was killed."""
        with self._opened() as folder:
            for name in folder.names():
                if _NEW.fullmatch(name) or (
                    of_older_versions and _NEW_BEFORE.fullmatch(name)
                ):
                    folder.remove(name)

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json``.

        Raises
        ------
        ValueError
            If it is not a JSON object with the entries that `fit` writes.
        """
        return read_config(self.config_path)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.json``, with lists of numbers on one line each."""
        text = to_json(config, indent=2)
        # No string holds a line's end as such: what is matched is a list.
        text = re.sub(
            r"\[\n[-+.,\deE\s]*\]", lambda found: " ".join(found[0].split()), text
        )
        self._write(_CONFIG, f"{text}\n".encode())

    def write_metrics(self, history: Sequence[Mapping[str, float | None]]) -> None:
        """Write ``metrics.csv``: a header, and one row per epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
        writer.writeheader()
        for row in history:
            writer.writerow({name: _short(value) for name, value in row.items()})
        self._write(_METRICS, text.getvalue().encode())

    def write_weights(self, model: Module, metadata: Mapping[str, str]) -> None:
        """Write ``weights.safetensors``, with a header that says what they are."""
        from npresnet.weights.files import write

        with self._opened() as folder, folder.replacing(_WEIGHTS) as file:
            write(file, model, metadata)

    def write_curves(self, history: Sequence[Mapping[str, float | None]]) -> None:
        """Draw ``curves.png``."""
        from npresnet.plots import learning_curves

        with self._opened() as folder, folder.replacing(_CURVES) as file:
            learning_curves(history, file)

    def write_report(self, html: str) -> None:
        """Write ``report.html``."""
        self._write(_REPORT, html.encode())


def read_config(path: Path) -> dict[str, Any]:
    """Read a run's ``config.json``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is not a JSON object with the entries that `fit` writes; the message
        names the file and the entry.
    """
    from npresnet.training.recipe import Recipe

    config: dict[str, Any] = json_text.read(path)
    name = shown_path(path)
    if (found := mismatch(config, _CONFIG_FORM)) is not None:
        raise ValueError(f"{name}: {found}")
    try:
        Recipe.from_dict(config["recipe"])
    except ValueError as error:
        raise ValueError(f"{name}: the entry 'recipe': {error}") from None
    if (found := images_mismatch(config["dataset"])) is not None:
        raise ValueError(f"{name}: {found}")
    return config


def images_mismatch(section: Any) -> str | None:
    """Say what does not fit in what a file tells of images; None where all does.

    Parameters
    ----------
    section : object
        The section ``dataset`` of a ``config.json`` or of the header of weights, of
        which ``image_shape``, ``classes``, ``mean`` and ``std`` are looked at.
    """
    if (found := mismatch(section, _IMAGES_FORM, "dataset")) is not None:
        return found
    if not section["classes"]:
        return "the entry 'dataset.classes': expected names, found none"
    channels, *size = section["image_shape"]
    for name, shapes in (
        ("mean", [(channels,), (channels, *size)]),
        ("std", [(channels,)]),
    ):
        if _shape(section[name]) not in shapes:
            return (
                f"the entry 'dataset.{name}': expected finite numbers, one for each of "
                f"{channels} channels"
            )
    if min(section["std"]) <= 0:
        return "the entry 'dataset.std': expected numbers above 0"
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of finite numbers in lists; None where it is none."""
    try:
        array = np.array(value)
    except ValueError:  # ragged
        return None
    if array.dtype.kind not in "fi" or not np.isfinite(array).all():
        return None
    return array.shape


def _fresh_folder(parent: Path, what: str) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    attempt = 1
    while True:
        number = "" if attempt == 1 else f"-{attempt}"
        path = parent / f"{stamp}-{what}{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            attempt += 1
        else:
            return path


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:d}" if isinstance(value, int) else f"{value:.6g}"
