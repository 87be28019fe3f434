"""Put the page together: numbers become text, and the template gets them."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from npresnet import _pages
from npresnet._notices import notice, reason
from npresnet.training import recipes
from npresnet.training.evaluation import Evaluation
from npresnet.training.metrics import Row, measured, read_metrics, total
from npresnet.training.progress import clock
from npresnet.training.recipe import Recipe
from npresnet.training.report.errors import (
    class_by_class,
    confident_mistakes,
    matrix,
)
from npresnet.training.run_folder import RunFolder
from npresnet.training.setting_text import describe_value
from npresnet.untrusted.text import shown_throughout

if TYPE_CHECKING:
    from npresnet.data import Dataset

_MISTAKES = 24
_LONGEST_TEXT = 1000  # characters of a text in config.json, such as the command
# What the page tells of every epoch.
_NEEDED = ("lr", "train_loss", "train_accuracy", "seconds", "images_per_second")
_CURVES = {
    "accuracy": "Share of the images that are right, after each epoch",
    "loss": "Mean cross entropy in nats, after each epoch",
    "lr": "Learning rate at the end of each epoch",
}


def write_report(
    folder: RunFolder | str | os.PathLike[str], test: Dataset, result: Evaluation
) -> Path:
    """Write ``report.html`` into a run folder.

    Parameters
    ----------
    folder : RunFolder or path
        A folder with ``config.json`` and ``metrics.csv``.
    test : Dataset
        The test images.
    result : Evaluation
        The final weights' on them, as `evaluate` returns it.

    Returns
    -------
    Path
        Where the page is: one file, which loads nothing from elsewhere.

    Raises
    ------
    FileNotFoundError
        If the folder holds no run, or no epoch of it.
    ValueError
        If one of its files cannot be read, or `result` is not `test`'s.
    """
    run = folder if isinstance(folder, RunFolder) else RunFolder.open(folder)
    if len(result.logits) != len(test):
        raise ValueError(
            f"result: expected the logits of the {len(test)} images of test, got "
            f"{len(result.logits)}"
        )
    # Whoever sent the folder may have written anything into it.
    config = shown_throughout(run.read_config(), _LONGEST_TEXT)
    history = read_metrics(run.metrics_path, _NEEDED)
    run.write_report(_render(config, history, test, result))
    return run.report_path


def _render(
    config: Mapping[str, Any],
    history: Sequence[Row],
    test: Dataset,
    result: Evaluation,
) -> str:
    recipe = _recipe(config)
    curves, no_curves = _curves(history)
    return _pages.render(
        "npresnet.training.report",
        model=config["model"]["name"],
        dataset=config["dataset"]["name"],
        subtitle=_subtitle(config, recipe),
        unfinished=_unfinished(history, recipe),
        version=config["npresnet"],
        percent=_percent(result.accuracy),
        result=result,
        interval=[_percent(end, 1) for end in _interval(result.correct, result.total)],
        tiles=_tiles(config, history, result),
        curves=curves,
        no_curves=no_curves,
        matrix=matrix(result, test.classes),
        short_names=max(map(len, test.classes)) <= 3,
        classes=class_by_class(result, test.classes),
        mistakes=confident_mistakes(result, test, _MISTAKES),
        mistakes_in_all=result.total - result.correct,
        settings=_settings(recipe),
        unused=recipe.unused(),
        about_data=_about_data(config),
        about_machine=_about_machine(config, history),
        command=config["environment"].get("repeat"),
        started_by=shlex.join(map(str, config["environment"].get("command", []))),
    )


def _recipe(config: Mapping[str, Any]) -> Recipe:
    """Rebuild the recipe, with the sources of the one that goes by its name."""
    recipe = Recipe.from_dict(config["recipe"])
    if recipe.name in recipes.names():
        return recipe.sourced_from(recipes.get(recipe.name))
    return recipe


def _subtitle(config: Mapping[str, Any], recipe: Recipe) -> str:
    date = config["created"].replace("T", " ").replace("+00:00", " UTC")
    return f"recipe {recipe.name}, seed {config['seed']}, {date}"


def _unfinished(history: Sequence[Row], recipe: Recipe) -> str:
    """Say how far a run came that was stopped, or nothing."""
    if len(history) >= recipe.epochs:
        return ""
    return f"not finished: epoch {len(history)} of {recipe.epochs}"


def _tiles(
    config: Mapping[str, Any], history: Sequence[Row], result: Evaluation
) -> list[tuple[str, str]]:
    """List the figures beside the large one: what, and how much."""
    last = history[-1]
    tiles = [
        ("test loss", f"{result.loss:.4f}"),
        ("training", _percent(measured(last, "train_accuracy"))),
        ("epochs", f"{len(history):,}"),
        ("time", clock(total(history, "seconds"))),
        ("parameters", f"{config['model']['parameters']:,}"),
    ]
    if last.get("validation_accuracy") is None:
        return [*tiles, ("images/s", f"{_speed(history):,.0f}")]
    validation = _percent(measured(last, "validation_accuracy"))
    return [tiles[0], ("validation", validation), *tiles[1:]]


def _curves(history: Sequence[Row]) -> tuple[list[str], str]:
    """Draw the learning curves; where that fails, say why: the rest is a page, too."""
    from npresnet.plots import curve_panels, inline_svg

    try:
        # What is drawn is numbers and our own words.
        return [
            _pages.markup(inline_svg(figure, name, _CURVES[name]))
            for name, figure in curve_panels(history).items()
        ], ""
    except Exception as error:  # of Matplotlib, or of what it loads
        notice(f"report.html: without the learning curves ({reason(error)})")
        return [], reason(error)


def _settings(recipe: Recipe) -> list[tuple[str, str, str]]:
    """List the settings that count: name, value, source."""
    unused = recipe.unused()
    return [
        (name, _text(name, value), recipe.source_of(name))
        for name, value in recipe.settings().items()
        if name not in unused and name not in ("dataset", "model", "shortcut")
    ]


def _text(name: str, value: object) -> str:
    """Write a setting as a person would."""
    if name == "start_lr" and value is None:
        return "lr / 25"
    return describe_value(value)


def _about_data(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, data = config["model"], config["dataset"]
    rows = [("network", model["name"])]
    if model.get("shortcut"):
        rows.append(("shortcuts", f"option {model['shortcut']}"))
    rows += [
        ("parameters", f"{model['parameters']:,}, {model['dtype']}"),
        ("data set", f"{data['name']}, {len(data['classes'])} classes"),
        ("images", " x ".join(map(str, data["image_shape"]))),
        ("to learn from", f"{data['train']:,}"),
    ]
    if data.get("validation"):
        rows.append(("to choose by", f"{data['validation']:,}"))
    rows.append(("to test on", f"{data['test']:,}"))
    return rows


def _about_machine(
    config: Mapping[str, Any], history: Sequence[Row]
) -> list[tuple[str, str]]:
    where = config["environment"]
    seconds = total(history, "seconds")
    rows = [
        ("time", f"{clock(seconds)}, {clock(seconds / len(history))} an epoch"),
        ("speed", f"{_speed(history):,.0f} images/s while training"),
        ("processor", str(where.get("cpu", "unknown"))),
        ("threads", f"{where['threads']} of {where.get('cpus', '?')}"),
        ("backend", config["numerics"]["backend"]),
        ("system", where["platform"]),
        ("npresnet", config["npresnet"]),
    ]
    versions = [(name.capitalize(), where[name]) for name in ("python", "numba")]
    return [*rows, versions[0], ("NumPy", where["numpy"]), versions[1]]


def _interval(correct: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for the share behind a count.

    References
    ----------
    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical
    Inference".
    """
    z = 1.959964
    share = correct / total
    scale = 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / scale
    spread = share * (1 - share) / total + z**2 / (4 * total**2)
    half = z * math.sqrt(spread) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def _percent(share: float, digits: int = 2) -> str:
    return f"{100 * share:.{digits}f} %"


def _speed(history: Sequence[Row]) -> float:
    """Return the images per second of the median epoch."""
    return median(measured(row, "images_per_second") for row in history)
