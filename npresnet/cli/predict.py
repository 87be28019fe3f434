"""``npresnet predict``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from npresnet.cli import options
from npresnet.cli.help import Command

if TYPE_CHECKING:
    from PIL.Image import Image

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
    pixels = np.stack([_read(path, subject.image_shape, grey) for path in images])
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
            f"{answer['image']}: {answer['class']} "
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


def _read(path: str, shape: tuple[int, int, int], grey: bool) -> NDArray[np.uint8]:
    """Read an image as bytes of the given shape (C, H, W)."""
    from PIL import Image, ImageOps

    C, H, W = shape
    try:
        with warnings.catch_warnings():
            # Of a decompression bomb, for one: it is then refused.
            warnings.simplefilter("error")
            with Image.open(path) as opened:
                image = _opaque(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: expected an image, found a folder") from None
    except PermissionError:
        raise
    except Exception as error:  # decoders fail in many ways
        raise ValueError(f"{path}: not a readable image ({error})") from None

    image = image.convert("L" if grey else "RGB")
    if image.size != (W, H):
        click.echo(
            f"{path}: resized from {image.width}x{image.height} to {W}x{H}", err=True
        )
        image = ImageOps.fit(image, (W, H))
    pixels = np.asarray(image, dtype=np.uint8)
    if grey:
        if pixels.mean() > 127:
            click.echo(f"{path}: mostly light; white on black is expected", err=True)
        return np.repeat(pixels[None], C, axis=0)  # (C, H, W)
    return pixels.transpose(2, 0, 1)  # (C, H, W)


def _opaque(image: Image) -> Image:
    """Put an image on white where it is transparent; bring 16 bits down to 8."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.int64)
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, coloured)
    return image.copy()
