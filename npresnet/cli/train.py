"""``npresnet train``."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, get_args

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import abridged, shown_message

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module
    from npresnet.training import Recipe, Run, RunFolder

# Settings that have an option of their own.
_OWN_OPTIONS = ("epochs", "batch_size", "lr")


@click.command(cls=Command)
@options.data
@click.option(
    "--download",
    is_flag=True,
    help="Fetch CIFAR-10 (162 MiB, checksum verified) where --data-dir has none.",
)
@options.network
@click.option(
    "--recipe",
    metavar="NAME",
    help="Settings to train with; see: npresnet recipes.  [default: the data set's]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Passes over the training set.  [default: the recipe's]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images per step.  [default: the recipe's]",
)
@click.option(
    "--lr",
    type=float,
    metavar="RATE",
    help="Highest learning rate, per step.  [default: the recipe's]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SETTING=VALUE",
    help="Any other setting, such as cutout=8 or validation=5000; may come more than "
    "once. See: npresnet recipes NAME.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    metavar="N",
    help="Decides the initial weights, the order of images and their augmentation: "
    "same seed, same bits.  [default: 0]",
)
@options.threads
@click.option(
    "--out",
    type=click.Path(),
    metavar="DIR",
    help="Run folder; must not hold a run.  [default: a new one under runs/]",
)
@click.option(
    "--resume",
    type=click.Path(),
    metavar="DIR",
    help="Continue the run in this folder, with everything as it was.",
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=True,
    help="Take steps as one program, or layer by layer: the same bits.  "
    "[default: compile]",
)
@click.option(
    "--quiet", is_flag=True, help="No progress; only the result, and warnings."
)
@options.as_json
def train(**given: Any) -> None:
    """Train a network and leave a run folder.

    Without options: a small ResNet on the 1,437 handwritten digits that ship with
    npresnet, about a minute on two cores, part of it compiling the kernels the
    first time.

    The run folder holds
      config.json          everything that decided the run, and where it ran
      metrics.csv          per epoch: lr, losses (nats), accuracies (0 to 1), seconds
      weights.safetensors  the final weights, or the latest while it runs
      curves.png           the learning curves, drawn anew while it runs
      report.html          what came of it, on one page, written in the end
      checkpoint*          what --resume needs

    A terminal shows two live bars and a line per epoch; anything else gets plain
    lines. With --json they go to standard error, and standard output is one JSON
    object: folder, report, model, dataset, recipe, seed, epochs, seconds, and what
    eval --json says of the test images.

    Ctrl-C finishes the batch under way, writes a checkpoint and stops: nothing is
    lost. Checkpoints are also written after every epoch, and every two minutes in
    between, for the day that somebody pulls the plug. A run that is resumed ends
    with the same bits as one that was never stopped.

    Try:
      npresnet train
      npresnet train --epochs 5 --seed 3 --out runs/short
      npresnet train --dataset cifar10 --data-dir data --model resnet8 --epochs 3
      npresnet train --recipe cifar10-fast --data-dir data --set cutout=8
      npresnet train --resume runs/short
    """
    from npresnet.training.metrics import total

    options.use_threads(given["threads"])
    if given["resume"] is not None:
        run, plan = _resume(given)
    else:
        run, plan = _begin(given)
    test = run.test
    if given["as_json"]:
        options.print_json(
            {
                "folder": str(run.folder),
                "report": str(run.folder / "report.html"),
                **plan,
                "epochs": len(run.history),
                "seconds": total(run.history, "seconds"),
                **test.to_dict(),
            }
        )
        return
    mirrored = ", mirror images looked at, too" if test.flip else ""
    click.echo(
        f"{test.total:,} test images, {test.correct:,} right "
        f"({100 * test.accuracy:.2f} %), loss {test.loss:.4f}{mirrored}"
    )
    click.echo(f"run folder: {shown_path(run.folder)}")
    click.echo(f"report: {shown_path(run.folder / 'report.html')}")


def _begin(given: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Start a new run."""
    from npresnet.training import recipes

    if given["recipe"] is not None:
        named = recipes.get(given["recipe"])
    else:
        named = recipes.default_for(given["dataset"] or "digits")
    model_name = given["model"] or named.model
    shortcut = given["shortcut"]
    if shortcut is None and _has_shortcuts_to_choose(model_name):
        shortcut = named.shortcut
    recipe = named.changed(dataset=given["dataset"], **_changes(given))
    plan = {
        "model": model_name,
        "shortcut": shortcut,
        "dataset": recipe.dataset,
        "recipe": recipe.name,
        "seed": given["seed"] or 0,
    }
    data = load_data(recipe.dataset, given["data_dir"], given["download"])
    return _fit(given, plan, recipe, data, {"out": given["out"]}), plan


def _has_shortcuts_to_choose(model: str) -> bool:
    from npresnet.models.registry import CIFAR

    return model in CIFAR and model.startswith("resnet")


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    """Collect the settings that options change: ``--lr`` and its like, ``--set``."""
    from npresnet.training.setting_text import read_setting

    changes = {name: given[name] for name in _OWN_OPTIONS if given[name] is not None}
    for text in given["settings"]:
        try:
            name, value = read_setting(text)
        except ValueError as error:
            raise ValueError(f"--set: {error}") from None
        if name in ("dataset", "model", "shortcut"):
            raise ValueError(f"--set: {name} has an option of its own, --{name}")
        if name in changes:
            raise ValueError(f"--set: {name} is given twice")
        changes[name] = value
    return changes


def _repeat(given: dict[str, Any], plan: dict[str, Any], recipe: Recipe) -> str:
    """Write the command that repeats a run, whatever the defaults will be."""
    from npresnet.training.setting_text import describe_value

    words = ["npresnet", "train", "--recipe", plan["recipe"]]
    for name in ("dataset", "model", "shortcut", "seed"):
        if plan[name] is not None:
            words += [f"--{name}", str(plan[name])]
    if given["data_dir"]:
        words += ["--data-dir", given["data_dir"]]
    for name in _changes(given):
        value = describe_value(getattr(recipe, name))
        if name in _OWN_OPTIONS:
            words += [f"--{name.replace('_', '-')}", value]
        else:
            words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def _resume(given: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """Continue a run with what its folder says."""
    from npresnet.training import Recipe, RunFolder

    folder = RunFolder.open(given["resume"])
    config = read_known_config(folder)
    recipe = Recipe.from_dict(config["recipe"])
    plan = {
        "model": config["model"]["name"],
        "shortcut": config["model"].get("shortcut"),
        "dataset": config["dataset"]["name"],
        "recipe": recipe.name,
        "seed": config["seed"],
    }
    kept = {**recipe.settings(), **plan, "out": given["resume"]}
    wanted = {name: given[name] for name in (*plan, "out")} | _changes(given)
    for name, value in wanted.items():
        if value is not None and value != kept[name]:
            own = name in given
            option = f"--{name.replace('_', '-')} {value}" if own else f"--set {name}"
            raise ValueError(
                f"{option}: the run in {given['resume']} has {kept[name]}; "
                "leave the option out, or start a new run"
            )
    data_dir = given["data_dir"] or config["dataset"].get("data_dir")
    data = load_data(plan["dataset"], data_dir, given["download"])
    return _fit(given, plan, recipe, data, {"resume": given["resume"]}), plan


def read_known_config(folder: RunFolder) -> dict[str, Any]:
    """Read the ``config.json`` of a run whose network and data have names here.

    Raises
    ------
    ValueError
        If it cannot be read, or one of them has none: it was trained from Python.
    """
    from npresnet import data, models
    from npresnet.models.resnet import Shortcut

    config = folder.read_config()
    named = {
        "model.name": (config["model"]["name"], models.names()),
        "dataset.name": (config["dataset"]["name"], data.names()),
        "model.shortcut": (
            config["model"].get("shortcut"),
            [None, *get_args(Shortcut)],
        ),
    }
    for entry, (name, known) in named.items():
        if name not in known:
            names = ", ".join(filter(None, known))
            raise ValueError(
                f"{shown_path(folder.config_path)}: the entry {entry!r}: expected one "
                f"of {names}, found {abridged(name)}"
            )
    return config


def _fit(
    given: dict[str, Any],
    plan: dict[str, Any],
    recipe: Recipe,
    data: tuple[Dataset, Dataset],
    where: dict[str, Any],
) -> Run:
    from npresnet.training import fit
    from npresnet.training.progress import make_progress

    train_set, test_set = data
    model = build_model(
        plan["model"], plan["shortcut"], len(train_set.classes), plan["seed"]
    )
    data_dir = given["data_dir"]
    return fit(
        model,
        train_set,
        test_set,
        recipe=recipe,
        seed=plan["seed"],
        compiled=given["compiled"],
        progress=make_progress(
            given["quiet"], sys.stderr if given["as_json"] else None
        ),
        record={
            "model": {"name": plan["model"], "shortcut": plan["shortcut"]},
            "dataset": {"data_dir": _absolute(data_dir) if data_dir else None},
            "environment": {"repeat": _repeat(given, plan, recipe)},
        },
        **where,
    )


def _absolute(data_dir: str) -> str:
    """Write a folder's path so that it means the same wherever a run goes on."""
    from npresnet.data._places import expanded

    return os.path.realpath(expanded(data_dir))


def build_model(
    name: str,
    shortcut: str | None,
    classes: int,
    seed: int = 0,
    in_channels: int = 3,
) -> Module:
    """Build a network by name; `shortcut` None leaves its default.

    Raises
    ------
    ValueError
        If there is no such network, or it does not take `shortcut`.
    """
    from npresnet import models

    choice = {} if shortcut is None else {"shortcut": shortcut}
    if choice and name in models.names() and not _has_shortcuts_to_choose(name):
        raise ValueError(
            f"--shortcut: {name} has no such choice; only CIFAR's ResNets have"
        )
    return models.create(
        name, num_classes=classes, seed=seed, in_channels=in_channels, **choice
    )


def load_data(
    name: str, data_dir: str | None, download: bool = False
) -> tuple[Dataset, Dataset]:
    """Load a data set; offer to download it where it is missing and a person asks."""
    from npresnet import data

    if name != "digits" and name in data.names() and not data_dir:
        raise ValueError(
            f"--data-dir: {name} needs a folder; name the one that holds it, or an "
            "empty one to download it to"
        )
    try:
        return data.load(name, data_dir, download=download)
    except FileNotFoundError as error:
        text = str(error).replace("download=True", "--download")
        if download or not _a_person_is_there():
            raise FileNotFoundError(text) from None
        click.echo(shown_message(text), err=True)
        if not click.confirm("Download it now (162 MiB)?", err=True):
            raise FileNotFoundError(text) from None
    return data.load(name, data_dir, download=True)


def _a_person_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
