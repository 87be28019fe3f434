"""Checkpoints: all that a run needs in order to go on, between any two batches.

A checkpoint is one safetensors file: the ``state_dict`` of the model, of the
optimiser, and of the average of the weights where there is one; and, as JSON in the
header, the epochs so far and how far the one under way has come. The order of batches
and the augmentation depend on (seed, epoch, batch) alone, and the learning rate on
the step, so nothing else has to be remembered for the same bits.

The newest checkpoint is written beside the one before it, synced, and only then
renamed: whatever happens, one of the two is whole. A checksum over everything
notices one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import weights
from npresnet._digests import digest
from npresnet._files import FileIn, held
from npresnet._forms import NUMBER, NUMBER_OR_NULL, TEXT, MapOf, mismatch, number, whole
from npresnet._json import to_json
from npresnet.untrusted import json_text
from npresnet.untrusted.files import shown_path
from npresnet.weights.files import write

_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"
# The JSON in the header.
_STATE: dict[str, Any] = {
    "run": TEXT,
    "history": [MapOf(NUMBER_OR_NULL)],
    "part": {
        "steps": whole(),
        "loss_sum": NUMBER,
        "correct": whole(),
        "seconds": number(0),
    },
}


@dataclass(frozen=True)
class PartOfEpoch:
    """How far the epoch under way has come.

    Attributes
    ----------
    steps : int
        Batches done.
    loss_sum : float
        Sum of the images' losses in nats.
    correct : int
        Images that were right.
    seconds : float
        Time that was spent.
    """

    steps: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two batches.

    Attributes
    ----------
    model, optimizer : dict of str to ndarray
        Their ``state_dict``.
    history : list of dict
        One row per epoch completed.
    part : PartOfEpoch
        Of the epoch after those.
    run : str
        What tells the run from others; see `configuration.identity`.
    average : dict of str to ndarray
        ``state_dict`` of the average of the weights; empty where none is taken.
    """

    model: dict[str, NDArray[Any]]
    optimizer: dict[str, NDArray[Any]]
    history: list[dict[str, float | None]]
    part: PartOfEpoch = field(default_factory=PartOfEpoch)
    run: str = ""
    average: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return len(self.history)

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Go through all arrays under the names that they have in the file."""
        for name, array in self.model.items():
            yield _MODEL + name, array
        for name, array in self.optimizer.items():
            yield _OPTIMIZER + name, array
        for name, array in self.average.items():
            yield _AVERAGE + name, array

    def first_not_finite(self) -> tuple[str, NDArray[Any]] | None:
        """Find an array that holds a NaN or an infinity, and its name."""
        for name, array in self.tensors():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return name.partition("/")[2], array
        return None


def save(path: Path | FileIn, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one that was there becomes `previous_path`.

    Parameters
    ----------
    path : path or FileIn
        Where; `FileIn` for a folder that is held open.
    checkpoint : Checkpoint
        What.

    Raises
    ------
    OSError
        If it cannot be written; the checkpoint that was there stays.
    """
    tensors = dict(checkpoint.tensors())
    facts = to_json(
        {
            "run": checkpoint.run,
            "history": checkpoint.history,
            "part": asdict(checkpoint.part),
        }
    )
    notes = {"state": facts, "sha256": _digest(tensors, facts)}
    with held(path) as file_in:
        folder, name = file_in.folder, file_in.name
        with folder.replacing(name, previous=previous_path(Path(name)).name) as file:
            write(file, tensors, notes)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is cut short, or its contents are not those that were written.
    """
    name = shown_path(path)
    tensors = weights.load(path)
    notes = weights.read_metadata(path)
    try:
        facts = notes["state"]
        intact = notes["sha256"] == _digest(tensors, facts)
        state = json_text.parse(facts)
    except (KeyError, ValueError):
        raise ValueError(f"{name}: not a checkpoint of a run") from None
    if (found := mismatch(state, _STATE)) is not None:
        raise ValueError(f"{name}: not a checkpoint of a run: {found}")
    if not intact:
        raise ValueError(f"{name}: the checkpoint's contents do not match its checksum")
    return Checkpoint(
        _part(tensors, _MODEL),
        _part(tensors, _OPTIMIZER),
        state["history"],
        PartOfEpoch(**{name: state["part"][name] for name in _STATE["part"]}),
        state["run"],
        _part(tensors, _AVERAGE),
    )


def load_latest(path: Path) -> tuple[Checkpoint | None, str | None]:
    """Read the newest checkpoint that is whole.

    Returns
    -------
    checkpoint : Checkpoint or None
        None where no checkpoint was ever completed.
    damaged : str or None
        What is wrong with the newest one, where the one before it had to do.

    Raises
    ------
    ValueError
        If there are checkpoints and none of them is whole.
    """
    damaged: list[str] = []
    for candidate in (path, previous_path(path)):
        try:
            return load(candidate), damaged[0] if damaged else None
        except FileNotFoundError:
            continue
        except ValueError as error:
            damaged.append(str(error))
    if damaged:
        raise ValueError("; ".join(damaged))
    return None, None


def set_aside(path: Path | FileIn) -> Path:
    """Give a damaged checkpoint another name, and return that.

    Otherwise the next `save` would put it in the place of the one before it, the
    only one that is whole.
    """
    with held(path) as file_in:
        name = Path(file_in.name)
        aside = f"{name.stem}-damaged{name.suffix}"
        file_in.folder.rename(file_in.name, aside)
        return file_in.folder.path / aside


def previous_path(path: Path) -> Path:
    """Where the checkpoint before the newest one is."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def _part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def _digest(tensors: Mapping[str, NDArray[Any]], facts: str) -> str:
    return digest({name: tensors[name] for name in sorted(tensors)}, facts)
