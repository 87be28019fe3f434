"""Whether a module computes what its class says here, or what somebody put there.

A program that is made from a network's structure must not go around what people have
changed: methods replaced on a class or on one module, and subclasses.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from npresnet import models, nn
from npresnet.nn import Module

# What takes part in a forward or a backward pass.
_PASSES = (
    "__call__",
    "__iter__",
    "backward",
    "branch_backward",
    "branch_forward",
    "forward",
    "layers",
    "shortcut_backward",
    "shortcut_forward",
    "stages",
)


def is_as_written(module: Module) -> bool:
    """Tell whether a module's class is one of ours, with all its passes untouched.

    What is inside of the module is another question.
    """
    kind = type(module)
    if getattr(models, kind.__name__, getattr(nn, kind.__name__, None)) is not kind:
        return False
    if any(name in vars(module) for name in _PASSES):
        return False
    return all(
        _is_defined_in(owner, name, vars(owner)[name])
        for owner in kind.__mro__
        for name in _PASSES
        if name in vars(owner)
    )


def _is_defined_in(owner: type, name: str, value: Any) -> bool:
    """Tell whether a method is the one that stands in its class's own text."""
    return (
        isinstance(value, FunctionType)
        and value.__module__ == value.__globals__["__name__"] == owner.__module__
        and value.__code__.co_qualname == f"{owner.__qualname__}.{name}"
    )
