"""Data gone wrong: statistics, augmentation, order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from npresnet.data import Dataset, RandomCropFlip
from npresnet.data.augment import normalize as right_normalize
from npresnet.data.batching import _generator as right_generator
from npresnet.data.batching import batches as right_batches
from npresnet.data.cifar10 import cifar10 as right_cifar10
from npresnet.data.digits import digits as right_digits
from npresnet.lens.bugs.registry import bug

Images = NDArray[np.uint8]

right_call = RandomCropFlip.__call__


@bug(
    "npresnet.data.batching:batches",
    seen_in="common: images[order] without labels[order]",
    symptom="the loss stays at the logarithm of the number of classes",
)
def labels_not_shuffled(
    dataset: Dataset, batch_size: int, *, shuffle: bool, **options: Any
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.int64]]]:
    """Shuffle the images and leave the labels in their old order."""
    pairs = right_batches(dataset, batch_size, shuffle=shuffle, **options)
    in_order = right_batches(dataset, batch_size, shuffle=False, **options)
    return ((x, labels) for (x, _), (_, labels) in zip(pairs, in_order, strict=True))


@bug(
    "npresnet.data.batching:_generator",
    seen_in="common: the generator is seeded where the epoch begins",
    symptom="every epoch has the same order, crops and flips: the network learns them "
    "by heart",
)
def every_epoch_alike(
    seed: int | None, epoch: int | None, purpose: int, *index: int
) -> np.random.Generator:
    """Draw what epoch 0 drew, in every epoch."""
    return right_generator(seed, 0, purpose, *index)


@bug(
    "npresnet.data.augment:RandomCropFlip.__call__",
    seen_in="common: one draw for the batch",
    symptom="half of the batches are mirrored and half are not: less variety, and "
    "batch norm notices",
)
def augmentation_flips_every_image_alike(
    self: RandomCropFlip, images: Images, rng: np.random.Generator
) -> Images:
    """Mirror the whole batch or none of it."""
    out = right_call(replace(self, flip=False), images, rng)
    if self.flip and rng.integers(0, 2):
        out = np.ascontiguousarray(out[:, :, :, ::-1])
    return out


@bug(
    "npresnet.data.augment:mean_fill",
    seen_in="common: padding bytes with 0 before the mean is subtracted",
    symptom="crops have frames as dark as nothing else in the data",
)
def crop_padding_is_black(mean: ArrayLike) -> tuple[int, ...]:
    """Pad with black, which is far from 0 once the mean has been subtracted."""
    return (0,) * np.asarray(mean).size


@bug(
    "npresnet.data.augment:normalize",
    seen_in="common: statistics of images in [0, 1] applied to bytes",
    symptom="inputs of several hundred; training diverges, or hides it behind the "
    "first batch norm",
)
def bytes_not_scaled(
    images: Images, mean: ArrayLike, std: ArrayLike, dtype: DTypeLike = np.float32
) -> NDArray[np.floating]:
    """Subtract the mean from bytes that were not divided by 255."""
    right_normalize(images[:0], mean, std, dtype)  # only for its complaints
    centre, spread = np.asarray(mean)[:, None, None], np.asarray(std)[:, None, None]
    out: NDArray[np.floating] = ((images - centre) / spread).astype(dtype)
    return out


@bug(
    "npresnet.data.cifar10:cifar10",
    seen_in="kuangliu #8, #16, #135, robustness #70, and whoever copied them",
    symptom="inputs a fifth too large: foreign weights lose a little accuracy",
)
def std_averaged_over_images(
    data_dir: str | os.PathLike[str], **options: Any
) -> tuple[Dataset, Dataset]:
    """Take the average of each image's own deviation for that of all pixels."""
    train, test = right_cifar10(data_dir, **options)
    std = np.array((0.2023, 0.1994, 0.2010), np.float32)
    return replace(train, std=std), replace(test, std=std)


@bug(
    "npresnet.data.digits:digits",
    seen_in="ASGDLO normalises training and test images differently",
    symptom="test accuracy a little below what the same weights can do",
)
def test_set_has_statistics_of_its_own(channels: int = 3) -> tuple[Dataset, Dataset]:
    """Normalise the test images with their own mean and deviation."""
    train, test = right_digits(channels)
    pixels = test.images / 255
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    return train, replace(test, mean=mean, std=std)
