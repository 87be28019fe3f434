"""The feature maps of one layer, and a row for each channel."""

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
class MapRow:
    """One channel of a layer's output, over the whole batch.

    Attributes
    ----------
    channel : int
        Index.
    mean, deviation, smallest, largest : float
        Of its numbers.
    zeros : float
        Share of them that are exactly 0.
    """

    channel: int = column("channel")
    mean: float = column("mean", ".4f")
    deviation: float = column("standard deviation", ".4f")
    smallest: float = column("smallest", ".4f")
    largest: float = column("largest", ".4f")
    zeros: float = column("zeros", ".1%")


@dataclass(frozen=True, repr=False, eq=False)
class FeatureMaps(Result):
    """The feature maps of one layer.

    Attributes
    ----------
    rows : tuple of MapRow
        One per channel.
    maps : ndarray of shape (N, channels, h, w)
        The layer's output.
    layer : str
        Its name.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    training : bool
        Whether batch norm used the batch's statistics.
    """

    rows: tuple[MapRow, ...]
    maps: Array
    layer: str
    network: str
    training: bool

    def summary(self) -> str:
        """Say whose maps these are."""
        N, channels, h, w = self.maps.shape
        return (
            f"{self.network}, {batch_note(N, self.training)}: {channels} feature maps "
            f"of {self.layer}, {h}x{w} pixels"
        )

    def plot(self, image: int = 0, most: int = 64) -> Figure:
        """Draw the feature maps of one image, all on one scale.

        Parameters
        ----------
        image : int
            Its index in the batch.
        most : int
            So many channels are drawn, from the first.

        Raises
        ------
        ValueError
            If there is no such image.
        """
        from npresnet.plots import tiles

        N, channels, h, w = self.maps.shape
        if not 0 <= image < N or most < 1:
            raise ValueError(
                f"image, most: expected 0..{N - 1} and at least 1, got {image} and "
                f"{most}"
            )
        maps = self.maps[image, :most]
        shown = f"{channels}" if len(maps) == channels else f"{len(maps)} of {channels}"
        return tiles(
            maps[..., None],
            [f"{channel}" for channel in range(len(maps))],
            f"Feature maps of {self.layer}",
            f"{self.network}, {'training' if self.training else 'evaluation'} mode, "
            f"image {image}: {shown} channels of {h}x{w} pixels, on one scale.",
            values="activation",
        )
