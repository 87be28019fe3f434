"""Activations of every layer, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import batch_note
from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ActivationRow:
    """What one call of a layer gave, over the whole batch.

    Attributes
    ----------
    name : str
        The layer, as in ``layer1.0.conv1``; calls of one that is called several
        times are counted from 1, as in ``layer1.0.relu#1``.
    kind : str
        Class of the layer.
    shape : tuple of int
        ``(C, H, W)`` or ``(features,)``.
    mean, deviation : float
        Of all its numbers.
    zeros : float or None
        Behind a ReLU: share of the numbers at which it is closed.
    dead : int or None
        Behind a ReLU: channels in which it is closed at every pixel of every image.
    dead_share : float or None
        The same, as a share of the channels.
    """

    name: str = column("layer")
    kind: str = column("type")
    shape: tuple[int, ...] = column("output")
    mean: float = column("mean", ".4f")
    deviation: float = column("standard deviation", ".4f")
    zeros: float | None = column("zeros", ".1%")
    dead: int | None = column("dead channels")
    dead_share: float | None = column("dead", ".1%")


@dataclass(frozen=True, repr=False)
class Activations(Result):
    """The activations of every layer, in numbers.

    Attributes
    ----------
    rows : tuple of ActivationRow
        Calls of layers, in the order of the forward pass.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    """

    rows: tuple[ActivationRow, ...]
    network: str
    images: int
    training: bool

    @property
    def dead_channels(self) -> int:
        """Channels behind all ReLUs that never open on the batch."""
        return sum(row.dead or 0 for row in self.rows)

    @property
    def rectified_channels(self) -> int:
        """Channels behind all ReLUs."""
        return sum(row.shape[0] for row in self.rows if row.dead is not None)

    def summary(self) -> str:
        """Say on what it was measured, and how much is dead."""
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: "
            f"{self.dead_channels:,} of {self.rectified_channels:,} channels behind a "
            "ReLU never open"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the totals, as plain data."""
        totals = {
            "dead_channels": self.dead_channels,
            "rectified_channels": self.rectified_channels,
        }
        return {**super().to_dict(), **totals}

    def plot(self) -> Figure:
        """Draw means, deviations and closed shares from the first ReLU to the last.

        Raises
        ------
        ValueError
            If there is no ReLU.
        """
        from npresnet.lens.activations.picture import activations

        return activations(self)
