"""Images to look at one by one: from files, or from the data set's test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npresnet.cli import options
from npresnet.cli.lens.probe import Network, mode_option, network_of, network_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class View:
    """A network in the mode asked for, and images.

    Attributes
    ----------
    network : Network
        In the mode that was asked for.
    sources : list of str or int
        Each image's file, or its index among the test images.
    pixels : uint8 ndarray of shape (N, C, H, W)
        The images.
    x : ndarray of shape (N, C, H, W)
        The same, normalised.
    """

    network: Network
    sources: list[str | int]
    pixels: NDArray[np.uint8]
    x: NDArray[Any]

    @property
    def grey(self) -> bool:
        """Whether all channels hold the same image."""
        return self.network.dataset == "digits"

    @property
    def facts(self) -> dict[str, Any]:
        """What goes with the result into JSON."""
        return {
            "model": self.network.name,
            "dataset": self.network.dataset,
            "images": self.sources,
        }

    def target(self, name: str | None) -> int | None:
        """Turn a class's name, or its index, into its index.

        Raises
        ------
        ValueError
            If there is no such class.
        """
        classes = self.network.classes
        if name is None:
            return None
        if name in classes:
            return classes.index(name)
        if name.isdecimal() and int(name) < len(classes):
            return int(name)
        raise ValueError(f"--class {name}: expected one of {', '.join(classes)}")


def class_option(command: _Command) -> _Command:
    """Add ``--class``."""
    return click.option(
        "--class",
        "target",
        metavar="NAME",
        help="Class to ask about, by name or index.  [default: the predicted one]",
    )(command)


def fresh_options(command: _Command) -> _Command:
    """Add the options that name and build a network, and ``--threads``."""
    command = options.threads(command)
    command = click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Decides fresh weights.  [default: 0]",
    )(command)
    return network_options(command)


def view_options(images: int) -> Callable[[_Command], _Command]:
    """Add the options that `view` takes.

    Parameters
    ----------
    images : int
        How many test images are looked at where no image is named.
    """

    def add(command: _Command) -> _Command:
        command = mode_option("eval")(command)
        command = click.option(
            "--images",
            "count",
            type=click.IntRange(min=1),
            metavar="N",
            help="The first N test images.  "
            f"[default: {images} where no image is named]",
        )(command)
        command = click.option(
            "--index",
            "indices",
            type=click.IntRange(min=0),
            multiple=True,
            metavar="N",
            help="A test image, counted from 0; may be repeated.",
        )(command)
        command = click.option(
            "--image",
            "files",
            type=click.Path(),
            multiple=True,
            metavar="FILE",
            help="An image file, taken as predict takes it; may be repeated.",
        )(command)
        return fresh_options(command)

    return add


def view(
    what: str,
    *,
    default: int,
    files: tuple[str, ...],
    indices: tuple[int, ...],
    count: int | None,
    mode: str,
    dataset: str | None,
    data_dir: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    seed: int,
) -> View:
    """Build the network that `what` names, and gather the images.

    Parameters
    ----------
    what : str
        A network's name, a run folder, or a file of weights.
    default : int
        Test images where none is named.
    files, indices, count
        Image files, test images one by one, and the first few of them.
    mode, dataset, data_dir, model, shortcut, normalization, seed
        The options of the same names.

    Raises
    ------
    ValueError, OSError
        If there is no such thing, or something about it stays unknown.
    """
    import numpy as np

    from npresnet.cli.train import load_data
    from npresnet.data import normalize

    one = network_of(what, dataset, data_dir, model, shortcut, normalization, seed)
    if count is None:
        count = 0 if files or indices else default
    taken = [*indices, *range(count)]
    pixels = _read(files, one)
    if taken:
        _, test = load_data(one.dataset, one.data_dir)
        if max(taken) >= len(test):
            raise ValueError(
                f"--index, --images: {one.dataset} has {len(test)} test images, "
                f"counted from 0; got {max(taken)}"
            )
        pixels += [test.images[i] for i in taken]
    stacked = np.stack(pixels)
    one.model.train(mode == "train")
    sources = [*files, *taken]
    return View(one, sources, stacked, normalize(stacked, one.mean, one.std))


def _read(files: tuple[str, ...], network: Network) -> list[NDArray[np.uint8]]:
    """Read all files, or name all that cannot be read: a result is of all images."""
    from npresnet.cli.images import read_image

    pixels, unreadable = [], []
    for file in files:
        try:
            is_digit = network.dataset == "digits"
            pixels.append(read_image(file, network.image_shape, is_digit))
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
    if unreadable:
        raise ValueError("; ".join(unreadable))
    return pixels
