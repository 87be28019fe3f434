"""``config.json``: what decided a run, and whether a resumed one agrees with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from npresnet.training import machine
from npresnet.training.recipe import Recipe
from npresnet.training.run_folder import RunFolder

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module

# fit's defaults, which a resumed run reads as "not given".
_DEFAULT_RECIPE, _DEFAULT_SEED = "digits-quick", 0


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
    config: dict[str, Any] = {
        "npresnet": npresnet.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": type(model).__name__,
            "parameters": sum(data.size for data in parameters),
            "dtype": str(parameters[0].dtype),
        },
        "dataset": {
            "name": train.name,
            "train": len(train),
            "validation": 0 if validation is None else len(validation),
            "test": len(test),
            "image_shape": list(train.images.shape[1:]),
            "classes": list(train.classes),
            "mean": train.mean.tolist(),
            "std": train.std.tolist(),
        },
        "environment": machine.describe(),
    }
    for section, entries in (record or {}).items():
        config.setdefault(section, {}).update(entries)
    return config


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


def kernels_are_missing() -> bool:
    """Tell whether the compiled backend is on and has nothing on disk yet."""
    from npresnet import get_backend

    if get_backend() != "numba":
        return False
    from npresnet.backend.kernels.compile import cache_folder

    kept = cache_folder()
    return kept is None or next(kept.rglob("*.nbc"), None) is None


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
    return {"npresnet": json.dumps(sections)}


def check_resumed(
    folder: RunFolder,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    recipe: str | Recipe,
    seed: int,
    given: Mapping[str, Any],
) -> None:
    """Refuse to resume a run with other data, another model or other settings.

    Raises
    ------
    ValueError
        If something that was given disagrees with the run's ``config.json``.
    """

    def agree(what: str, wanted: Any, kept: Any) -> None:
        if wanted != kept:
            raise ValueError(
                f"{what}: the run in {folder.path} has {kept}, got {wanted}"
            )

    kept_recipe = Recipe.from_dict(config["recipe"])
    if isinstance(recipe, Recipe):
        agree("recipe", recipe, kept_recipe)
    elif recipe != _DEFAULT_RECIPE:
        agree("recipe", recipe, kept_recipe.name)
    if seed != _DEFAULT_SEED:
        agree("seed", seed, config.get("seed"))
    for name, value in given.items():
        if value is not None:
            agree(name, value, getattr(kept_recipe, name))
    for name in ("name", "train", "validation", "test", "image_shape", "mean", "std"):
        kept = config["dataset"].get(name)
        agree(f"dataset, {name}", facts["dataset"][name], kept)
    for name in ("parameters", "dtype"):
        agree(f"model, {name}", facts["model"][name], config["model"].get(name))
