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
"""

from __future__ import annotations

import csv
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet._files import replacing, sync_folder
from npresnet.training.lock import locked

if TYPE_CHECKING:
    from npresnet.nn import Module

_CONFIG, _METRICS, _WEIGHTS = "config.json", "metrics.csv", "weights.safetensors"
_NEEDED = (
    "seed",
    "recipe.name",
    "model.name",
    "dataset.name",
    "dataset.classes",
    "dataset.image_shape",
    "dataset.mean",
    "dataset.std",
    "dataset.sha256",
    "numerics.backend",
    "numerics.algorithm",
)
_CURVES, _REPORT = "curves.png", "report.html"
_CHECKPOINT = "checkpoint.safetensors"


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
            If the folder already holds a run, or `path` is a file.
        """
        if path is None:
            return cls(_fresh_folder(Path("runs"), f"{model}-{dataset}"))
        folder = cls(path)
        folder.refuse_used()
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
        """Raise FileExistsError if the folder holds a run."""
        for taken in (_CONFIG, _METRICS, _WEIGHTS, _CHECKPOINT):
            if (self.path / taken).exists():
                raise FileExistsError(
                    f"{self.path}: already holds a run ({taken}); name another "
                    "folder, or resume that run"
                )

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Keep other runs out of the folder; see `npresnet.training.lock.locked`."""
        with ExitStack() as stack:
            with self.naming_errors("nothing was changed"):
                held = stack.enter_context(locked(self.path))
            yield held

    @contextmanager
    def naming_errors(self, kept: str) -> Iterator[None]:
        """Let errors of the system name the folder, and say what is kept there.

        A full disk names no file, and a file that takes the place of another is
        none that the user knows.
        """
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            number = error.errno or errno.EIO
            text = f"{error.strerror or error}; {kept}"
            if not self.path.is_dir():
                number, text = errno.ENOENT, "the run folder was moved or removed"
            raise OSError(number, text, str(self.path)) from error

    def remove_leftovers(self) -> None:
        """Remove the half-written files of a process that was killed."""
        for name in (_CONFIG, _METRICS, _WEIGHTS, _CURVES, _REPORT, _CHECKPOINT):
            for path in self.path.glob(f".*new-{name}*"):
                path.unlink(missing_ok=True)

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
        text = json.dumps(config, indent=2)
        # No string holds a line's end as such: what is matched is a list.
        text = re.sub(
            r"\[\n[-+.,\deE\s]*\]", lambda found: " ".join(found[0].split()), text
        )
        with replacing(self.config_path) as new:
            new.write_text(text + "\n", encoding="utf-8")

    def write_metrics(self, history: Sequence[Mapping[str, float | None]]) -> None:
        """Write ``metrics.csv``: a header, and one row per epoch."""
        with (
            replacing(self.metrics_path) as new,
            open(new, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.DictWriter(file, list(history[0]), lineterminator="\n")
            writer.writeheader()
            for row in history:
                writer.writerow({name: _short(value) for name, value in row.items()})

    def write_weights(self, model: Module, metadata: Mapping[str, str]) -> None:
        """Write ``weights.safetensors``, with a header that says what they are."""
        from npresnet import weights

        with replacing(self.weights_path) as new:
            weights.save(new, model, metadata=metadata)

    def write_curves(self, history: Sequence[Mapping[str, float | None]]) -> None:
        """Draw ``curves.png``."""
        from npresnet.plots import learning_curves

        with replacing(self.curves_path) as new:
            learning_curves(history, new)

    def write_report(self, html: str) -> None:
        """Write ``report.html``."""
        with replacing(self.report_path) as new:
            new.write_text(html, encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """Read a run's ``config.json``.

    Raises
    ------
    ValueError
        If it is not a JSON object with the entries that `fit` writes.
    """
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from None
    for entry in _NEEDED:
        value: Any = config
        for part in entry.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise ValueError(f"{path}: expected the entry {entry!r}, which is missing")
    return config


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
