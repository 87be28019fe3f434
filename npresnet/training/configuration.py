"""``config.json``: what decided a run, and where it ran."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from npresnet._digests import digest
from npresnet._json import to_json
from npresnet.training import machine
from npresnet.training.recipe import Recipe
from npresnet.training.run_folder import RunFolder

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module


def describe(
    model: Module,
    train: Dataset,
    validation: Dataset | None,
    test: Dataset,
    record: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Collect what ``config.json`` says of model, data and machine.

    Parameters
    ----------
    model : Module
        The model to be trained.
    train, validation, test : Dataset
        The data; `validation` may be None.
    record : mapping, optional
        Entries that the caller adds to ``model`` and ``dataset``.
    """
    import npresnet

    parameters = [parameter.data for parameter in model.parameters()]
    sets = {"train": train, "validation": validation, "test": test}
    config: dict[str, Any] = {
        "npresnet": npresnet.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": type(model).__name__,
            "parameters": sum(data.size for data in parameters),
            "dtype": str(parameters[0].dtype),
            "first_weights_sha256": digest(model.state_dict()),
        },
        "dataset": {
            "name": train.name,
            **{name: 0 if part is None else len(part) for name, part in sets.items()},
            "sha256": {
                name: part.digest() for name, part in sets.items() if part is not None
            },
            "image_shape": list(train.images.shape[1:]),
            "classes": list(train.classes),
            "mean": train.mean.tolist(),
            "std": train.std.tolist(),
        },
        "numerics": {
            "backend": npresnet.get_backend(),
            "algorithm": npresnet.get_algorithm(),
        },
        "environment": machine.describe(),
    }
    for section, entries in (record or {}).items():
        config.setdefault(section, {}).update(entries)
    return config


def identity(config: Mapping[str, Any]) -> str:
    """Return a checksum of all that decides a run's bits, as its config says it."""
    dataset = {k: v for k, v in config["dataset"].items() if k != "data_dir"}
    deciding = {
        **{name: config.get(name) for name in ("seed", "recipe", "model", "numerics")},
        "dataset": dataset,
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def headline(config: Mapping[str, Any], recipe: Recipe, folder: RunFolder) -> str:
    """Say in three lines what is about to happen."""
    import npresnet

    model, data = config["model"], config["dataset"]
    shape = "x".join(map(str, data["image_shape"]))
    threads = npresnet.get_threads()
    held_out = f"{data['validation']:,} validation, " if data["validation"] else ""
    return (
        f"{model['name']}, {model['parameters']:,} parameters, on {data['name']}: "
        f"{data['train']:,} training, {held_out}{data['test']:,} test images of "
        f"{shape}\n"
        f"recipe {recipe.name}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}, "
        f"seed {config['seed']}, {threads} thread{'s' * (threads > 1)}\n"
        f"into {folder.path}"
    )


def left_over(recipe: Recipe, images: int) -> str | None:
    """Say what becomes of images that fill no batch, if it is no batch of their own."""
    batches = f"batches of {recipe.batch_size}"
    if recipe.joins_last_image(images):
        return f"{batches}: 1 image left over, which joins an epoch's last batch"
    rest = images % recipe.batch_size
    if recipe.last_batch == "drop" and rest:
        return f"{batches}: {rest:,} image{'s' * (rest > 1)} left out of every epoch"
    return None


def kernels_are_missing() -> bool:
    """Tell whether the compiled backend is on and has nothing on disk yet."""
    from npresnet import get_backend

    if get_backend() != "numba":
        return False
    from npresnet.backend.kernel_cache import cache_folder, keeps_code

    kept = cache_folder()
    return kept is None or not keeps_code(kept)


def metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the weights' header says, so that they can travel alone.

    One entry, ``"npresnet"``, is JSON: the sections ``model`` and ``dataset``, and
    in ``evaluation`` how they were measured.
    """
    sections = {
        "model": config["model"],
        "dataset": config["dataset"],
        "evaluation": {"flip": bool(config["recipe"].get("test_flip"))},
    }
    return {"npresnet": to_json(sections)}
