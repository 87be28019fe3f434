"""Feature maps: what a layer makes of an image, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.layers import Call, find, watch_layers
from npresnet.lens.passes import batch_note, check_images, describe
from npresnet.lens.result import Result, column
from npresnet.nn import Module

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


def feature_maps(model: Module, x: Array, layer: str) -> FeatureMaps:
    """Look at what a layer makes of images.

    Parameters
    ----------
    model : Module
        In the mode it is to be looked at in. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    layer : str
        As in ``layer1`` or ``layer1.0.conv1``. A layer that is called several times
        has its calls counted from 1, as in ``layer1.0.relu#1``; without a number the
        last one is meant.

    Returns
    -------
    FeatureMaps
        With ``.maps``.

    Raises
    ------
    TypeError, ValueError
        If there is no such layer or it gives no feature maps, or the images do not
        suit the model.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((1, 3, 16, 16), dtype=np.float32)
    >>> feature_maps(nr.models.resnet8().eval(), x, "layer2.0.relu#1").maps.shape
    (1, 32, 8, 8)
    """
    x = check_images(model, x)
    place = find(model, layer)
    outputs: list[Array] = []

    def note(call: Call) -> None:
        if call.module is place.module:
            outputs.append(call.output)

    watch_layers(model, x, note)
    maps = place.pick(outputs)
    if maps.ndim != 4:
        raise ValueError(
            f"layer {place.name} gives {maps.shape}; expected feature maps (N, C, H, W)"
        )
    return FeatureMaps(
        tuple(_row(k, maps[:, k]) for k in range(maps.shape[1])),
        maps.copy(),
        layer,
        describe(model),
        model.training,
    )


def _row(channel: int, values: Array) -> MapRow:
    return MapRow(
        channel,
        float(values.mean(dtype=np.float64)),
        float(values.std(dtype=np.float64)),
        float(values.min()),
        float(values.max()),
        1 - float(np.count_nonzero(values) / values.size),
    )
