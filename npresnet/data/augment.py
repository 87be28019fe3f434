"""Random crops, flips and cutout of a whole batch, and the normalisation after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, DTypeLike, NDArray

from npresnet import _arguments
from npresnet._plain import plain

Augmentation: TypeAlias = Callable[
    [NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]
]


@dataclass(frozen=True)
class RandomCropFlip:
    """Cut a random window out of every padded image, mirror half, cover a square.

    Each image draws its own window, uniformly among the (2*padding + 1)**2, its own
    flip, with probability 1/2, and the centre of its own square, uniformly among
    its pixels.

    Parameters
    ----------
    padding : int, default 4
        Pixels added on all four sides; 0 leaves the images where they are.
    flip : bool, default True
        Whether to mirror left and right. Not for digits, which have a handedness.
    fill : tuple of int, optional
        The byte that fills padding and square, per channel. `batches` puts the mean
        of the data set here where none is given.
    cutout : int, default 0
        Side in pixels of a square that is covered [2]_; 0 covers nothing. The part
        of it that lies outside the image has no effect: near the border less is
        covered.

    Raises
    ------
    TypeError, ValueError
        If `padding` or `cutout` is not an integer of 0 or more, or `fill` holds
        something else than bytes.

    Notes
    -----
    The paper [1]_ subtracts the mean and then pads with zeros. Padding bytes with
    the rounded mean comes to the same, up to the rounding: the padding is
    within 0.5/255/std of 0 after normalisation. Padding bytes with 0 would surround
    the image with black.

    Without cutout, windows and flips are those that they always were: what is
    switched off draws nothing.

    References
    ----------
    .. [1] K. He et al. (2016). Deep Residual Learning for Image Recognition.
       arXiv:1512.03385, section 4.2: "4 pixels are padded on each side, and a 32x32
       crop is randomly sampled from the padded image or its horizontal flip".
    .. [2] T. DeVries, G. W. Taylor (2017). Improved Regularization of Convolutional
       Neural Networks with Cutout. arXiv:1708.04552, section 3.2: a square of fixed
       size, 16 pixels for CIFAR-10, centred on a pixel drawn uniformly, zero after
       normalisation.

    Examples
    --------
    >>> images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    >>> augment = RandomCropFlip(padding=1, fill=(0, 0, 0))
    >>> augment(images, np.random.default_rng(0)).shape
    (2, 3, 4, 4)
    """

    padding: int = 4
    flip: bool = True
    fill: tuple[int, ...] | None = None
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("padding", "cutout"):
            _arguments.whole(name, getattr(self, name), 0)
        _arguments.truth("flip", self.flip)
        if self.fill is not None:
            object.__setattr__(self, "fill", _bytes("fill", self.fill))

    def __call__(
        self, images: NDArray[np.uint8], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Augment one batch.

        Parameters
        ----------
        images : uint8 ndarray of shape (N, C, H, W)
            Left as it is.
        rng : numpy.random.Generator
            Draws the windows, then the flips, then the squares.

        Returns
        -------
        uint8 ndarray of shape (N, C, H, W)
            A new array.

        Raises
        ------
        TypeError, ValueError
            If `images` is not such an array, or `fill` does not fit its channels.
        """
        images = check_images(images)
        N, C, H, W = images.shape
        if self.padding or self.cutout:
            fill = self._checked_fill(C)
        if self.padding:
            windows = sliding_window_view(self._pad(images, fill), (H, W), axis=(2, 3))
            top, left = rng.integers(0, 2 * self.padding + 1, size=(2, N))
            # One index per image picks its window: (N, C, 2P+1, 2P+1, H, W) -> images.
            out = windows[np.arange(N), :, top, left]  # (N, C, H, W)
        else:
            out = images.copy()
        if self.flip:
            mirrored = rng.integers(0, 2, size=N, dtype=np.bool_)
            out[mirrored] = out[mirrored, :, :, ::-1]
        if self.cutout:
            rows = self._covered(H, rng.integers(0, H, size=(N,)))  # (N, H)
            columns = self._covered(W, rng.integers(0, W, size=(N,)))  # (N, W)
            square = rows[:, None, :, None] & columns[:, None, None, :]  # (N, 1, H, W)
            np.copyto(out, fill, where=square)
        return out

    def _checked_fill(self, channels: int) -> NDArray[np.uint8]:
        if self.fill is None:
            raise ValueError(
                "fill: needed to pad or to cover; give one byte per channel, such as "
                "mean_fill(dataset.mean)"
            )
        if len(self.fill) != channels:
            raise ValueError(
                f"fill: expected {channels} bytes, one per channel, "
                f"got {len(self.fill)}"
            )
        return np.array(self.fill, np.uint8)[:, None, None]  # (C, 1, 1)

    def _pad(
        self, images: NDArray[np.uint8], fill: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        N, C, H, W = images.shape
        P = self.padding
        padded = np.empty((N, C, H + 2 * P, W + 2 * P), np.uint8)
        padded[:] = fill
        padded[:, :, P : P + H, P : P + W] = images
        return padded

    def _covered(self, length: int, centres: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each image which of `length` rows or columns its square takes."""
        first = centres[:, None] - self.cutout // 2  # (N, 1)
        place = np.arange(length)
        return (place >= first) & (place < first + self.cutout)  # (N, length)


def _bytes(name: str, values: Any) -> tuple[int, ...]:
    complaint = (
        f"{name} must be a byte per channel, 0 to 255, got {_arguments.shown(values)}"
    )
    if not isinstance(values, tuple | list | np.ndarray):
        raise TypeError(complaint)
    found = tuple(_arguments.whole(name, value, 0) for value in values)
    if not found or max(found) > 255:
        raise ValueError(complaint)
    return found


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Insist on finite numbers."""
    if isinstance(values, np.ndarray):
        values = plain(name, values)
    complaint = f"{name} must be finite numbers, got {_arguments.shown(values)}"
    try:
        found = np.asarray(values)
    except (TypeError, ValueError):
        raise TypeError(complaint) from None
    if found.dtype.kind not in "fiu":
        raise TypeError(complaint)
    if not np.isfinite(found).all():
        raise ValueError(complaint)
    return found.astype(np.float64)


def mean_fill(mean: ArrayLike) -> tuple[int, ...]:
    """Turn a mean of images scaled to [0, 1] into the nearest byte per channel.

    Parameters
    ----------
    mean : array_like of shape (C,) or (C, H, W)
        Such as ``dataset.mean``.

    Returns
    -------
    tuple of int
        For ``RandomCropFlip(fill=...)``.

    Raises
    ------
    TypeError, ValueError
        If `mean` is not such an array of finite numbers.

    Examples
    --------
    >>> mean_fill((0.4914, 0.48216, 0.44653))
    (125, 123, 114)
    """
    centre = _numbers("mean", mean)
    if centre.ndim not in (1, 3) or not centre.size:
        raise ValueError(f"mean must have shape (C,) or (C, H, W), got {centre.shape}")
    scaled = np.rint(centre.reshape(len(centre), -1).mean(axis=1) * 255)  # (C,)
    return tuple(int(value) for value in np.clip(scaled, 0, 255))


def normalize(
    images: NDArray[np.uint8],
    mean: ArrayLike,
    std: ArrayLike,
    dtype: DTypeLike = np.float32,
) -> NDArray[np.floating]:
    """Scale bytes to [0, 1], subtract the mean and divide by the standard deviation.

    Parameters
    ----------
    images : uint8 ndarray of shape (N, C, H, W)
        Left as it is.
    mean : array_like of shape (C,) or (C, H, W)
        Of images scaled to [0, 1], per channel or per pixel.
    std : array_like of shape (C,)
        Of images scaled to [0, 1].
    dtype : float32 or float64, default float32
        What the result is made of.

    Returns
    -------
    ndarray of shape (N, C, H, W)
        C-contiguous; ``(images / 255 - mean) / std``, computed in float64 and
        rounded once.

    Raises
    ------
    TypeError, ValueError
        If `images` is not such an array, `mean` or `std` do not fit its channels, or
        `dtype` is another one.

    Notes
    -----
    A byte has 256 values, so with a mean per channel the formula is worked out 256
    times per channel and looked up for every pixel.
    """
    images = check_images(images)
    kind = _arguments.floating("dtype", dtype)
    N, C, H, W = images.shape
    centre, spread = _numbers("mean", mean), _numbers("std", std)
    if centre.shape not in ((C,), (C, H, W)):
        raise ValueError(
            f"mean: expected shape ({C},), one number per channel, or "
            f"({C}, {H}, {W}), one per pixel, got {centre.shape}"
        )
    if spread.shape != (C,):
        raise ValueError(
            f"std: expected shape ({C},), one number per channel, got {spread.shape}"
        )
    if not (spread > 0).all():
        raise ValueError(f"std: expected positive numbers, got {spread.tolist()}")
    if centre.ndim == 3:
        wide = images / 255.0
        wide -= centre
        wide /= spread[:, None, None]
        return wide.astype(kind, order="C")
    scaled = np.arange(256, dtype=np.float64) / 255
    table = ((scaled - centre[:, None]) / spread[:, None]).astype(kind)  # (C, 256)
    out = np.empty((N, C, H, W), kind)
    for c in range(C):
        # A byte cannot miss the table; "clip" spares np.take its checking copy.
        np.take(table[c], images[:, c], out=out[:, c], mode="clip")
    return out


def check_images(images: object) -> NDArray[np.uint8]:
    """Insist on a uint8 ndarray of shape (N, C, H, W); return it as a plain one."""
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images: expected an ndarray, got {type(images).__name__}")
    if images.dtype != np.uint8:
        raise TypeError(f"images: expected dtype uint8, got {images.dtype}")
    images = plain("images", images)
    if images.ndim != 4:
        raise ValueError(f"images: expected shape (N, C, H, W), got {images.shape}")
    return images
