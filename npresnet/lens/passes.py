"""One forward pass under observation, and the gradient at which a backward one begins.

What the instruments for residual blocks share: they look at one step of training
without taking it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.untouched import untouched
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
    names = _block_names(model)
    check_batch(model, x, y)
    visits: list[Visit] = []

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, ResidualBlock) and module in names:
            visits.append(Visit(names[module], module, output))

    criterion = CrossEntropyLoss()
    with untouched(model), replaying(model):
        with watching(note):
            logits = model(x)
        loss = float(criterion(logits, y))
        yield Step(loss, criterion.backward(), visits)


def has_shortcut(block: ResidualBlock) -> bool:
    """Tell whether a way leads around the block's branch."""
    return not isinstance(block, PlainBlock)


def describe(model: Module) -> str:
    """Name a network by its kind and its depth, as the literature counts it.

    Examples
    --------
    >>> import npresnet as nr
    >>> describe(nr.models.plain20())
    'Plain net, 20 layers'
    """
    blocks = [module for module in model.modules() if isinstance(module, ResidualBlock)]
    aside = {part for block in blocks for part in block.downsample.modules()}
    layers = sum(
        isinstance(module, Conv2d | Linear) and module not in aside
        for module in model.modules()
    )
    kind = "Residual" if any(map(has_shortcut, blocks)) else "Plain"
    return f"{kind} net, {layers} layers"


def batch_note(images: int, training: bool) -> str:
    """Say what was measured on, in words for tables and captions."""
    mode = "training" if training else "evaluation"
    return f"a batch of {images} image{'s' * (images > 1)} in {mode} mode"


def norm(array: Array) -> float:
    """Return the Euclidean norm over all elements, summed in float64."""
    return math.sqrt(float(np.sum(np.square(array, dtype=np.float64))))


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


def _block_names(model: Module) -> dict[Module, str]:
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
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


def check_batch(model: Module, x: Any, y: Any) -> None:
    """Refuse images or labels that do not suit a model: TypeError, ValueError."""
    dtype = next(model.parameters()).dtype
    if not isinstance(x, np.ndarray) or x.dtype != dtype:
        got = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x must be an array of the model's {dtype}, got {got}")
    if x.ndim != 4 or not x.size:
        raise ValueError(f"x must have shape (N, C, H, W), got {x.shape}")
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        got = getattr(y, "dtype", type(y).__name__)
        raise TypeError(f"y must be an array of integers, got {got}")
    if y.shape != (len(x),):
        raise ValueError(
            f"y must have shape ({len(x)},), one label per image, got {y.shape}"
        )
