"""Batches in an order that can be repeated, and splits that keep the classes even.

All chance here follows from (seed, epoch, what it is for, batch index), never from
what was drawn before: training that was interrupted continues with the very
batches that it would have had.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from npresnet._plain import plain_like
from npresnet.data.augment import Augmentation, RandomCropFlip, mean_fill, normalize
from npresnet.data.dataset import Dataset

# What a stream of random numbers is for: different purposes never share one.
_ORDER, _AUGMENTATION, _SPLIT = 1, 2, 3


def batches(
    dataset: Dataset,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int | None = None,
    epoch: int | None = None,
    augment: Augmentation | None = None,
    dtype: DTypeLike = np.float32,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    drop_last: bool = False,
    start: int = 0,
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.int64]]]:
    """Go through a data set once, in batches ready for a model.

    Parameters
    ----------
    dataset : Dataset
        Where the images and labels come from.
    batch_size : int
        Images per batch; the last batch takes what is left.
    shuffle : bool
        Whether to draw a new order for this epoch, or keep the data set's.
    seed, epoch : int, optional
        0 or more. Needed where `shuffle` or `augment` draws something: the order
        depends on these two only, the augmentation on them and the batch's index.
    augment : callable, optional
        ``augment(images, rng) -> images``, both uint8 of shape (N, C, H, W), such
        as `RandomCropFlip`, whose `fill` is the mean where none was given.
    dtype : float32 or float64, default float32
        What `x` is made of.
    mean : array_like of shape (C,) or (C, H, W), optional
        Of images scaled to [0, 1]; by default the data set's own.
    std : array_like of shape (C,), optional
        Likewise.
    drop_last : bool, default False
        Whether to leave out a last batch that is smaller than the others.
    start : int, default 0
        Index of the first batch to draw: an epoch that was interrupted after three
        batches goes on with the very batches that it lacks at ``start=3``.

    Yields
    ------
    x : ndarray of shape (batch, C, H, W)
        C-contiguous and normalised.
    labels : int64 ndarray of shape (batch,)
        A copy: it may be changed.

    Raises
    ------
    TypeError, ValueError
        At the call, before the first batch, if an argument does not fit.

    Notes
    -----
    The generator is PCG64, seeded by
    ``SeedSequence(seed, spawn_key=(epoch, purpose, ...))``: the same seed gives
    the same batches wherever NumPy's generator gives the same numbers.

    Examples
    --------
    >>> from npresnet.data import digits
    >>> train, _ = digits()
    >>> x, labels = next(batches(train, 32, shuffle=True, seed=0, epoch=0))
    >>> x.shape, x.dtype, labels.shape
    ((32, 3, 8, 8), dtype('float32'), (32,))
    """
    size = _integer("batch_size", batch_size, 1)
    start = _integer("start", start, 0)
    if seed is not None:
        seed = _integer("seed", seed, 0)
    if epoch is not None:
        epoch = _integer("epoch", epoch, 0)
    if (shuffle or augment is not None) and (seed is None or epoch is None):
        missing = "seed" if seed is None else "epoch"
        reader = "shuffle" if shuffle else "augment"
        raise ValueError(f"{missing}: {reader} needs it, got None")
    mean = dataset.mean if mean is None else plain_like("mean", mean)
    std = dataset.std if std is None else plain_like("std", std)
    normalize(dataset.images[:0], mean, std, dtype)  # complains here, not later
    if isinstance(augment, RandomCropFlip) and augment.fill is None:
        augment = replace(augment, fill=mean_fill(mean))
    elif augment is not None and not callable(augment):
        raise TypeError(f"augment: expected a callable, got {type(augment).__name__}")

    def draw() -> Iterator[tuple[NDArray[np.floating], NDArray[np.int64]]]:
        N = len(dataset)
        order = np.arange(N)
        if shuffle:
            order = _generator(seed, epoch, _ORDER).permutation(N)
        stop = N - N % size if drop_last else N
        for first in range(start * size, stop, size):
            chosen = order[first : first + size]
            images = dataset.images[chosen]
            if augment is not None:
                rng = _generator(seed, epoch, _AUGMENTATION, first // size)
                images = augment(images, rng)
            yield normalize(images, mean, std, dtype), dataset.labels[chosen]

    return draw()


def split(dataset: Dataset, count: int, seed: int) -> tuple[Dataset, Dataset]:
    """Hold out some images, so many of every class as its share allows.

    Parameters
    ----------
    dataset : Dataset
        What to split, such as CIFAR-10's 50,000 training images.
    count : int
        How many images to hold out: more than 0, fewer than all.
    seed : int
        0 or more; the same seed gives the same split.

    Returns
    -------
    rest, held_out : Dataset
        ``N - count`` and `count` images, each in the data set's order.

    Raises
    ------
    TypeError, ValueError
        If `count` or `seed` does not fit.

    Notes
    -----
    A class with n of the N images gives count * n / N of them, rounded down; what
    is still missing comes, one each, from the classes that lost most by rounding.
    Then 45,000/5,000 of CIFAR-10 holds out 500 images of each class.

    Examples
    --------
    >>> from npresnet.data import digits
    >>> train, _ = digits()
    >>> rest, held_out = split(train, 137, seed=0)
    >>> len(rest), len(held_out)
    (1300, 137)
    """
    N = len(dataset)
    count, seed = _integer("count", count, 1), _integer("seed", seed, 0)
    if count >= N:
        raise ValueError(f"count: expected fewer than the {N} images, got {count}")
    sizes = np.bincount(dataset.labels, minlength=len(dataset.classes))
    quota, lost = np.divmod(sizes * count, N)  # exact: integers
    quota[np.argsort(-lost, kind="stable")[: count - quota.sum()]] += 1

    rng = _generator(seed, 0, _SPLIT)
    held_out = np.zeros(N, dtype=np.bool_)
    for label, wanted in enumerate(quota):
        members = np.flatnonzero(dataset.labels == label)
        held_out[rng.permutation(members)[:wanted]] = True
    return (
        dataset.subset(np.flatnonzero(~held_out)),
        dataset.subset(np.flatnonzero(held_out)),
    )


def _generator(
    seed: int | None, epoch: int | None, purpose: int, *index: int
) -> np.random.Generator:
    assert seed is not None and epoch is not None  # checked where the call enters
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch, purpose, *index))
    return np.random.Generator(np.random.PCG64(sequence))


def _integer(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name}: expected {least} or more, got {number}")
    return number
