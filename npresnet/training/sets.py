"""The data of a run, as its recipe wants them: held-out images, normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npresnet.training.recipe import Recipe

if TYPE_CHECKING:
    from npresnet.data import Dataset

# Every run holds out the same images, whatever its seed: their results compare.
_SPLIT_SEED = 0


class Sets(NamedTuple):
    """What a run learns from, chooses by, and is measured on in the end."""

    train: Dataset
    validation: Dataset | None
    test: Dataset


def prepare(
    recipe: Recipe, train: Dataset, test: Dataset, validation: Dataset | None = None
) -> Sets:
    """Hold images out and normalise as a recipe says.

    Parameters
    ----------
    recipe : Recipe
        Its `validation` and `normalization` count.
    train, test : Dataset
        The data as they were loaded.
    validation : Dataset, optional
        Images to choose by; where given, none are held out of `train`.

    Raises
    ------
    ValueError
        If a set is empty, the sets do not fit each other, or `train` has too few
        images to hold out so many.
    """
    others = {"test": test, "validation_set": validation}
    for name, dataset in {"train": train, **others}.items():
        if dataset is not None and len(dataset) == 0:
            raise ValueError(f"{name}: expected at least one image, got none")
    for name, dataset in others.items():
        if dataset is not None:
            _check_fits(name, dataset, train)
    if recipe.validation and validation is None:
        train, validation = _hold_out(train, recipe.validation)
    if recipe.normalization == "pixel":
        train, validation, test = _with_pixel_mean(train, validation, test)
    return Sets(train, validation, test)


def check_settings(recipe: Recipe, train: Dataset) -> None:
    """Refuse settings with which there would be nothing to learn from.

    Raises
    ------
    ValueError
        If no batch is left of the training images, or padding or square are so large
        that nothing of an image may be left to see.
    """
    if not recipe.steps_per_epoch(len(train)):
        raise ValueError(
            f"last_batch: expected join or keep where {len(train):,} training images "
            f"do not fill one batch of {recipe.batch_size:,}, got drop"
        )
    side = min(train.images.shape[2:])
    for name in ("crop_padding", "cutout"):
        if (pixels := getattr(recipe, name)) >= side:
            raise ValueError(
                f"{name}: expected fewer than {side} pixels, or nothing of an image of "
                f"{'x'.join(map(str, train.images.shape[2:]))} may be left to see, "
                f"got {pixels}"
            )


def _check_fits(name: str, dataset: Dataset, train: Dataset) -> None:
    if dataset.images.shape[1:] != train.images.shape[1:]:
        raise ValueError(
            f"{name}: expected images of shape {train.images.shape[1:]} as in "
            f"train, got {dataset.images.shape[1:]}"
        )
    if dataset.classes != train.classes:
        raise ValueError(f"{name}: its classes differ from those of train")


def _hold_out(train: Dataset, count: int) -> tuple[Dataset, Dataset]:
    from npresnet.data import split

    if count >= len(train):
        raise ValueError(
            f"validation: expected fewer than the {len(train)} training images, "
            f"got {count}"
        )
    return split(train, count, _SPLIT_SEED)


def _with_pixel_mean(
    train: Dataset, validation: Dataset | None, test: Dataset
) -> tuple[Dataset, Dataset | None, Dataset]:
    """Let all sets be normalised with the training images' mean at every pixel."""
    total = train.images.sum(axis=0, dtype=np.float64)  # (C, H, W), exact
    statistics = {"mean": total / (255 * len(train)), "std": np.ones(len(total))}
    return (
        replace(train, **statistics),
        None if validation is None else replace(validation, **statistics),
        replace(test, **statistics),
    )
