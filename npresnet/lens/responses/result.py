"""Standard deviations of layer responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import (
    images_note,
)
from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ResponseRow:
    """What one 3x3 layer answers.

    Attributes
    ----------
    name : str
        Path of the convolution, as in ``layer1.0.conv1``.
    deviation : float
        Standard deviation of the output of the batch norm behind it, over all
        images, channels and pixels.
    mean : float
        Mean over the same.
    rank : int
        1 for the layer with the largest deviation.
    """

    name: str = column("layer")
    deviation: float = column("standard deviation", ".4f")
    mean: float = column("mean", ".4f")
    rank: int = column("rank")


@dataclass(frozen=True, repr=False)
class Responses(Result):
    """Standard deviations of the layers' responses.

    Attributes
    ----------
    rows : tuple of ResponseRow
        In the order of the forward pass.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    images : int
        How many images were looked at.
    training : bool
        Whether batch norm used the batches' statistics.
    """

    rows: tuple[ResponseRow, ...]
    network: str
    images: int
    training: bool

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Standard deviation of every layer, in the order of the forward pass."""
        return np.array([row.deviation for row in self.rows])

    def summary(self) -> str:
        """Say how strong the responses are on the whole."""
        deviations = self.deviations
        return (
            f"{self.network}, {images_note(self.images, self.training)}: standard "
            f"deviations from {deviations.min():.4f} to {deviations.max():.4f}, "
            f"mean {deviations.mean():.4f}"
        )

    def plot(self, beside: Responses | Sequence[Responses] = ()) -> Figure:
        """Draw the deviations in the layers' order, and ranked.

        Parameters
        ----------
        beside : Responses or sequence of Responses
            Others to draw into the same axes: those of the plain twin, for instance.
        """
        from npresnet.lens.responses.picture import responses

        others = [beside] if isinstance(beside, Responses) else beside
        return responses([self, *others])
