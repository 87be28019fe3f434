"""Which network some weights belong to, and which images it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.cli import options
from npresnet.cli.images import kind_of_image
from npresnet.cli.train import build_model
from npresnet.untrusted import json_text
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import brief, shown

if TYPE_CHECKING:
    from npresnet.nn import Module


@dataclass(frozen=True)
class Subject:
    """Weights, and all that is known of them."""

    weights: Path
    model: str
    shortcut: str | None
    dataset: str
    data_dir: str | None
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[Any, ...]  # per channel, or (C, H, W)
    std: tuple[float, ...]
    flip: bool  # whether training measured mirror images, too

    def build(self) -> Module:
        """Build the network and put the weights in."""
        from npresnet import weights
        from npresnet.nn import init

        state_dict = weights.load(self.weights)
        name = shown_path(self.weights)
        with init.skipped():  # every weight is replaced, or it is an error
            model = build_model(self.model, self.shortcut, len(self.classes))
        try:
            model.load_state_dict(state_dict)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: these are not weights of {self.model} with "
                f"{len(self.classes)} classes: {error}"
            ) from None
        for parameter, values in model.state_dict().items():
            wrong = values.size - np.count_nonzero(np.isfinite(values))
            if wrong:
                raise ValueError(
                    f"{name}: {wrong:,} of the {values.size:,} values of {parameter} "
                    "are NaN or infinite, so that every answer would be"
                )
        model.eval()
        return model


def identify(
    weights: str,
    model: str | None,
    shortcut: str | None,
    dataset: str | None,
    data_dir: str | None = None,
    normalization: str | None = None,
) -> Subject:
    """Find out what weights are: from the options, then from what lies beside them.

    A run's ``config.json`` in the same folder comes first, then the notes in the
    header of a safetensors file.

    Raises
    ------
    FileNotFoundError
        If there is no such file of weights.
    ValueError
        If the network or the data set stays unknown.
    """
    from npresnet.training.run_folder import images_mismatch

    path = Path(weights)
    if path.is_dir():
        raise ValueError(
            f"{shown_path(path)}: expected a file of weights, found a folder; "
            f"perhaps {shown_path(path / 'weights.safetensors')}"
        )
    if not path.exists():
        raise FileNotFoundError(f"{shown_path(path)}: there is no such file")
    if (kind := kind_of_image(path)) is not None:
        raise ValueError(
            f"{shown_path(path)}: expected a file of weights, found a picture ({kind})"
        )
    known_model, known_data, flip, source = _notes(path)
    name = model or known_model.get("name")
    if name is None:
        raise ValueError(
            f"--model: {shown_path(path)} does not say which network it belongs to; "
            "name it"
        )
    if shortcut is None and name == known_model.get("name"):
        shortcut = known_model.get("shortcut")
    named = dataset
    dataset = dataset or known_data.get("name")
    if dataset is None:
        raise ValueError(
            f"--dataset: {shown_path(path)} does not say what it was trained on; name "
            "it"
        )
    if dataset != known_data.get("name"):
        facts = facts_of(dataset)
    else:
        if (found := images_mismatch(known_data)) is None:
            facts = known_data
        elif named is None:
            raise ValueError(
                f"{shown_path(source)}: {found}; --dataset NAME takes what is known "
                "of a data set by that name"
            )
        else:
            facts = facts_of(dataset)
    channels, height, width = facts["image_shape"]
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    if normalization is not None:
        mean, std = options.parse_normalization(normalization, channels)
    return Subject(
        weights=path,
        model=name,
        shortcut=shortcut,
        dataset=dataset,
        data_dir=data_dir or facts.get("data_dir"),
        classes=tuple(shown(name) for name in facts["classes"]),
        image_shape=(channels, height, width),
        mean=mean,
        std=std,
        flip=flip,
    )


def _notes(path: Path) -> tuple[dict[str, Any], dict[str, Any], bool, Path]:
    """Read what lies with the weights, and where.

    That is: model, data set, whether to look at mirror images, and the file that says
    so. Sections that are none are empty; `identify` looks at what it takes from them.
    """
    from npresnet.training.run_folder import read_config
    from npresnet.weights import read_metadata

    beside = path.parent / "config.json"
    if path.name == "weights.safetensors" and beside.exists():
        notes = read_config(beside)
        flip = _section(notes, "recipe").get("test_flip")
        source = beside
    else:
        note = read_metadata(path).get("npresnet")
        try:
            notes = {} if note is None else json_text.parse(note)
        except ValueError as error:
            raise ValueError(
                f"{shown_path(path)}: the note of npresnet in its header: {error}"
            ) from None
        flip = _section(notes, "evaluation").get("flip")
        source = path
    model, dataset = _section(notes, "model"), _section(notes, "dataset")
    for where, section, names in (
        ("model", model, ("name", "shortcut")),
        ("dataset", dataset, ("name", "data_dir")),
    ):
        for name in names:
            if not isinstance(section.get(name), str | None):
                raise ValueError(
                    f"{shown_path(source)}: expected a text as {where}.{name}, got "
                    f"{brief(section[name])}"
                )
    return model, dataset, flip is True, source


def _section(notes: Any, name: str) -> dict[str, Any]:
    section = notes.get(name) if isinstance(notes, dict) else None
    return section if isinstance(section, dict) else {}


def facts_of(dataset: str) -> dict[str, Any]:
    """Return what is known of a data set without its files."""
    if dataset == "digits":
        from npresnet.data import digits

        train, _ = digits()
        return {
            "classes": train.classes,
            "image_shape": train.images.shape[1:],
            "mean": [float(value) for value in train.mean],
            "std": [float(value) for value in train.std],
        }
    if dataset == "cifar10":
        from npresnet.data.cifar10 import CLASSES, MEAN, STD

        return {
            "classes": CLASSES,
            "image_shape": (3, 32, 32),
            "mean": MEAN,
            "std": STD,
        }
    from npresnet.data import names

    raise ValueError(
        f"--dataset: expected one of {', '.join(names())}; got {brief(dataset)}"
    )
