"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module

# One number for training and `npresnet eval`: they then agree to the last bit.
BATCH_SIZE = 256


@dataclass(frozen=True)
class Evaluation:
    """How many images a model got right, and its mean loss.

    Attributes
    ----------
    correct, total : int
        Images whose highest logit is at the label, and all images.
    loss : float
        Mean cross entropy in nats, without label smoothing.
    flip : bool
        Whether the logits are the mean of an image's and of its mirror image's.
    logits : ndarray of shape (N, classes)
        Kept so that further questions, such as which images were mistaken for what,
        need no second pass.
    labels : int64 ndarray of shape (N,)
        What would have been right.
    """

    correct: int
    total: int
    loss: float
    flip: bool = False
    logits: NDArray[np.floating[Any]] = field(
        default_factory=lambda: np.empty((0, 0)), compare=False, repr=False
    )
    labels: NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, np.int64), compare=False, repr=False
    )

    @property
    def accuracy(self) -> float:
        """Share of the images that are right, from 0 to 1."""
        return self.correct / self.total

    def confusion(self) -> NDArray[np.int64]:
        """Count how often each class was taken for each.

        Returns
        -------
        int64 ndarray of shape (classes, classes)
            Row: the label; column: the highest logit.
        """
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(axis=1)
        counts = np.bincount(pairs, minlength=classes**2).astype(np.int64)
        return counts.reshape(classes, classes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "flip": self.flip,
        }


def evaluate(
    model: Module,
    dataset: Dataset,
    batch_size: int = BATCH_SIZE,
    *,
    flip: bool = False,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a model on every image of a data set, in evaluation mode.

    Parameters
    ----------
    model : Module
        Its mode is put back afterwards.
    dataset : Dataset
        Images and labels.
    batch_size : int, default 256
        Images at a time; changes memory and speed only.
    flip : bool, default False
        Look at every image and at its mirror image, and take the mean of the logits:
        often a little more accurate, at twice the time. Not for classes that have a
        handedness, such as digits.
    mean : array_like of shape (C,) or (C, H, W), optional
        Normalisation, where the model was trained with another than `dataset`'s.
    std : array_like of shape (C,), optional
        Likewise.
    progress : callable, optional
        Called with images looked at and images in all, mirror images among them.

    Returns
    -------
    Evaluation
        Right answers, images, mean loss in nats.

    Raises
    ------
    ValueError
        If the data set is empty, or its shape or labels do not suit the model.

    References
    ----------
    Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural
    Networks", section 4.1, averages over crops and mirror images (probabilities,
    there).
    """
    from npresnet.functional import cross_entropy_forward

    if len(dataset) == 0:
        raise ValueError(f"dataset: {dataset.name} has no images to evaluate on")
    labels = dataset.labels
    done, total = 0, (1 + flip) * len(dataset)

    def tell(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    logits = _logits(model, dataset, batch_size, mean, std, tell)  # (N, classes)
    if flip:
        mirrored = replace(dataset, images=dataset.images[..., ::-1])
        logits = (logits + _logits(model, mirrored, batch_size, mean, std, tell)) / 2
    loss, _ = cross_entropy_forward(logits.astype(np.float64), labels)
    correct = int((logits.argmax(axis=1) == labels).sum())
    return Evaluation(correct, len(dataset), float(loss), flip, logits, labels)


def _logits(
    model: Module,
    dataset: Dataset,
    batch_size: int,
    mean: ArrayLike | None,
    std: ArrayLike | None,
    tell: Callable[[int], None],
) -> NDArray[np.floating[Any]]:
    """Run the model, in evaluation mode, over a data set in its order."""
    from npresnet.data import batches
    from npresnet.nn import no_grad

    dtype = next(iter(model.parameters())).data.dtype
    was_training = model.training
    model.eval()
    try:
        logits = []
        with no_grad():
            for x, _ in batches(
                dataset, batch_size, shuffle=False, dtype=dtype, mean=mean, std=std
            ):
                logits.append(model(x))
                tell(len(x))
        return np.concatenate(logits)
    finally:
        if was_training:
            model.train()
