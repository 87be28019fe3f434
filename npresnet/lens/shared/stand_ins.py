"""Stand-ins: other modules in the places of a model's own, for a while.

What cannot be seen from outside a module is seen, or changed, by putting another module
in its place. Nothing about the module itself is touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from npresnet.nn import Module

Kind = TypeVar("Kind", bound=Module)


def like(module: Kind, **methods: Callable[..., Any]) -> Kind:
    """Make a module like another, of a class of its own that derives from the other's.

    Parameters
    ----------
    module : Module
        Whose layers, parameters and settings it shares. It keeps its own caches.
    **methods : callable
        Of the new class; the first argument is the new module.
    """
    kind = type(module)
    other = copy.copy(module)
    other.__class__ = type(kind.__name__, (kind,), methods)
    return other


def exchange(model: Module, others: Mapping[Any, Module]) -> Module:
    """Put other modules in the places of some; only within `preserve_state`.

    Parameters
    ----------
    model : Module
        Where to look for them.
    others : mapping of Module to Module
        What is to stand in each one's place.

    Returns
    -------
    Module
        The model, or what stands in its place.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child in others:
                setattr(parent, name, others[child])
    return others.get(model, model)
