"""What an instrument looks at: a network, and a batch of images for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npresnet.cli import options
from npresnet.untrusted.files import shown_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from npresnet.nn import Module

_Command = TypeVar("_Command", bound=Callable[..., Any])

_MOST_IMAGES = 1000  # as many are looked at unless told otherwise


@dataclass(frozen=True)
class Probe:
    """A network in the mode asked for, and a batch.

    Attributes
    ----------
    label : str
        Short, for file names.
    name : str
        The network's name.
    dataset : str
        Where the images are from.
    model : Module
        With fresh or loaded weights.
    x, y : ndarray
        Normalised images (N, C, H, W), and labels.
    """

    label: str
    name: str
    dataset: str
    model: Module
    x: NDArray[Any]
    y: NDArray[Any]


def batch_options_of(
    images: int | None = 32,
    mode: str | None = "train",
    part: str = "training",
    seed_decides: str = "fresh weights and which images are taken",
) -> Callable[[_Command], _Command]:
    """Return what adds the options that `probe` takes, and ``--threads``.

    Parameters
    ----------
    images : int or None
        Default of ``--images``; None: see `probe`.
    mode : {"train", "eval"} or None
        Default of ``--mode``; None: as the network is used, see `probe`.
    part : {"training", "test"}
        Which images the command takes.
    seed_decides : str
        For the help of ``--seed``.
    """
    default = f"{_MOST_IMAGES:,}, or all" if images is None else images

    def add(command: _Command) -> _Command:
        command = options.threads(command)
        command = click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help=f"Decides {seed_decides}.  [default: 0]",
        )(command)
        command = mode_option(mode)(command)
        command = click.option(
            "--images",
            type=click.IntRange(min=1),
            default=images,
            metavar="N",
            help=f"{part.capitalize()} images to look at.  [default: {default}]",
        )(command)
        return network_options(command)

    return add


batch_options = batch_options_of()


def network_options(command: _Command) -> _Command:
    """Add the options that say which network it is, and for which images."""
    command = click.option(
        "--normalization",
        metavar="cifar10|imagenet|MEAN/STD",
        help="As for eval.  [default: the data set's]",
    )(command)
    return options.data(options.network(command))


def mode_option(default: str | None) -> Callable[[_Command], _Command]:
    """Add ``--mode``."""
    shown = default or "eval for trained weights, train for fresh ones"
    return click.option(
        "--mode",
        type=click.Choice(["train", "eval"]),
        default=default,
        help="Whether batch norm uses the batch's statistics or the running ones.  "
        f"[default: {shown}]",
    )


def probe(
    what: str,
    *,
    dataset: str | None,
    data_dir: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    images: int | None,
    mode: str | None,
    seed: int,
    part: str = "training",
) -> Probe:
    """Build the network that `what` names, and draw a batch for it.

    Parameters
    ----------
    what : str
        A network's name, a run folder, or a file of weights.
    dataset, data_dir, model, shortcut, normalization, images, mode, seed
        The options of the same names. No images: 1,000, or all there are. No mode:
        evaluation for a file of weights, training for a fresh network, which has no
        running statistics yet.
    part : {"training", "test"}
        Which images to take.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such thing, or something about it stays unknown.
    """
    from npresnet.cli.train import load_data
    from npresnet.data import batches
    from npresnet.models import names

    one = network_of(what, dataset, data_dir, model, shortcut, normalization, seed)
    chosen = load_data(one.dataset, one.data_dir)[part == "test"]
    if images is None:
        images = min(_MOST_IMAGES, len(chosen))
    elif images > len(chosen):
        raise ValueError(
            f"--images {images}: {one.dataset} has {len(chosen)} {part} images"
        )
    stream = batches(
        chosen, images, shuffle=True, seed=seed, epoch=0, mean=one.mean, std=one.std
    )
    x, y = next(stream)
    mode = mode or ("train" if what in names() else "eval")
    one.model.train(mode == "train")
    return Probe(one.label, one.name, one.dataset, one.model, x, y)


@dataclass(frozen=True)
class Network:
    """A network, and what is known of the images that it takes.

    Attributes
    ----------
    label, name, dataset, model
        As in `Probe`.
    data_dir : str or None
        Folder that holds the data set.
    classes : tuple of str
        Names of the classes.
    image_shape : tuple of int
        ``(C, H, W)``.
    mean, std : array_like
        How images are normalised.
    """

    label: str
    name: str
    dataset: str
    model: Module
    data_dir: str | None
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: Any
    std: Any


def network_of(
    what: str,
    dataset: str | None,
    data_dir: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    seed: int,
) -> Network:
    """Build the network that `what` names; see `probe` for the parameters.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such thing, or something about it stays unknown.
    """
    from npresnet.cli.subject import facts_of, identify
    from npresnet.cli.train import build_model
    from npresnet.models import names

    if what not in names():
        path = weights_file(what)
        known = identify(str(path), model, shortcut, dataset, data_dir, normalization)
        return Network(
            label_of(path),
            known.model,
            known.dataset,
            known.build(),
            known.data_dir,
            known.classes,
            known.image_shape,
            known.mean,
            known.std,
        )
    if model not in (None, what):
        raise ValueError(f"--model {model}: {what} already names a network")
    dataset = dataset or "digits"
    facts = facts_of(dataset)
    classes, shape = tuple(facts["classes"]), tuple(facts["image_shape"])
    mean, std = facts["mean"], facts["std"]
    if normalization is not None:
        mean, std = options.parse_normalization(normalization, shape[0])
    built = build_model(what, shortcut, len(classes), seed)
    return Network(what, what, dataset, built, data_dir, classes, shape, mean, std)


@dataclass(frozen=True)
class BareNetwork:
    """A network that is looked at without images of a data set.

    Attributes
    ----------
    label, name, model
        As in `Probe`.
    image_shape : tuple of int
        ``(C, H, W)``.
    """

    label: str
    name: str
    model: Module
    image_shape: tuple[int, int, int]


def bare_network(
    what: str,
    model: str | None,
    shortcut: str | None,
    dataset: str | None,
    shape: tuple[int, int, int] | None,
) -> BareNetwork:
    """Build the network that `what` names, for images of a shape.

    Parameters
    ----------
    what : str
        A network's name, a run folder, or a file of weights.
    model, shortcut, dataset
        The options of the same names.
    shape : tuple of int or None
        ``(C, H, W)``; None: what the network was made for.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such thing, or something about it stays unknown.
    """
    from npresnet.cli.subject import identify
    from npresnet.cli.summary import default_classes
    from npresnet.cli.train import build_model
    from npresnet.models import input_shape, names

    if what in names():
        designed = input_shape(what)
        shape = shape or designed
        classes = default_classes(designed)
        built = build_model(what, shortcut, classes, in_channels=shape[0])
        return BareNetwork(what, what, built, shape)
    path = weights_file(what)
    subject = identify(str(path), model, shortcut, dataset)
    shape = shape or subject.image_shape
    return BareNetwork(label_of(path), subject.model, subject.build(), shape)


def weights_file(what: str) -> Path:
    """Return the file of weights that a path means: itself, or a run folder's.

    Raises
    ------
    FileNotFoundError
        If there is nothing there, and no network of that name.
    ValueError
        If it is a folder without a run.
    """
    path = Path(what)
    if path.is_dir():
        inside = path / "weights.safetensors"
        if not inside.exists():
            raise ValueError(
                f"{shown_path(path)}: expected a run folder, but weights.safetensors "
                "is missing"
            )
        return inside
    if not path.exists():
        raise FileNotFoundError(
            f"{shown_path(what)}: neither a network (see: npresnet models) nor a file "
            "of weights or a run folder"
        )
    return path


def label_of(path: Path) -> str:
    """Return a short name of a file of weights: its own, or its run folder's."""
    path = Path(os.path.realpath(path))
    return path.parent.name if path.name == "weights.safetensors" else path.stem
