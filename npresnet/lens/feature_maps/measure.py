"""Feature maps: what a layer makes of an image, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.feature_maps.result import FeatureMaps, MapRow
from npresnet.lens.shared.layers import Call, find, watch_layers
from npresnet.lens.shared.passes import check_images, describe
from npresnet.nn import Module

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


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
