"""The first layer's filters, which can be looked at: they are pictures themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.compiler.folded_layers import FusedConv2d
from npresnet.lens.filters.result import FilterRow, Filters
from npresnet.lens.shared.passes import describe, norm
from npresnet.nn import Conv2d, Module

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def filters(model: Module, *, grey: bool = False) -> Filters:
    """Look at the filters of the first convolution.

    Parameters
    ----------
    model : Module
        Any with a convolution. With one made by `npresnet.inference` the weights are
        those with the batch norm folded in.
    grey : bool
        Whether all channels of the images hold the same, as those of the digits do:
        then only each filter's sum over its channels means anything.

    Returns
    -------
    Filters
        With ``.weights``, and ``.pictures``: from 0 to 1, each filter on a scale of
        its own.

    Raises
    ------
    TypeError, ValueError
        If it is no model, or one without convolutions.

    References
    ----------
    Krizhevsky et al., "ImageNet classification with deep convolutional neural
    networks", NeurIPS 2012, Fig. 3.

    Examples
    --------
    >>> import npresnet as nr
    >>> look = filters(nr.models.resnet18())
    >>> look.layer, look.weights.shape
    ('conv1', (64, 3, 7, 7))
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    layer, weights = _first_convolution(model)
    if grey:
        weights = weights.sum(axis=1, keepdims=True)
    rows = tuple(
        FilterRow(
            k,
            norm(weight),
            float(weight.mean()),
            float(weight.min()),
            float(weight.max()),
        )
        for k, weight in enumerate(weights)
    )
    return Filters(rows, layer, weights, describe(model), grey)


def _first_convolution(model: Module) -> tuple[str, Array]:
    """Return the name of the first convolution, and a copy of its weights."""
    for name, module in model.named_modules():
        if isinstance(module, Conv2d):
            return name, module.weight.data.copy()
        if isinstance(module, FusedConv2d):
            return name, module.weight.copy()
    raise ValueError(f"model must have a convolution; {type(model).__name__} has none")
