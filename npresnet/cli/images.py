"""Image files, as the networks want them."""

from __future__ import annotations

import math
import os
import stat
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.cli.busy import say

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow knows some forty formats, and reads one of them by starting Ghostscript.
_FORMATS = (
    "PNG",
    "JPEG",
    "MPO",  # two JPEGs in one file, as cameras write them; the first counts
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "AVIF",
    "JPEG2000",
    "PPM",
)
_SIGNATURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
# A few kilobytes can hold a picture of any size. As many as Pillow warns of: a quarter
# of a gigabyte in colour.
_MOST_PIXELS = 2**30 // 4 // 3


def read_image(
    path: str, shape: tuple[int, int, int], is_digit: bool
) -> NDArray[np.uint8]:
    """Read an image as bytes of the given shape, and say what had to be done to it.

    An image of another size is cut to the proportions around its centre and resized.
    A digit is found, cropped and scaled as those of the data set were. Transparent
    parts become white.

    Parameters
    ----------
    path : str
        A file in one of the usual formats.
    shape : tuple of int
        ``(C, H, W)``.
    is_digit : bool
        Whether it shows one of the digits: all channels then get the same.

    Raises
    ------
    OSError, ValueError
        If there is no such file, it is no image, or it shows no digit where there
        should be one.
    """
    _check_file(path)
    with warnings.catch_warnings():
        # Pillow warns of what it can do without, such as damaged EXIF data.
        warnings.simplefilter("ignore")
        image = _decoded(path)
        if is_digit:
            return _as_digit(path, image, shape)
        return _as_colours(path, image, shape)


def kind_of_image(path: str | os.PathLike[str]) -> str | None:
    """Return the format of an image file, by its first bytes; None for other files."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            begin = file.read(16)
    except OSError:
        return None
    if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP":
        return "WEBP"
    for signature, kind in _SIGNATURES.items():
        if begin.startswith(signature):
            return kind
    return None


def _check_file(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise ValueError(f"{path}: expected an image, found a folder")
    if not stat.S_ISREG(mode):  # a pipe would be waited for
        raise ValueError(f"{path}: expected an image, found no ordinary file")


def _decoded(path: str) -> Image:
    """Decode a file, and turn the picture as its EXIF data say."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    try:
        with Image.open(path, formats=formats) as opened:
            if math.prod(opened.size) > _MOST_PIXELS:
                size = f"{opened.width:,} by {opened.height:,}"
                raise Image.DecompressionBombError(f"{size} pixels")
            opened.load()
            with suppress(Exception):  # the note may be damaged, the picture is not
                ImageOps.exif_transpose(opened, in_place=True)
            return opened
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path}: larger than {_MOST_PIXELS / 1e6:.0f} million pixels ({error}); "
            "make it smaller first"
        ) from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{path}: not a readable image; expected {', '.join(formats)}"
        ) from None
    except OSError as error:
        if error.errno is None:  # a decoder's
            raise ValueError(f"{path}: not a readable image ({error})") from None
        raise OSError(f"{path}: {error.strerror}") from None
    except Exception as error:  # decoders fail in many ways
        raise ValueError(f"{path}: not a readable image ({error})") from None


def _as_digit(
    path: str, image: Image, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Make a picture like the data set's, and say where the digit was."""
    from PIL import Image as images

    from npresnet.data.handwriting import like_digits

    image = _levelled(path, image)
    grey = image.convert("L")
    if image.mode == "RGBA":
        white = images.new("L", image.size, 255)
        grey = images.composite(grey, white, image.getchannel("A"))
    try:
        digit = like_digits(np.asarray(grey))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    done = ["dark ink on light: inverted"] if digit.inverted else []
    if digit.box is not None:
        left, top, right, bottom = digit.box
        done.append(
            f"ink found at {left},{top} to {right},{bottom} of {grey.width}x"
            f"{grey.height}: cropped, centred and scaled as the data set's digits are"
        )
    if done:
        say(f"{path}: {'; '.join(done)}", err=True)
    return np.repeat(digit.pixels[None], shape[0], axis=0)  # (C, 8, 8)


def _as_colours(
    path: str, image: Image, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Cut a picture to the proportions and resize it, and say so."""
    from PIL import Image as images
    from PIL import ImageOps

    C, H, W = shape
    image = _levelled(path, image)
    if image.size != (W, H):
        width, height = image.size
        cut = min(width, round(height * W / H)), min(height, round(width * H / W))
        kept = max(1, cut[0]), max(1, cut[1])
        done = f"resized from {width}x{height} to {W}x{H}"
        if kept != image.size:
            done = (
                f"cropped from {width}x{height} to {kept[0]}x{kept[1]} around its "
                f"centre, and resized to {W}x{H}"
            )
        say(f"{path}: {done}", err=True)
        image = ImageOps.fit(image, (W, H))
    if image.mode == "RGBA":
        white = images.new("RGBA", image.size, "white")
        image = images.alpha_composite(white, image)
    image = image.convert("L" if C == 1 else "RGB")
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels.reshape(H, W, -1).transpose(2, 0, 1)  # (C, H, W)


def _levelled(path: str, image: Image) -> Image:
    """Bring a picture to 8 bits per channel, with alpha where parts are transparent."""
    from PIL import Image as images

    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        grey = images.fromarray(_levels(path, values))
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            alpha = np.where(values == clear, 0, 255).astype(np.uint8)
            grey.putalpha(images.fromarray(alpha))
            return grey.convert("RGBA")
        return grey
    wanted = ("RGBA",) if image.has_transparency_data else ("RGB", "L")
    try:
        return image if image.mode in wanted else image.convert(wanted[0])
    except ValueError as error:  # such as from CIE's Lab
        raise ValueError(f"{path}: not a readable image ({error})") from None


def _levels(path: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring whole numbers of 16 or 32 bits, or floating-point numbers, down to bytes.

    White is 65,535 in 16 bits. Wider numbers do not say what it is: 1 if none is
    larger and they are floating-point numbers, else 255, else 65,535, else the largest.
    """
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0)
    low, high = float(values.min()), float(values.max())
    black, white = 0.0, 65_535.0
    if values.dtype.itemsize > 2:
        fractions = values.dtype.kind == "f" and high <= 1
        white = 1.0 if fractions else 255.0 if high <= 255 else 65_535.0
        if low < black or high > white:
            black, white = low, max(high, low + 1e-30)
            say(
                f"{path}: numbers from {low:g} to {high:g}, taken for black and white",
                err=True,
            )
    levels = (values.astype(np.float32) - black) * (255 / (white - black))
    bytes_: NDArray[np.uint8] = np.rint(levels).clip(0, 255).astype(np.uint8)
    return bytes_
