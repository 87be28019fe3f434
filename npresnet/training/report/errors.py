"""Which classes a network takes for which, and its most confident mistakes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.training.evaluation import Evaluation

if TYPE_CHECKING:
    from npresnet.data import Dataset

# More columns than that do not fit on a page.
_LARGEST_MATRIX = 25


@dataclass(frozen=True)
class Cell:
    """One count of the confusion matrix, and how strongly it is painted (0 to 1)."""

    count: int
    kind: str  # "right", "wrong" or "none"
    strength: float
    title: str


@dataclass(frozen=True)
class Class:
    """How one class fares; `accuracy` is None where it has no image."""

    name: str
    correct: int
    total: int
    accuracy: float | None
    taken_for: str


@dataclass(frozen=True)
class Mistake:
    """An image, what it is, and what the network took it for."""

    picture: str  # a data URI
    label: str
    predicted: str
    confidence: float


def matrix(
    result: Evaluation, classes: Sequence[str]
) -> list[tuple[str, list[Cell]]] | None:
    """Return the rows of the confusion matrix, or None where it is too large."""
    if len(classes) > _LARGEST_MATRIX:
        return None
    counts = result.confusion()
    totals = counts.sum(axis=1)
    return [
        (
            label,
            [
                _cell(int(counts[i, j]), int(totals[i]), label, predicted, i == j)
                for j, predicted in enumerate(classes)
            ],
        )
        for i, label in enumerate(classes)
    ]


def _cell(count: int, total: int, label: str, predicted: str, right: bool) -> Cell:
    title = f"{label} taken for {predicted}: {count:,} of {total:,}"
    if not count:
        return Cell(count, "none", 0.0, title)
    share = count / total
    if right:
        return Cell(count, "right", round(0.5 * share, 3), title)
    # The root brings rare mistakes out.
    return Cell(count, "wrong", round(0.06 + 0.85 * math.sqrt(share), 3), title)


def class_by_class(result: Evaluation, classes: Sequence[str]) -> list[Class]:
    """Return every class with its accuracy, and what it is most often taken for."""
    rows = []
    for index, (name, counts) in enumerate(
        zip(classes, result.confusion(), strict=True)
    ):
        total, correct = int(counts.sum()), int(counts[index])
        wrong = np.where(np.arange(len(counts)) == index, 0, counts)
        worst = int(wrong.argmax())
        taken_for = f"{classes[worst]} ({wrong[worst]:,})" if wrong[worst] else ""
        accuracy = correct / total if total else None
        rows.append(Class(name, correct, total, accuracy, taken_for))
    return rows


def confident_mistakes(
    result: Evaluation, dataset: Dataset, count: int
) -> list[Mistake]:
    """Return the mistakes whose probability was highest, the highest first."""
    from npresnet.functional import softmax

    predicted = result.logits.argmax(axis=1)
    wrong = np.flatnonzero(predicted != result.labels)
    probabilities = softmax(result.logits.astype(np.float64))
    confidence = probabilities[wrong, predicted[wrong]]
    order = np.argsort(-confidence, kind="stable")[:count]
    return [
        Mistake(
            _data_uri(dataset.images[image]),
            dataset.classes[result.labels[image]],
            dataset.classes[predicted[image]],
            float(sure),
        )
        for image, sure in zip(wrong[order], confidence[order], strict=True)
    ]


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    """Write an image (C, H, W) as a PNG inside a URI; not 3 channels become grey."""
    from PIL import Image

    if len(pixels) == 3:
        shown: NDArray[Any] = pixels.transpose(1, 2, 0)
    else:
        shown = pixels.mean(axis=0).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
