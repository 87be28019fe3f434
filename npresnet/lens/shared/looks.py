"""Where a network looked in images: maps over pictures, and a row of figures each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain
from npresnet.lens.shared.passes import batch_note
from npresnet.lens.shared.result import Result, column
from npresnet.lens.shared.scores import Scores

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LookRow:
    """Where the network looked in one image, in numbers.

    Attributes
    ----------
    image : str or int
        Its name, or its index in the batch where it has none.
    predicted : str or int
        Class with the highest score: its name, or its index where names are unknown.
    target : str or int
        Class that is asked about.
    score : float
        Its score: the logit, before the softmax.
    probability : float
        What the softmax makes of it.
    peak : tuple of int or None
        Row and column of the map's largest value; None where the map is empty.
    half_area : float or None
        Smallest share of the pixels that hold half of the map's sum: 50 % if the map
        is even, little if it has one bright spot.
    """

    image: str | int = column("image")
    predicted: str | int = column("predicted")
    target: str | int = column("asked about")
    score: float = column("score", ".3f")
    probability: float = column("probability", ".1%")
    peak: tuple[int, int] | None = column("peak (row x column)")
    half_area: float | None = column("half of it within", ".1%")


@dataclass(frozen=True, repr=False, eq=False)
class Looks(Result):
    """One map per image; the base of what `saliency` and `grad_cam` return.

    Attributes
    ----------
    rows : tuple of LookRow
        One per image.
    maps : ndarray of shape (N, H, W)
        Where the network looked, as large as the images; not negative.
    pictures : uint8 ndarray of shape (N, C, H, W)
        What maps are drawn beside or over; not in `to_dict`.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    training : bool
        Whether batch norm used the batch's statistics.
    """

    rows: tuple[LookRow, ...]
    maps: Array
    pictures: NDArray[np.uint8]
    network: str
    training: bool

    title: ClassVar[str]
    over: ClassVar[bool]  # whether maps are drawn over the pictures, not beside

    def method(self) -> str:
        """Say in a line what the maps are."""
        raise TypeError(f"{type(self).__name__} does not define method()")

    def summary(self) -> str:
        """Say what was looked at, and how."""
        note = batch_note(len(self.rows), self.training)
        return f"{self.network}, {note}\n{self.method()}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures as plain data."""
        data = super().to_dict()
        del data["pictures"]
        return data

    def plot(self) -> Figure:
        """Draw every image, and the map beside or over it."""
        from npresnet.plots import looks

        titles = [
            f"{row.target}: {row.probability:.1%}"
            + ("" if row.target == row.predicted else f"\n(predicted {row.predicted})")
            for row in self.rows
        ]
        return looks(
            self.pictures,
            self.maps,
            titles,
            self.title,
            f"{self.network}, {batch_note(len(self.rows), self.training)}: "
            f"{self.method()}",
            over=self.over,
        )


def look_rows(
    scores: Scores,
    maps: Array,
    classes: Sequence[str] | None,
    names: Sequence[str | int] | None,
) -> tuple[LookRow, ...]:
    """Make a row per image.

    Parameters
    ----------
    scores : Scores
        Of the classes, and which one was asked about.
    maps : ndarray of shape (N, H, W)
        Where the network looked; not negative.
    classes, names : sequence, optional
        Names of the classes and of the images.

    Raises
    ------
    TypeError, ValueError
        If these are no names, or not one for each.
    """
    logits, target, _ = scores
    N, K = logits.shape
    class_names = _names("classes", classes, K, "per score")
    image_names = _names("names", names, N, "per image")
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    return tuple(
        LookRow(
            image_names[i],
            class_names[int(logits[i].argmax())],
            class_names[int(target[i])],
            float(logits[i, target[i]]),
            float(probabilities[i, target[i]]),
            _peak(maps[i]),
            _half_area(maps[i]),
        )
        for i in range(N)
    )


def _names(
    argument: str, given: Sequence[str | int] | None, count: int, each: str
) -> Sequence[str | int]:
    """Return the names given, or numbers where there are none."""
    if given is None:
        return range(count)
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(
            f"{argument} must be a sequence of names, got {type(given).__name__}"
        )
    if len(given) != count:
        raise ValueError(
            f"{argument} must be {count} names, one {each}, got {len(given)}"
        )
    return given


def pictures_of(x: Array, pictures: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Return what to draw maps over, as bytes (N, C, H, W).

    Parameters
    ----------
    x : ndarray of shape (N, C, H, W)
        Normalised images, which are drawn themselves where there is nothing better:
        stretched so that the numbers of each fill 0 to 255.
    pictures : uint8 ndarray of shape (N, C, H, W), optional
        The images as they were.

    Raises
    ------
    TypeError, ValueError
        If `pictures` are not bytes of the images' shape.
    """
    if pictures is None:
        return _stretched(x)
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.uint8:
        got = getattr(pictures, "dtype", type(pictures).__name__)
        raise TypeError(f"pictures must be an array of uint8, got {got}")
    pictures = plain("pictures", pictures)
    if pictures.shape != x.shape:
        raise ValueError(
            f"pictures must have the images' shape {x.shape}, got {pictures.shape}"
        )
    return pictures


def _stretched(x: Array) -> NDArray[np.uint8]:
    low = x.min(axis=(1, 2, 3), keepdims=True)
    spread = x.max(axis=(1, 2, 3), keepdims=True) - low
    shares = (x - low) / np.where(spread > 0, spread, 1)
    pixels: NDArray[np.uint8] = np.rint(255 * shares).astype(np.uint8)
    return pixels


def _peak(map_: Array) -> tuple[int, int] | None:
    if not map_.max() > 0:
        return None
    row, col = np.unravel_index(int(map_.argmax()), map_.shape)
    return int(row), int(col)


def _half_area(map_: Array) -> float | None:
    from_the_top = np.sort(map_, axis=None)[::-1].cumsum(dtype=np.float64)
    total = from_the_top[-1]
    if not total > 0:
        return None
    return float(np.searchsorted(from_the_top, total / 2) + 1) / map_.size
