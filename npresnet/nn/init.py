"""First values of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
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

    Raises
    ------
    TypeError, ValueError
        If it is no such shape.
    """
    _check_shape(shape)
    if len(shape) < 2:
        raise ValueError(f"shape must have two axes or more, got {shape}")
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def kaiming_normal(
    shape: tuple[int, ...],
    *,
    rng: np.random.Generator,
    dtype: DTypeLike,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> Array:
    """Draw from a normal distribution of deviation sqrt(2 / fan).

    The 2 makes up for the half of the signal that a ReLU takes away; ``fan_in``
    keeps the size of activations from layer to layer, ``fan_out`` that of gradients.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

    References
    ----------
    He et al., arXiv 1502.01852, section 2.2, equations 10 and 14.
    """
    _arguments.one_of("mode", mode, "fan_in", "fan_out")
    fan_in, fan_out = fans(shape)
    _check_source(rng, dtype)
    if _skipping.get():
        return _nothing(shape, dtype)
    std = math.sqrt(2 / (fan_in if mode == "fan_in" else fan_out))
    return (rng.standard_normal(shape) * std).astype(dtype)


def uniform_fan_in(
    shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, dtype: DTypeLike
) -> Array:
    """Draw evenly from +-1/sqrt(fan_in): PyTorch's default for weights and biases.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """
    _check_shape(shape)
    _arguments.whole("fan_in", fan_in, 1)
    _check_source(rng, dtype)
    if _skipping.get():
        return _nothing(shape, dtype)
    bound = 1 / math.sqrt(fan_in)
    return rng.uniform(-bound, bound, shape).astype(dtype)


def _check_shape(shape: tuple[int, ...]) -> None:
    if not isinstance(shape, tuple | list) or not shape:
        raise TypeError(f"shape must be a tuple of ints, got {_arguments.shown(shape)}")
    for length in shape:
        _arguments.whole("shape", length, 1)


def _check_source(rng: np.random.Generator, dtype: DTypeLike) -> None:
    _arguments.instance("rng", rng, np.random.Generator, "a NumPy Generator")
    _arguments.floating("dtype", dtype)


def _nothing(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return zeros of a shape, all of them the same one."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def generator(rng: Rng, name: str = "rng") -> np.random.Generator:
    """Return a generator: the one given, a new one from a seed, or a random one.

    Parameters
    ----------
    rng : Generator, int or None
        Where it comes from.
    name : str
        What the caller calls this.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or below 0.
    """
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    try:
        return np.random.default_rng(_arguments.whole(name, rng, 0))
    except (TypeError, ValueError) as error:
        wanted = f"{name} must be a Generator, a seed of at least 0 or None, got "
        raise type(error)(wanted + _arguments.shown(rng)) from None
