"""Layers by name: what each call of a layer gave, in the order of the forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.compiler.folded_layers import FusedConv2d
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import Conv2d, Module, ReLU, no_grad, watching

Array = NDArray[np.floating[Any]]

_NEAR = 4  # names that an error suggests


class Call(NamedTuple):
    """One call of a layer in the forward pass."""

    name: str  # path in the model, as in layer1.0.relu
    number: int  # from 1: a block calls its one ReLU several times
    module: Module
    output: Array


class Place(NamedTuple):
    """A layer that somebody named, and which of its calls is meant."""

    name: str
    module: Module
    number: int | None  # None: the last one

    def pick(self, calls: list[Array]) -> Array:
        """Pick the call that is meant.

        Raises
        ------
        ValueError
            If the forward pass did not come here, or not so often.
        """
        if not calls:
            raise ValueError(f"layer {self.name}: the forward pass does not call it")
        if self.number is None:
            return calls[-1]
        if not 1 <= self.number <= len(calls):
            times = "once" if len(calls) == 1 else f"{len(calls)} times"
            raise ValueError(
                f"layer {self.name}#{self.number}: the forward pass calls "
                f"{self.name} {times}"
            )
        return calls[self.number - 1]


def find(model: Module, layer: str) -> Place:
    """Find a layer by its name.

    Parameters
    ----------
    model : Module
        Where to look.
    layer : str
        As in ``layer3`` or ``layer1.0.conv1``. A layer that is called several times
        has its calls counted from 1, as in ``layer1.0.relu#1``; without a number the
        last one is meant.

    Raises
    ------
    TypeError
        If the name is no text.
    ValueError
        If there is no such layer; the error says what is near, and what there is.
    """
    if not isinstance(layer, str):
        raise TypeError(f"layer must be a name, got {type(layer).__name__}")
    modules = {name: module for name, module in model.named_modules() if name}
    name, _, number = layer.partition("#")
    if name in modules and (number.isdecimal() or name == layer):
        return Place(name, modules[name], int(number) if number else None)
    near = get_close_matches(name, modules, _NEAR, 0.5)
    nearest = f"near it: {', '.join(near)}; " if near else ""
    top = ", ".join(name for name, _ in model.named_children())
    raise ValueError(f"layer {layer!r}: there is none; {nearest}at the top: {top}")


def last_stage(model: Module) -> str:
    """Name the last part of the model that holds a convolution.

    Raises
    ------
    ValueError
        If none does.

    Examples
    --------
    >>> import npresnet as nr
    >>> last_stage(nr.models.resnet8())
    'layer3'
    """
    for name, child in reversed(list(model.named_children())):
        if any(isinstance(part, Conv2d) for part in child.modules()):
            return name
    raise ValueError(
        f"layer: {type(model).__name__} has no convolutions; name another kind of layer"
    )


def watch_layers(model: Module, x: Array, note: Callable[[Call], None]) -> Array:
    """Send a batch forward, in the mode the model is in; leave no traces.

    Parameters
    ----------
    model : Module
        Any; it is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images.
    note : callable
        Told of every call of every module inside the model, when it has its output.

    Returns
    -------
    ndarray
        The model's output.
    """
    names = {module: name for name, module in model.named_modules()}
    numbers: Counter[Module] = Counter()

    def tell(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if names.get(module):
            numbers[module] += 1
            note(Call(names[module], numbers[module], module, output))

    with preserve_state(model), no_grad(), watching(tell):
        out: Array = model(x)
    return out


def is_rectified(module: Module) -> bool:
    """Tell whether what a layer gives is a ReLU's output."""
    return isinstance(module, ReLU) or (
        isinstance(module, FusedConv2d) and module.rectify
    )
