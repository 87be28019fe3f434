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
def preserve_state(model: Module) -> Iterator[None]:
    """Put a model's state back when the ``with`` block ends, come what may.

    Within the block the model may be run in any mode, its parameters, gradients and
    running statistics changed in place or replaced, its settings changed, other modules
    put in the places of its own. Afterwards every module has the attributes, every
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
    >>> model = nr.nn.Sequential(nr.nn.ReLU(), nr.nn.AvgPool2d(2)).train()
    >>> with preserve_state(model):
    ...     setattr(model.eval(), "0", nr.nn.Sequential())  # the identity
    ...     model(-np.ones((1, 1, 2, 2)))
    array([[[[-1.]]]])
    >>> model.training, model(-np.ones((1, 1, 2, 2)))
    (True, array([[[[0.]]]]))
    """
    things = [*model.modules(), *model.parameters()]
    attributes = [(thing, dict(thing.__dict__)) for thing in things]
    registers = [  # of parameters, buffers and modules
        (value, value.copy())
        for _, values in attributes
        for value in values.values()
        if isinstance(value, dict | list)
    ]
    caches = [
        (module, module.caches, list(module.caches)) for module in model.modules()
    ]
    arrays = [
        (array, array.copy()) for array in _arrays(model) if array.flags.writeable
    ]

    def put_back() -> None:
        with signals.held():
            for thing, values in attributes:
                thing.__dict__.clear()
                thing.__dict__.update(values)
            for register, entries in registers:
                register.clear()
                if isinstance(register, dict):
                    register.update(entries)
                else:
                    register.extend(entries)
            for part, stack, kept in caches:
                stack[:] = kept
                part.caches = stack
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


def _arrays(model: Module) -> Iterator[NDArray[Any]]:
    for parameter in model.parameters():
        yield parameter.data
        if parameter.grad is not None:
            yield parameter.grad
    for _, buffer in model.named_buffers():
        yield buffer
