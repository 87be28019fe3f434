"""``npresnet predict``."""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.images import read_image
from npresnet.untrusted.files import shown_path

_SHOWN = 3  # the class and its runners-up


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
    is said. Transparent parts become white. For weights trained on the digits,
    images become grey; white ink on black is expected.

    Try:
      npresnet predict runs/NAME/weights.safetensors cat.png dog.jpg
      npresnet predict runs/NAME/weights.safetensors *.png --json
    """
    from npresnet import no_grad
    from npresnet.cli.subject import identify
    from npresnet.data import normalize

    subject = identify(weights, model, shortcut, dataset, None, normalization)
    grey = subject.dataset == "digits"
    pixels = np.stack([read_image(path, subject.image_shape, grey) for path in images])
    network = subject.build()
    with no_grad():
        logits = network(normalize(pixels, subject.mean, subject.std))  # (N, classes)
    answers = [
        _answer(path, row, subject.classes)
        for path, row in zip(images, _softmax(logits), strict=True)
    ]
    if as_json:
        options.print_json({"predictions": answers})
        return
    for answer in answers:
        others = ", ".join(
            f"{other['class']} {100 * other['probability']:.1f} %"
            for other in answer["runners_up"]
        )
        click.echo(
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
