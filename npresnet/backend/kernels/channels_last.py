"""Images as kernels hold them: shape (N, C, H, W), channels side by side in memory.

Where the channels of a pixel are neighbours, vectors run along channels: padding,
strides, borders and odd sizes are then mere addresses, and no sum goes across lanes.
PyTorch calls this the memory format ``channels_last``. Callers notice nothing but
strides: kernels take images of any layout and return this one.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike, NDArray

from npresnet.backend.kernels import memory
from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.threads import parallel_for


def pixels(images: NDArray[Any]) -> NDArray[Any]:
    """See images (N, C, H, W) as pixels (N, H, W, C), copied only if laid out else."""
    seen = images.transpose(0, 2, 3, 1)
    if seen.flags.carray:  # as everything is that kernels return
        return seen
    if images.flags.c_contiguous:
        out = memory.empty(seen.shape, seen.dtype)
        parallel_for(_interleave, len(out), out, dense(images))
        return out
    return dense(seen)


def interleave(target: NDArray[Any], images: NDArray[Any]) -> None:
    """Copy images in C order into room that `empty_images` has made."""
    parallel_for(_interleave, len(images), pixels(target), dense(images))


def empty_images(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make room for images (N, C, H, W), so laid out that `pixels` is a view."""
    N, C, H, W = shape
    return memory.empty((N, H, W, C), dtype).transpose(0, 3, 1, 2)


@kernel
def _interleave(pixels, images, first, last):
    """Put the channels of each pixel side by side."""
    _, C, H, W = images.shape
    for n in range(first, last):
        for h in range(H):
            for c in range(C):
                row, source = pixels[n, h], images[n, c, h]
                for w in range(W):
                    row[w, c] = source[w]
