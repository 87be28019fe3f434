"""``config.json``: what decided a run, and where it ran."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata as installed
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from npresnet.training.recipes import Recipe
from npresnet.training.run_folder import RunFolder

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module


def describe(
    model: Module,
    train: Dataset,
    test: Dataset,
    validation_set: Dataset | None,
    record: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Collect what ``config.json`` says of model, data and machine.

    Parameters
    ----------
    model : Module
        The model to be trained.
    train, test, validation_set : Dataset
        The data; `validation_set` may be None.
    record : mapping, optional
        Entries that the caller adds to ``model`` and ``dataset``.
    """
    import npresnet

    parameters = [parameter.data for parameter in model.parameters()]
    sets = {"train": train, "validation": validation_set, "test": test}
    config: dict[str, Any] = {
        "npresnet": npresnet.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": type(model).__name__,
            "parameters": sum(data.size for data in parameters),
            "dtype": str(parameters[0].dtype),
            "first_weights_sha256": _digest(model.state_dict()),
        },
        "dataset": {
            "name": train.name,
            **{name: 0 if part is None else len(part) for name, part in sets.items()},
            "sha256": {
                name: part.digest() for name, part in sets.items() if part is not None
            },
            "image_shape": list(train.images.shape[1:]),
            "classes": list(train.classes),
            "mean": [float(value) for value in train.mean],
            "std": [float(value) for value in train.std],
        },
        "numerics": {
            "backend": npresnet.get_backend(),
            "algorithm": npresnet.get_algorithm(),
        },
        "environment": {
            "python": platform.python_version(),
            "numpy": installed.version("numpy"),
            "numba": installed.version("numba"),
            "platform": platform.platform(),
            "processor": _processor(),
            "threads": npresnet.get_threads(),
            "command": sys.argv,
        },
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
    """Say in two lines what is about to happen."""
    import npresnet

    model, data = config["model"], config["dataset"]
    shape = "x".join(map(str, data["image_shape"]))
    threads = npresnet.get_threads()
    return (
        f"{model['name']}, {model['parameters']:,} parameters, on {data['name']}: "
        f"{data['train']:,} training and {data['test']:,} test images of {shape}\n"
        f"recipe {recipe.name}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}, "
        f"seed {config['seed']}, {threads} thread{'s' * (threads > 1)}, "
        f"into {folder.path}"
    )


def _digest(state_dict: Mapping[str, NDArray[Any]]) -> str:
    checksum = hashlib.sha256()
    for name, array in state_dict.items():
        checksum.update(f"{name} {array.dtype.str} {array.shape}".encode())
        checksum.update(array.tobytes())
    return checksum.hexdigest()


def _processor() -> str:
    """Name the processor as the compiler does: that decides the instructions."""
    from llvmlite import binding

    name: str = binding.get_host_cpu_name()
    return name


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

    One entry, ``"npresnet"``: the sections ``model`` and ``dataset`` as JSON.
    """
    sections = {"model": config["model"], "dataset": config["dataset"]}
    return {"npresnet": json.dumps(sections)}
