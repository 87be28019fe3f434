"""First weights gone wrong."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.lens.bugs.registry import bug
from npresnet.nn import init
from npresnet.nn.init import kaiming_normal as right_kaiming_normal

Array = NDArray[np.floating[Any]]
Mode = Literal["fan_in", "fan_out"]


@bug(
    "npresnet.nn.init:kaiming_normal",
    seen_in="common: torchvision draws by fan_out, akamaster by fan_in, and one is "
    "taken for the other",
    symptom="layers that change their width start at another scale; training curves "
    "cannot be compared",
)
def fan_in_for_fan_out(
    shape: tuple[int, ...],
    *,
    rng: np.random.Generator,
    dtype: DTypeLike,
    mode: Mode = "fan_in",
) -> Array:
    """Divide by what flows in although what flows out was asked for."""
    return right_kaiming_normal(shape, rng=rng, dtype=dtype, mode="fan_in")


@bug(
    "npresnet.nn.init:kaiming_normal",
    seen_in="common: Xavier's deviation in a network of ReLUs",
    symptom="without batch norm the signal shrinks by sqrt(2) a layer; with it only "
    "the first steps differ",
)
def init_without_the_two(
    shape: tuple[int, ...],
    *,
    rng: np.random.Generator,
    dtype: DTypeLike,
    mode: Mode = "fan_in",
) -> Array:
    """Draw with deviation sqrt(1/fan), forgetting what the ReLU takes away."""
    drawn = right_kaiming_normal(shape, rng=rng, dtype=np.float64, mode=mode)
    return (drawn / math.sqrt(2)).astype(dtype)


@bug(
    "npresnet.nn.init:kaiming_normal",
    seen_in="ASGDLO, numpy-ml: NumPy draws float64",
    symptom="weights of float64 in a float32 network: slow, or an error where dtypes "
    "meet",
)
def init_in_float64(
    shape: tuple[int, ...],
    *,
    rng: np.random.Generator,
    dtype: DTypeLike,
    mode: Mode = "fan_in",
) -> Array:
    """Leave the weights in the dtype in which they were drawn."""
    return right_kaiming_normal(shape, rng=rng, dtype=np.float64, mode=mode)


@bug(
    "npresnet.nn.init:generator",
    seen_in="common: the seed is set where a layer is made",
    symptom="layers of one shape start with the same weights; hard to see, for the "
    "network still learns",
)
def every_layer_draws_the_same(rng: init.Rng, name: str = "rng") -> np.random.Generator:
    """Start a new generator with the same seed for everyone who asks."""
    return np.random.default_rng(0)
