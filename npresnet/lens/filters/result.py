"""The filters of a first layer, and a row for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FilterRow:
    """One filter of a convolution.

    Attributes
    ----------
    filter : int
        Output channel that it makes.
    norm : float
        Euclidean norm of its weights.
    mean, smallest, largest : float
        Of its weights.
    """

    filter: int = column("filter")
    norm: float = column("norm")
    mean: float = column("mean", ".4f")
    smallest: float = column("smallest", ".4f")
    largest: float = column("largest", ".4f")


@dataclass(frozen=True, repr=False, eq=False)
class Filters(Result):
    """The filters of a network's first convolution.

    Attributes
    ----------
    rows : tuple of FilterRow
        One per filter.
    layer : str
        Name of the convolution.
    weights : ndarray of shape (K, C, KH, KW)
        The filters; C is 1 if the channels were added up.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    grey : bool
        Whether the channels were added up.
    """

    rows: tuple[FilterRow, ...]
    layer: str
    weights: Array
    network: str
    grey: bool

    def summary(self) -> str:
        """Say whose filters these are."""
        K, C, KH, KW = self.weights.shape
        added = ", channels added up" if self.grey else ""
        return (
            f"{self.network}: {K} filters of {self.layer}, {KH}x{KW} pixels, "
            f"{C} channel{'s' * (C > 1)}{added}"
        )

    @property
    def pictures(self) -> Array:
        """Filters as pictures (K, KH, KW, C) of numbers from 0 to 1.

        Every filter on a scale of its own: a weight of 0 is 0.5, and its largest
        magnitude is 0 or 1.
        """
        largest = np.abs(self.weights).max(axis=(1, 2, 3), keepdims=True)
        shares = self.weights / np.where(largest > 0, largest, 1)
        return (0.5 + 0.5 * shares).transpose(0, 2, 3, 1)

    def plot(self) -> Figure:
        """Draw every filter: three channels in colour, one in grey.

        Raises
        ------
        ValueError
            If there are other numbers of channels.
        """
        from npresnet.plots import tiles

        if self.weights.shape[1] not in (1, 3):
            raise ValueError(
                f"filters of {self.layer}: expected 1 or 3 channels to draw, got "
                f"{self.weights.shape[1]}"
            )
        return tiles(
            self.pictures,
            [f"{row.filter}" for row in self.rows],
            f"First-layer filters: {self.layer}",
            f"{self.network}. Each filter on its own scale: mid-grey is 0, its largest "
            "magnitude is black or white"
            + (" in that channel." if self.weights.shape[1] == 3 else "."),
        )
