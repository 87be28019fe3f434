"""A labelled set of images, held whole in memory as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from npresnet._plain import plain, plain_like


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with their labels, and the normalisation that belongs to them.

    Images stay bytes: float32 would take four times the memory, and a batch is
    converted when it is drawn (`batches`).

    Parameters
    ----------
    images : uint8 ndarray of shape (N, C, H, W)
        Made C-contiguous where it is not.
    labels : int64 ndarray of shape (N,)
        Indices into `classes`.
    classes : sequence of str
        The name of every class; kept as a tuple.
    mean : array_like of shape (C,) or (C, H, W)
        Mean of images scaled to [0, 1], per channel or per pixel; kept as float32.
    std : array_like of shape (C,)
        Their standard deviation per channel; kept as float32.
    name : str
        What the data set is called, as `load` takes it.

    Raises
    ------
    TypeError
        If `images` or `labels` is not an array of the dtype above.
    ValueError
        If shapes disagree, a label is not an index into `classes`, or `std` is
        not positive.

    Examples
    --------
    >>> from npresnet.data import digits
    >>> train, test = digits()
    >>> train
    Dataset('digits': 1437 images of shape (3, 8, 8), 10 classes)
    >>> train.subset([0, 2, 5]).labels
    array([1, 5, 8])
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    name: str

    def __post_init__(self) -> None:
        images = _checked_array("images", self.images, np.dtype(np.uint8))
        labels = _checked_array("labels", self.labels, np.dtype(np.int64))
        if images.ndim != 4 or 0 in images.shape[1:]:
            raise ValueError(f"images: expected shape (N, C, H, W), got {images.shape}")
        if labels.shape != (len(images),):
            raise ValueError(
                f"labels: expected shape ({len(images)},), one per image, "
                f"got {labels.shape}"
            )
        classes = _checked_classes(self.classes)
        _check_labels(labels, len(classes))
        channels = images.shape[1:2]
        mean = _statistics("mean", self.mean, channels, images.shape[1:])
        std = _statistics("std", self.std, channels)
        if not (std > 0).all():
            raise ValueError(f"std: expected positive numbers, got {std.tolist()}")
        # The fields are frozen for callers; this is where they get their final form.
        object.__setattr__(self, "images", np.ascontiguousarray(images))
        object.__setattr__(self, "labels", np.ascontiguousarray(labels))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self)} images of shape "
            f"{self.images.shape[1:]}, {len(self.classes)} classes)"
        )

    def subset(self, indices: ArrayLike | Sequence[int]) -> Dataset:
        """Pick images by their index, in the order given.

        Parameters
        ----------
        indices : array_like of int, shape (M,)
            From 0 to N - 1; an index may come more than once.

        Returns
        -------
        Dataset
            A copy of those images and labels; everything else is shared.

        Raises
        ------
        TypeError
            If `indices` are not integers.
        ValueError
            If `indices` is not one-dimensional or an index is out of range.
        """
        index = plain_like("indices", indices)
        if index.size == 0:
            index = index.astype(np.int64)
        if index.ndim != 1:
            raise ValueError(f"indices: expected shape (M,), got {index.shape}")
        if index.dtype.kind not in "iu":
            raise TypeError(
                f"indices: expected integers, got {index.dtype} "
                "(np.flatnonzero turns a mask into indices)"
            )
        wrong = np.flatnonzero((index < 0) | (index >= len(self)))
        if len(wrong):
            raise ValueError(
                f"indices: {len(wrong)} of {len(index)} are outside "
                f"0..{len(self) - 1}, the first is indices[{wrong[0]}] = "
                f"{index[wrong[0]]}"
            )
        return replace(self, images=self.images[index], labels=self.labels[index])

    def digest(self) -> str:
        """Return a checksum of images, labels and their order: equal data, equal text.

        Returns
        -------
        str
            SHA-256 in hexadecimal digits. Class names and normalisation do not enter.
            Every run's ``config.json`` keeps it, so that it must not change.
        """
        checksum = hashlib.sha256(repr(self.images.shape).encode())
        checksum.update(self.images.reshape(-1).data)
        checksum.update(self.labels.astype("<i8").data)
        return checksum.hexdigest()


def _checked_array(
    name: str, value: object, dtype: np.dtype[np.generic]
) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: expected an ndarray, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {value.dtype}")
    return plain(name, value)


def _checked_classes(classes: object) -> tuple[str, ...]:
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise TypeError(
            f"classes: expected a sequence of str, got {type(classes).__name__}"
        )
    if not classes:
        raise ValueError("classes: expected at least one name, got none")
    for name in classes:
        if not isinstance(name, str):
            raise TypeError(f"classes: expected str, got {type(name).__name__}")
    return tuple(classes)


def _check_labels(labels: NDArray[np.int64], classes: int) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        first = wrong[0]
        raise ValueError(
            f"labels: {len(wrong)} of {len(labels)} are outside 0..{classes - 1}, "
            f"the first is labels[{first}] = {labels[first]}"
        )


def _statistics(
    name: str, value: ArrayLike, *shapes: tuple[int, ...]
) -> NDArray[np.float32]:
    # A copy: nobody else holds it.
    array = np.array(plain_like(name, value), dtype=np.float32)
    if array.shape not in shapes:
        channels, *whole = shapes
        or_pixels = f" or {whole[0]}, one per pixel," if whole else ""
        raise ValueError(
            f"{name}: expected shape {channels}, one number per channel,{or_pixels} "
            f"got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array.tolist()}")
    return array
