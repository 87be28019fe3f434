"""Copies: a module as it is now."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import DTypeLike

from npresnet.nn import Module, Parameter


def frozen(module: Module, dtype: DTypeLike | None = None) -> Module:
    """Copy a module: parameters and buffers, no gradients, no caches.

    Parameters
    ----------
    module : Module
        Methods that were put in the place of its own are not copied.
    dtype : dtype, optional
        Of the copy's parameters and floating buffers; the module's unless given.
    """
    twin = copy.copy(module)
    for name, value in module.__dict__.items():
        if hasattr(type(module), name) and callable(value):
            del twin.__dict__[name]
    twin._parameters, twin._modules = {}, {}
    for name, parameter in module._parameters.items():
        setattr(twin, name, Parameter(np.array(parameter.data, dtype)))
    for name, child in module._modules.items():
        setattr(twin, name, frozen(child, dtype))
    for name in module._buffers:
        buffer = getattr(module, name)
        kind = dtype if buffer.dtype.kind == "f" else None
        twin.__dict__[name] = np.array(buffer, kind)
    return twin
