"""Random directions among the weights, scaled filter by filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import dot, norm
from npresnet.nn import Module

Direction = dict[str, NDArray[np.floating[Any]]]


def random_direction(model: Module, rng: np.random.Generator) -> Direction:
    """Draw a direction whose every filter is as long as the model's own.

    Parameters
    ----------
    model : Module
        Its weights decide the lengths.
    rng : Generator
        Draws standard normal numbers, parameter by parameter in the model's order.

    Returns
    -------
    dict of str to ndarray
        One array per parameter of two dimensions or more, of its shape and dtype:
        weights of convolutions, whose filters are ``weight[k]``, and of linear layers,
        whose rows are the filters of a 1x1 convolution. Biases and the scales and
        shifts of batch norm do not move, as in the paper's code (``ignore=biasbn``):
        they are left out.

    Raises
    ------
    ValueError
        If no parameter has two dimensions.

    References
    ----------
    Li et al., arXiv 1712.09913, section 4: ``d[i,j] *= |w[i,j]| / |d[i,j]|``.
    """
    direction = {}
    for name, parameter in model.named_parameters():
        if parameter.data.ndim < 2:
            continue
        noise = rng.standard_normal(parameter.shape)
        scale = filter_norms(parameter.data) / filter_norms(noise)  # (K,)
        scaled = noise * scale.reshape(-1, *[1] * (noise.ndim - 1))
        direction[name] = scaled.astype(parameter.dtype)
    if not direction:
        raise ValueError("model: expected a parameter of two dimensions or more")
    return direction


def filter_norms(weight: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the Euclidean norm of every filter ``weight[k]``, summed in float64."""
    squares = np.square(weight, dtype=np.float64)
    norms: NDArray[np.float64] = np.sqrt(squares.reshape(len(weight), -1).sum(axis=1))
    return norms


def cosine(one: Direction, other: Direction) -> float:
    """Return the cosine of the angle between two directions; 0 where one is zero."""
    inner = sum(dot(array, other[name]) for name, array in one.items())
    return inner / size if (size := _norm(one) * _norm(other)) else 0.0


def _norm(direction: Direction) -> float:
    return float(np.hypot.reduce([norm(array) for array in direction.values()]))
