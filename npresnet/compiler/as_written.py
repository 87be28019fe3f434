"""Whether a module computes what its class says here, or what somebody put there.

A program that is made from a network's structure must not go around what people have
changed: methods replaced on a class or on one module, and subclasses.
"""

from __future__ import annotations

import functools
import sys
from types import FunctionType, ModuleType
from typing import Any

from npresnet import backend, functional, nn
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
    home = sys.modules.get(kind.__module__)
    if not _is_ours(kind) or getattr(home, kind.__name__, None) is not kind:
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


def functions_are_as_written() -> bool:
    """Tell whether what layers call, and their methods, are what the package has.

    Quick, because it is asked at every step.
    """
    return all(room.get(name) is value for room, name, value in _functions())


@functools.cache
def _functions() -> list[tuple[Any, str, Any]]:
    """List the names that layers' passes go through, with what they should be.

    What has been replaced by then is listed as missing, so that it never is as written.
    """
    found = []
    for module in _rooms():
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and _is_ours(value):
                home = sys.modules[value.__module__]
                right = value if vars(home).get(value.__name__) is value else None
                found.append((vars(module), name, right))
    for kind in vars(nn).values():
        if isinstance(kind, type) and issubclass(kind, Module):
            for name in _PASSES:
                if name in vars(kind):
                    found.append((vars(kind), name, vars(kind)[name]))
    return found


def _is_ours(function: FunctionType | type) -> bool:
    return function.__module__.startswith(backend.__name__.partition(".")[0] + ".")


def _rooms() -> list[Any]:
    """Return the modules in whose names layers and functions look each other up."""
    rooms = [backend, backend.reference, functional]
    for package in (functional, nn):
        rooms += [
            module
            for name, module in vars(package).items()
            if isinstance(module, ModuleType)
        ]
    return rooms
