"""Activations: how large what flows through a network is, and what never opens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.activations.result import ActivationRow, Activations
from npresnet.lens.shared.layers import Call, is_rectified, watch_layers
from npresnet.lens.shared.passes import check_images, describe
from npresnet.nn import Module

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def activations(model: Module, x: Array) -> Activations:
    """Measure what every layer gives: mean, deviation, and what never opens.

    Parameters
    ----------
    model : Module
        In the mode it is to be looked at in. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype. A channel that is dead on a few
        images may open on others: take many.

    Returns
    -------
    Activations
        With ``.rows``, one per call of a layer, and ``.dead_channels``.

    Raises
    ------
    TypeError, ValueError
        If it is no model, or the images do not suit it.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((4, 3, 8, 8), dtype=np.float32)
    >>> look = activations(nr.models.resnet8(), x)
    >>> [row.name for row in look.rows if row.dead is not None][:3]
    ['relu', 'layer1.0.relu#1', 'layer1.0.relu#2']
    """
    x = check_images(model, x)
    rows: list[tuple[int, ActivationRow]] = []

    def note(call: Call) -> None:
        inside = any(True for _ in call.module.children())
        if not inside and call.module.is_printed():  # no container, no identity
            rows.append((call.number, _row(call)))

    watch_layers(model, x, note)
    times = Counter(row.name for _, row in rows)
    numbered = tuple(
        replace(row, name=f"{row.name}#{number}") if times[row.name] > 1 else row
        for number, row in rows
    )
    return Activations(numbered, describe(model), len(x), model.training)


def _row(call: Call) -> ActivationRow:
    output = call.output
    zeros = dead = dead_share = None
    if is_rectified(call.module):
        zeros = 1 - float(np.count_nonzero(output) / output.size)
        rest = tuple(axis for axis in range(output.ndim) if axis != 1)
        dead = int((~output.any(axis=rest)).sum())
        dead_share = dead / output.shape[1]
    return ActivationRow(
        call.name,
        type(call.module).__name__,
        output.shape[1:],
        float(output.mean(dtype=np.float64)),
        float(output.std(dtype=np.float64)),
        zeros,
        dead,
        dead_share,
    )
