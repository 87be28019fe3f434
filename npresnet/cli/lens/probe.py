"""What an instrument looks at: a network, and a batch of images for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npresnet.cli import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from npresnet.nn import Module

_Command = TypeVar("_Command", bound=Callable[..., Any])


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
        Normalised training images (N, C, H, W), and labels.
    """

    label: str
    name: str
    dataset: str
    model: Module
    x: NDArray[Any]
    y: NDArray[Any]


def batch_options_of(
    images: int = 32,
    mode: str | None = "train",
    seed_decides: str = "fresh weights and which images are taken",
) -> Callable[[_Command], _Command]:
    """Return what adds the options that `probe` takes, and ``--threads``.

    Parameters
    ----------
    images : int
        Default of ``--images``.
    mode : {"train", "eval"} or None
        Default of ``--mode``; None: as the network is used, see `probe`.
    seed_decides : str
        For the help of ``--seed``.
    """
    default_mode = mode or "eval for trained weights, train for fresh ones"

    def add(command: _Command) -> _Command:
        command = options.threads(command)
        command = click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            metavar="N",
            help=f"Decides {seed_decides}.  [default: 0]",
        )(command)
        command = click.option(
            "--mode",
            type=click.Choice(["train", "eval"]),
            default=mode,
            help="Whether batch norm uses the batch's statistics or the running ones.  "
            f"[default: {default_mode}]",
        )(command)
        command = click.option(
            "--images",
            type=click.IntRange(min=1),
            default=images,
            metavar="N",
            help=f"Training images in the batch.  [default: {images}]",
        )(command)
        command = click.option(
            "--normalization",
            metavar="cifar10|imagenet|MEAN/STD",
            help="As for eval.  [default: the data set's]",
        )(command)
        return options.data(options.network(command))

    return add


batch_options = batch_options_of()


def probe(
    what: str,
    *,
    dataset: str | None,
    data_dir: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    images: int,
    mode: str | None,
    seed: int,
) -> Probe:
    """Build the network that `what` names, and draw a batch for it.

    Parameters
    ----------
    what : str
        A network's name, a run folder, or a file of weights.
    dataset, data_dir, model, shortcut, normalization, images, mode, seed
        The options of the same names. No mode: evaluation for a file of weights,
        training for a fresh network, which has no running statistics yet.

    Raises
    ------
    ValueError, FileNotFoundError
        If there is no such thing, or something about it stays unknown.
    """
    from npresnet.cli.subject import identify
    from npresnet.cli.train import build_model, load_data
    from npresnet.data import batches
    from npresnet.models import names

    mean = std = None
    if what in names():
        if model not in (None, what):
            raise ValueError(f"--model {model}: {what} already names a network")
        dataset = dataset or "digits"
        name = label = what
        train, _ = load_data(dataset, data_dir)
        network = build_model(what, shortcut, len(train.classes), seed)
        if normalization is not None:
            channels = train.images.shape[1]
            mean, std = options.parse_normalization(normalization, channels)
    else:
        path = weights_file(what)
        subject = identify(str(path), model, shortcut, dataset, data_dir, normalization)
        dataset, mean, std = subject.dataset, subject.mean, subject.std
        name, network = subject.model, subject.build()
        label = label_of(path)
        train, _ = load_data(dataset, subject.data_dir)
    if images > len(train):
        raise ValueError(
            f"--images {images}: {dataset} has {len(train)} training images"
        )
    stream = batches(
        train, images, shuffle=True, seed=seed, epoch=0, mean=mean, std=std
    )
    x, y = next(stream)
    mode = mode or ("train" if what in names() else "eval")
    network.train(mode == "train")
    return Probe(label, name, dataset, network, x, y)


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
                f"{path}: expected a run folder, but weights.safetensors is missing"
            )
        return inside
    if not path.exists():
        raise FileNotFoundError(
            f"{what}: neither a network (see: npresnet models) nor a file of weights "
            "or a run folder"
        )
    return path


def label_of(path: Path) -> str:
    """Return a short name of a file of weights: its own, or its run folder's."""
    path = path.resolve()
    return path.parent.name if path.name == "weights.safetensors" else path.stem
