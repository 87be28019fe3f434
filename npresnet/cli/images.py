"""Image files, as the networks want them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(path: str, shape: tuple[int, int, int], grey: bool) -> NDArray[np.uint8]:
    """Read an image as bytes of the given shape, and say what had to be done to it.

    An image of another size is cut to the proportions around its centre and resized;
    transparent parts become white.

    Parameters
    ----------
    path : str
        PNG, JPEG, or what else Pillow reads.
    shape : tuple of int
        ``(C, H, W)``.
    grey : bool
        Whether all channels get the image in grey.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it is no image.
    """
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
