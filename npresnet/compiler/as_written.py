"""Whether a module computes what its class says here, or what somebody put there.

A program that is made from a network's structure must not go around what people have
changed: methods replaced on a class or on one module, and subclasses.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from npresnet import backend, functional, models, nn
from npresnet.nn import Module, Parameter

_Place = tuple[Any, str, Any]  # names and values, a name, the value that is right

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
    if not is_ours(kind) or getattr(home, kind.__name__, None) is not kind:
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
def _functions() -> list[_Place]:
    """List the names that layers' passes go through, with what they should be.

    What has been replaced by then is listed as missing, so that it never is as written.
    """
    found = []
    for module in _rooms():
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and is_ours(value):
                home = sys.modules[value.__module__]
                right = value if vars(home).get(value.__name__) is value else None
                found.append((vars(module), name, right))
    for kind in _our_modules():
        found += _as_defined(kind, methods_of(kind))
    for shared in (Module, Parameter):  # by all passes
        methods = [
            (vars(shared), name, method)
            for name, method in vars(shared).items()
            if isinstance(method, FunctionType)
        ]
        found += _as_defined(shared, methods)
    return found


def _as_defined(kind: type, methods: list[_Place]) -> list[_Place]:
    """Leave out what is another one than in the class's text: it is never right."""

    def is_right(name: str, method: Any) -> bool:
        inner = getattr(method, "__wrapped__", method)  # below a decorator
        return _is_defined_in(kind, name, inner)

    return [
        (own, name, method if is_right(name, method) else None)
        for own, name, method in methods
    ]


def is_ours(function: FunctionType | type) -> bool:
    """Tell whether a function or a class is the package's own."""
    return function.__module__.startswith(backend.__name__.partition(".")[0] + ".")


def methods_of(kind: type) -> list[_Place]:
    """List the methods of a class that take part in passes: where, name, function."""
    own = vars(kind)
    return [(own, name, own[name]) for name in _PASSES if name in own]


def _our_modules(base: type = Module) -> Iterator[type]:
    """Go through the package's classes of modules that have been made so far."""
    if is_ours(base):
        yield base
    kinds: list[type] = base.__subclasses__()
    for kind in kinds:
        yield from _our_modules(kind)


def _rooms() -> list[Any]:
    """Return the modules in whose names layers and functions look each other up."""
    rooms = [backend, backend.reference, functional]
    for package in (functional, nn, models):
        rooms += [
            module
            for name, module in vars(package).items()
            if isinstance(module, ModuleType)
        ]
    return rooms
