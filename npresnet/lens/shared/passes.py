"""One forward pass under observation, and the gradient at which a backward one begins.

What the instruments for residual blocks share: they look at one step of training
without taking it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain
from npresnet.compiler.folded_layers import FusedConv2d
from npresnet.compiler.folding import FusedBlock
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.models import PlainBlock, ResidualBlock
from npresnet.nn import Conv2d, CrossEntropyLoss, Linear, Module, replaying, watching

Array = NDArray[np.floating[Any]]
Progress = Callable[[int, int], None]  # told how much is done, and of how much


class Visit(NamedTuple):
    """One call of a residual block in the forward pass."""

    name: str  # path in the model, as in layer1.0
    block: ResidualBlock
    output: Array  # (N, C, H, W): zero where the ReLU after the addition is closed


class Step(NamedTuple):
    """What a forward pass leaves: its loss, and all that a backward pass needs."""

    loss: float  # mean cross entropy, in nats
    grad_logits: Array  # (N, classes)
    visits: list[Visit]  # in the order of the forward pass


@contextmanager
def forward_pass(
    model: Module, x: Array, y: NDArray[np.integer[Any]]
) -> Iterator[Step]:
    """Send a batch forward, in the mode the model is in; leave no traces afterwards.

    Within the ``with`` block the model holds the caches of this forward pass, and
    backward passes leave parameters' gradients alone. A module's caches can be used
    again and again under ``replaying(module)``.

    Parameters
    ----------
    model : Module
        A network with residual blocks (`PlainBlock` included).
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    y : ndarray of int of shape (N,)
        Labels.

    Raises
    ------
    TypeError
        If `model` is no Module, or `x` or `y` not of the right type.
    ValueError
        If the model has no residual blocks, or shapes do not fit.
    """
    x, y = check_batch(model, x, y)
    names = block_names(model)
    visits: list[Visit] = []

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, ResidualBlock) and module in names:
            visits.append(Visit(names[module], module, output))

    criterion = CrossEntropyLoss()
    with preserve_state(model), replaying(model):
        with watching(note):
            logits = model(x)
        loss = float(criterion(logits, y))
        yield Step(loss, criterion.backward(), visits)


def has_shortcut(block: ResidualBlock | FusedBlock) -> bool:
    """Tell whether a way leads around the block's branch."""
    if isinstance(block, FusedBlock):
        return block.adds
    return not isinstance(block, PlainBlock)


def describe(model: Module) -> str:
    """Name a network by its kind and its depth, as the literature counts it.

    Examples
    --------
    >>> import npresnet as nr
    >>> describe(nr.models.plain20())
    'Plain net, 20 layers'
    """
    layers = count_layers(model)
    if not _blocks(model):
        return f"{type(model).__name__}, {layers} layers"
    kind = "Residual" if is_residual(model) else "Plain"
    return f"{kind} net, {layers} layers"


def is_residual(model: Module) -> bool:
    """Tell whether any block of a network has a shortcut."""
    return any(map(has_shortcut, _blocks(model)))


def count_layers(model: Module) -> int:
    """Count convolutions and linear layers; those in shortcuts do not count."""
    aside = {part for block in _blocks(model) for part in block.downsample.modules()}
    return sum(
        isinstance(module, Conv2d | FusedConv2d | Linear) and module not in aside
        for module in model.modules()
    )


def _blocks(model: Module) -> list[ResidualBlock | FusedBlock]:
    kinds = ResidualBlock | FusedBlock
    return [module for module in model.modules() if isinstance(module, kinds)]


def batch_note(images: int, training: bool) -> str:
    """Say what was measured on, in words for tables and captions."""
    return f"a batch of {images_note(images, training)}"


def images_note(images: int, training: bool) -> str:
    """Say how many images were looked at, in batches of whatever size.

    Examples
    --------
    >>> images_note(10000, training=False)
    '10,000 images in evaluation mode'
    """
    mode = "training" if training else "evaluation"
    return f"{images:,} image{'s' * (images > 1)} in {mode} mode"


@np.errstate(under="ignore")  # squares that are too small for a float are zero
def norm(array: Array) -> float:
    """Return the Euclidean norm over all elements, summed in float64."""
    return math.sqrt(float(np.sum(np.square(array, dtype=np.float64))))


@np.errstate(under="ignore")
def dot(one: Array, other: Array) -> float:
    """Return the sum of the elements' products, in float64."""
    return float(np.sum(np.multiply(one, other, dtype=np.float64)))


def relative_error(actual: Array, expected: Array) -> float:
    """Return how far `actual` is off, in norms of what was expected."""
    error = norm(actual - expected)
    if error == 0:
        return 0.0
    size = norm(expected)
    return error / size if size else math.inf


def block_names(model: Module) -> dict[Module, str]:
    """Map a model's residual blocks to their paths, or refuse a model without any."""
    check_model(model)
    names: dict[Module, str] = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, ResidualBlock)
    }
    if not names:
        raise ValueError(
            f"model must have residual blocks; {type(model).__name__} has none"
        )
    return names


def check_model(model: Any) -> None:
    """Refuse what is no `Module`."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")


def check_images(model: Module, x: Any) -> Array:
    """Insist on a model, and on images of its dtype; return these as a plain array.

    Raises
    ------
    TypeError, ValueError
        If it is no Module, or `x` no array (N, C, H, W) of its dtype.
    """
    check_model(model)
    parameter = next(model.parameters(), None)
    if parameter is None:
        raise ValueError(f"model must have parameters; {type(model).__name__} has none")
    dtype = parameter.dtype
    if not isinstance(x, np.ndarray) or x.dtype != dtype:
        got = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be an array of the model's {dtype}, got {got}")
    images: Array = plain("x", x)
    if images.ndim != 4 or not images.size:
        raise ValueError(f"x must have shape (N, C, H, W), got {images.shape}")
    return images


def check_batch(
    model: Module, x: Any, y: Any
) -> tuple[Array, NDArray[np.integer[Any]]]:
    """Insist on a batch of images with one label each; return both as plain arrays."""
    x = check_images(model, x)
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        got = getattr(y, "dtype", type(y).__name__)
        raise TypeError(f"y must be an array of integers, got {got}")
    y = plain("y", y)
    if y.shape != (len(x),):
        raise ValueError(
            f"y must have shape ({len(x)},), one label per image, got {y.shape}"
        )
    return x, y


def at_least(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number, or refuse what is none or out of range."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    number = operator.index(value)
    if number < least or (most is not None and number > most):
        wanted = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{name}: expected {wanted}, got {number}")
    return number
