"""``npresnet predict``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from npresnet.cli import options
from npresnet.cli.busy import busy, say
from npresnet.cli.help import Command
from npresnet.cli.images import kind_of_image, read_image
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import shown_message

if TYPE_CHECKING:
    from npresnet.cli.subject import Subject

_SHOWN = 3  # the class and its runners-up
# Images at a time, and their pixels: however many there are, memory holds so many.
_BATCH, _BATCH_PIXELS = 64, 64 * 224 * 224


@click.command(cls=Command)
@click.argument("weights", type=click.Path())
@click.argument(
    "images", type=click.Path(), nargs=-1, required=True, metavar="IMAGE..."
)
@click.option("--dataset", metavar="NAME", help="What WEIGHTS were trained on.")
@options.network
@click.option(
    "--normalization",
    metavar="cifar10|imagenet|MEAN/STD",
    help="As for eval.  [default: the data set's]",
)
@options.as_json
def predict(
    weights: str,
    images: tuple[str, ...],
    dataset: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    as_json: bool,
) -> None:
    """Name the class of each IMAGE (PNG, JPEG, ...) with WEIGHTS.

    Prints the class with its probability, and the runners-up. An image of another
    size is cut to the data set's proportions around its centre and resized, and that
    is said. Transparent parts become white. For weights trained on the digits, the
    ink is found, cropped, centred and scaled as in the data set, bright or dark.

    What is no image is named on standard error, a line each, and the status is 2;
    the others are answered all the same.

    Try:
      npresnet predict runs/NAME/weights.safetensors cat.png dog.jpg
      npresnet predict runs/NAME/weights.safetensors *.png --json
    """
    from npresnet import no_grad
    from npresnet.cli.subject import identify
    from npresnet.data import normalize

    _refuse_swapped(weights)
    subject = identify(weights, model, shortcut, dataset, None, normalization)
    network = subject.build()
    answers: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    done = 0
    with busy("predict") as progress:
        for paths, pixels in _batches(images, subject, unreadable):
            with no_grad():
                logits = network(normalize(pixels, subject.mean, subject.std))
            for path, row in zip(paths, _softmax(logits), strict=True):  # (classes,)
                answer = _answer(path, row, subject.classes)
                if as_json:
                    answers.append(answer)
                else:
                    _print(answer)
            done += len(paths)
            if progress is not None:
                progress(done + len(unreadable), len(images))
    if as_json:
        options.print_json({"predictions": answers, "unreadable": unreadable})
    if unreadable:
        click.get_current_context().exit(2)


def _refuse_swapped(weights: str) -> None:
    """Say so where the first argument is an image."""
    if (kind := kind_of_image(weights)) is not None:
        raise ValueError(
            f"{shown_path(weights)}: expected a file of weights, found a picture "
            f"({kind}); WEIGHTS comes first, then IMAGE..."
        )


def _batches(
    paths: Sequence[str], subject: Subject, unreadable: list[dict[str, str]]
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """Read images in batches (N, C, H, W); name those that cannot be read."""
    _, H, W = subject.image_shape
    size = max(1, min(_BATCH, _BATCH_PIXELS // (H * W)))
    names: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    for path in paths:
        try:
            image = read_image(path, subject.image_shape, subject.dataset == "digits")
        except (OSError, ValueError) as error:
            text = shown_message(error)
            unreadable.append({"image": path, "error": text})
            say(f"npresnet: error: {text}", err=True)
            continue
        names.append(path)
        pixels.append(image)
        if len(names) == size:
            yield names, np.stack(pixels)
            names, pixels = [], []
    if names:
        yield names, np.stack(pixels)


def _print(answer: dict[str, Any]) -> None:
    others = ", ".join(
        f"{other['class']} {100 * other['probability']:.1f} %"
        for other in answer["runners_up"]
    )
    say(
        f"{shown_path(answer['image'])}: {answer['class']} "
        f"{100 * answer['probability']:.1f} %  (then {others})"
    )


def _answer(
    path: str, probabilities: NDArray[Any], classes: tuple[str, ...]
) -> dict[str, Any]:
    first, *others = [
        {"class": classes[i], "label": int(i), "probability": float(probabilities[i])}
        for i in np.argsort(-probabilities, kind="stable")[:_SHOWN]
    ]
    return {"image": path, **first, "runners_up": others}


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[Any] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares
