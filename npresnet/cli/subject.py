"""Which network some weights belong to, and which images it was trained on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.cli import options
from npresnet.cli.images import kind_of_image
from npresnet.cli.train import build_model

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
        with init.skipped():  # every weight is replaced, or it is an error
            model = build_model(self.model, self.shortcut, len(self.classes))
        try:
            model.load_state_dict(state_dict)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.weights}: these are not weights of {self.model} with "
                f"{len(self.classes)} classes: {error}"
            ) from None
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
    path = Path(weights)
    if path.is_dir():
        raise ValueError(
            f"{path}: expected a file of weights, found a folder; "
            f"perhaps {path / 'weights.safetensors'}"
        )
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if (kind := kind_of_image(path)) is not None:
        raise ValueError(
            f"{path}: expected a file of weights, found a picture ({kind})"
        )
    known_model, known_data, flip = _notes(path)
    name = model or known_model.get("name")
    if name is None:
        raise ValueError(
            f"--model: {path} does not say which network it belongs to; name it"
        )
    if shortcut is None and name == known_model.get("name"):
        shortcut = known_model.get("shortcut")
    dataset = dataset or known_data.get("name")
    if dataset is None:
        raise ValueError(
            f"--dataset: {path} does not say what it was trained on; name it"
        )
    facts = known_data if dataset == known_data.get("name") else facts_of(dataset)
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
        classes=tuple(facts["classes"]),
        image_shape=(channels, height, width),
        mean=mean,
        std=std,
        flip=flip,
    )


def _notes(path: Path) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Read what lies with the weights: model, data set, whether to look at mirrors."""
    from npresnet.training.run_folder import read_config
    from npresnet.weights import read_metadata

    beside = path.parent / "config.json"
    if path.name == "weights.safetensors" and beside.exists():
        config = read_config(beside)
        flip = bool(config["recipe"].get("test_flip"))
        return config["model"], config["dataset"], flip
    note = read_metadata(path).get("npresnet")
    if note is None:
        return {}, {}, False
    try:
        sections = json.loads(note)
        flip = bool(sections.get("evaluation", {}).get("flip"))
        return dict(sections["model"]), dict(sections["dataset"]), flip
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, {}, False


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
        f"--dataset: expected one of {', '.join(names())}; got {dataset!r}"
    )
