"""First values of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet._switches import Switch

Array = NDArray[np.floating[Any]]
Rng = np.random.Generator | int | None


_skipping = Switch("skipping", False)


@contextmanager
def skipped() -> Iterator[None]:
    """Make layers whose weights are not drawn within a ``with`` block.

    For models that are to be counted, or whose weights are loaded next: ResNet-152
    takes milliseconds then, not a second. The weights are zeros that take no memory
    and cannot be changed in place; loading replaces them.

    Examples
    --------
    >>> import npresnet as nr
    >>> with nr.nn.init.skipped():
    ...     model = nr.models.resnet152()
    >>> sum(parameter.size for parameter in model.parameters())
    60192808
    """
    with _skipping.set_to(True):
        yield


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Count what flows into one output and out of one input of a weight.

    Parameters
    ----------
    shape : tuple of int
        ``(K, C/groups, KH, KW)`` of a convolution or ``(O, I)`` of a linear layer.

    Returns
    -------
    fan_in, fan_out : int
        As PyTorch counts them: ``C/groups*KH*KW`` and ``K*KH*KW``.
    """
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def kaiming_normal(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype: DTypeLike,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> Array:
    """Draw from a normal distribution of deviation sqrt(2 / fan).

    The 2 makes up for the half of the signal that a ReLU takes away; ``fan_in``
    keeps the size of activations from layer to layer, ``fan_out`` that of gradients.

    References
    ----------
    He et al., arXiv 1502.01852, section 2.2, equations 10 and 14.
    """
    if _skipping.get():
        return _nothing(shape, dtype)
    fan_in, fan_out = fans(shape)
    std = math.sqrt(2 / (fan_in if mode == "fan_in" else fan_out))
    return (rng.standard_normal(shape) * std).astype(dtype)


def uniform_fan_in(
    shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: DTypeLike
) -> Array:
    """Draw evenly from +-1/sqrt(fan_in): PyTorch's default for weights and biases."""
    if _skipping.get():
        return _nothing(shape, dtype)
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def _nothing(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return zeros of a shape, all of them the same one."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def generator(rng: Rng) -> np.random.Generator:
    """Return a generator: the one given, a new one from a seed, or a random one."""
    return np.random.default_rng(rng)
