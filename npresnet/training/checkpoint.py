"""Checkpoints: all that a run needs in order to go on, at the end of an epoch.

A checkpoint is one safetensors file: the ``state_dict`` of the model, of the
optimiser, and of the average of the weights where there is one; and, as JSON in the
header, the epoch and the history. The order of batches and the augmentation depend on
(seed, epoch) alone, and the learning rate on the step, so nothing else has to be
remembered for the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from npresnet import weights
from npresnet.training.files import replacing

_MODEL = "model/"
_OPTIMIZER = "optimizer/"
_AVERAGE = "average/"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run at the end of an epoch.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    model, optimizer : dict of str to ndarray
        Their ``state_dict``.
    history : list of dict
        One row per epoch completed.
    average : dict of str to ndarray
        ``state_dict`` of the average of the weights; empty where none is taken.
    """

    epoch: int
    model: dict[str, NDArray[Any]]
    optimizer: dict[str, NDArray[Any]]
    history: list[dict[str, float | None]]
    average: dict[str, NDArray[Any]] = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one that was there becomes `previous_path`.

    Raises
    ------
    OSError
        If it cannot be written; the checkpoint that was there stays.
    """
    tensors = {
        **{_MODEL + name: array for name, array in checkpoint.model.items()},
        **{_OPTIMIZER + name: array for name, array in checkpoint.optimizer.items()},
        **{_AVERAGE + name: array for name, array in checkpoint.average.items()},
    }
    facts = json.dumps({"epoch": checkpoint.epoch, "history": checkpoint.history})
    with replacing(path) as new:
        weights.save(new, tensors, {"run": facts, "sha256": _digest(tensors, facts)})
        if path.exists():
            os.replace(path, previous_path(path))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is cut short, or its contents are not those that were written.
    """
    tensors = weights.load(path)
    notes = weights.read_metadata(path)
    try:
        facts = notes["run"]
        intact = notes["sha256"] == _digest(tensors, facts)
        run = json.loads(facts)
        epoch, history = int(run["epoch"]), list(run["history"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path}: not a checkpoint of a run") from None
    if not intact:
        raise ValueError(f"{path}: the checkpoint's contents do not match its checksum")
    return Checkpoint(
        epoch,
        _part(tensors, _MODEL),
        _part(tensors, _OPTIMIZER),
        history,
        _part(tensors, _AVERAGE),
    )


def load_latest(path: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that is whole.

    Returns
    -------
    checkpoint : Checkpoint or None
        None where no checkpoint was ever completed.
    remarks : list of str
        What was wrong with newer ones, a line each.

    Raises
    ------
    ValueError
        If there are checkpoints and none of them is whole.
    """
    remarks: list[str] = []
    for candidate in (path, previous_path(path)):
        try:
            return load(candidate), remarks
        except FileNotFoundError:
            continue
        except ValueError as error:
            remarks.append(str(error))
    if remarks:
        raise ValueError(remarks[0])
    return None, []


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
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
