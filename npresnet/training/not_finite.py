"""Where a NaN or an infinity came from: the first layer, forward or backward.

A healthy step pays for one look at the loss, the gradients and the running
statistics. Only a step in which one of them is not finite is computed once more,
with every module watched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import watching

if TYPE_CHECKING:
    from npresnet.nn import CrossEntropyLoss, Module

Array = NDArray[np.floating[Any]]


def is_finite(array: Array) -> bool:
    """Tell whether an array holds neither NaN nor infinity."""
    return bool(np.isfinite(array).all())


def describe(array: Array) -> str:
    """Name what is wrong in an array.

    An infinity, where there is one: NaN comes of it (inf - inf, 0 * inf), not it of
    NaN.
    """
    return "infinity" if np.isinf(array).any() else "NaN"


def find(
    model: Module, criterion: CrossEntropyLoss, x: Array, labels: NDArray[np.int64]
) -> str:
    """Compute a step once more, without updating, and name where it goes wrong first.

    Parameters
    ----------
    model : Module
        With the parameters and running statistics that the step began with; it has
        no gradients afterwards, and its running statistics have moved on.
    criterion : CrossEntropyLoss
        The loss.
    x : ndarray of shape (N, C, H, W)
        The step's images.
    labels : int64 ndarray of shape (N,)
        Their labels.

    Returns
    -------
    str
        Such as ``"the first infinity is in the output of layer1.0.conv2 (forward)"``.
    """
    losses: list[float] = []
    found = find_forward(model, lambda: losses.append(criterion(model(x), labels)))
    if found is not None:
        return found
    if not math.isfinite(losses[0]):
        return f"the loss is {float(losses[0])}, of logits that are finite"
    trace = _Trace(model)
    model.zero_grad()
    with watching(backward=trace.after_backward):
        model.backward(criterion.backward(), input_grad=False)
    model.zero_grad()
    return trace.first or "computed once more, it is finite: the machine erred"


def find_forward(model: Module, forward: Callable[[], Any]) -> str | None:
    """Name what is not finite first in a forward pass, the parameters before it.

    Parameters
    ----------
    model : Module
        The model.
    forward : callable
        Runs it.

    Returns
    -------
    str or None
        None where all is finite.
    """
    for name, parameter in model.named_parameters():
        if not is_finite(parameter.data):
            return _found(parameter.data, f"{name} before the step")
    trace = _Trace(model)
    with watching(trace.after_forward):
        forward()
    return trace.first


class _Trace:
    """The first array that is not finite, as modules show theirs in turn."""

    def __init__(self, model: Module) -> None:
        self.names = {module: name or "the network" for name, module in _named(model)}
        self.first: str | None = None

    def note(self, array: Any, where: str) -> None:
        """Look at an array, unless the first bad one is known."""
        if self.first is None and isinstance(array, np.ndarray):
            if array.dtype.kind == "f" and not is_finite(array):
                self.first = _found(array, where)

    def after_forward(
        self, module: Module, inputs: tuple[Any, ...], output: Any
    ) -> None:
        """Look at a forward pass; inner modules come before those around them."""
        name = self.names.get(module)
        if name is None:
            return
        for x in inputs:  # what was computed between two modules, such as a sum
            self.note(x, f"the input of {name} (forward)")
        self.note(output, f"the output of {name} (forward)")
        for buffer in module._buffers:
            self.note(getattr(module, buffer), f"{buffer} of {name} (forward)")

    def after_backward(
        self,
        module: Module,
        grad_outputs: tuple[Any, ...],
        grad_inputs: tuple[Any, ...],
    ) -> None:
        """Look at a backward pass; inner modules come before those around them."""
        name = self.names.get(module)
        if name is None:
            return
        if not any(True for _ in module.children()):  # between two leaves: a sum
            for gradient in grad_outputs:
                self.note(gradient, f"the gradient that enters {name} (backward)")
        for own, parameter in module._parameters.items():
            self.note(parameter.grad, f"the gradient of {name}.{own} (backward)")
        for gradient in grad_inputs:
            what = f"the gradient with respect to the input of {name} (backward)"
            self.note(gradient, what)


def _named(model: Module) -> Iterator[tuple[str, Module]]:
    """Go through the modules, each once: some are used under several names."""
    seen: set[Module] = set()
    for name, module in model.named_modules():
        if module not in seen:
            seen.add(module)
            yield name, module


def _found(array: Array, where: str) -> str:
    return f"the first {describe(array)} is in {where}"
