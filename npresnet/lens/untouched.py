"""The instruments' promise: a model is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _signals as signals
from npresnet.nn import Module


@contextmanager
def untouched(model: Module) -> Iterator[None]:
    """Put everything about a model back when the ``with`` block ends, come what may.

    Within the block the model may be run in any mode, its parameters, gradients and
    running statistics changed in place or replaced, its methods and submodules
    exchanged, attributes added. Afterwards every module has the attributes, every
    parameter and buffer the array, and every array the numbers that it had; what
    forward passes had kept for their backward passes is there again.

    Parameters
    ----------
    model : Module
        A model that may be in the middle of something: between a forward pass and
        its backward pass, for instance.

    Notes
    -----
    Parameters, gradients and buffers are copied: the block needs memory for twice
    the model. Kept activations are not copied; nobody may write into those.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> relu = nr.nn.ReLU()
    >>> with untouched(relu):
    ...     relu.forward = np.abs
    ...     relu(np.array([-3.0]))
    array([3.])
    >>> relu(np.array([-3.0]))
    array([0.])
    """
    things = [*model.modules(), *model.parameters()]
    attributes = [(thing, dict(thing.__dict__)) for thing in things]
    containers = [
        (value, value.copy())
        for _, values in attributes
        for value in values.values()
        if isinstance(value, dict | list)
    ]
    stacks = [(module, module.caches) for module in model.modules()]
    kept = [list(stack) for _, stack in stacks]
    arrays = [
        (array, array.copy()) for array in _arrays(model) if array.flags.writeable
    ]

    def put_back() -> None:
        with signals.held():
            for thing, values in attributes:
                thing.__dict__.clear()
                thing.__dict__.update(values)
            for container, contents in containers:
                _refill(container, contents)
            for (module, stack), caches in zip(stacks, kept, strict=True):
                module.caches = stack
                _refill(stack, caches)
            for array, numbers in arrays:
                np.copyto(array, numbers)

    try:
        yield
    finally:
        try:
            put_back()
        except BaseException:  # Ctrl-C just before: nothing, or not all, was put back
            put_back()
            raise


def _refill(container: Any, contents: Any) -> None:
    """Give a dict or a list its contents back; it stays the same object."""
    container.clear()
    if isinstance(container, dict):
        container.update(contents)
    else:
        container.extend(contents)


def _arrays(model: Module) -> Iterator[NDArray[Any]]:
    for parameter in model.parameters():
        yield parameter.data
        if parameter.grad is not None:
            yield parameter.grad
    for _, buffer in model.named_buffers():
        yield buffer
