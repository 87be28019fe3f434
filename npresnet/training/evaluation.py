"""Accuracy and loss of a model on a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

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
    """

    correct: int
    total: int
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of the images that are right, from 0 to 1."""
        return self.correct / self.total

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.accuracy,
            "loss": self.loss,
        }


def evaluate(
    model: Module,
    dataset: Dataset,
    batch_size: int = BATCH_SIZE,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
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
    mean, std : array_like of shape (C,), optional
        Normalisation, where the model was trained with another than `dataset`'s.

    Returns
    -------
    Evaluation
        Right answers, images, mean loss in nats.

    Raises
    ------
    ValueError
        If the data set is empty, or its shape or labels do not suit the model.
    """
    from npresnet.data import batches
    from npresnet.nn import CrossEntropyLoss, no_grad

    if len(dataset) == 0:
        raise ValueError(f"dataset: {dataset.name} has no images to evaluate on")
    criterion = CrossEntropyLoss()
    correct = 0
    loss_sum = 0.0
    dtype = next(iter(model.parameters())).data.dtype
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            for x, labels in batches(
                dataset, batch_size, shuffle=False, dtype=dtype, mean=mean, std=std
            ):
                logits = model(x)
                loss_sum += float(criterion(logits, labels)) * len(labels)
                correct += int((logits.argmax(axis=1) == labels).sum())
    finally:
        if was_training:
            model.train()
    return Evaluation(correct, len(dataset), loss_sum / len(dataset))
