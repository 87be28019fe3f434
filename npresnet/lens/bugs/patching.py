"""Putting a wrong function in the place of a right one, and the right one back."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from npresnet import _signals as signals
from npresnet.lens.bugs.registry import replacements

_SEAM = "npresnet.backend"
_BACKENDS = ("npresnet.backend.reference", "npresnet.backend.kernels")
_OWN = "npresnet.lens.bugs"

# What stood at a place before any bug: wrong versions may ask for it.
_originals: dict[str, Any] = {}


@contextmanager
def inject(name: str) -> Iterator[None]:
    """Let a bug live within a ``with`` block.

    It is in force in both backends and wherever the function has been imported to,
    by name or otherwise. Blocks may be nested; of two bugs in one place, the inner
    one holds. Not for several threads at once.

    Parameters
    ----------
    name : str
        One of `npresnet.lens.bugs.names`.

    Raises
    ------
    ValueError
        If there is no bug of that name.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.zeros((1, 1, 2, 2))
    >>> with nr.lens.bugs.inject("relu_gradient_one_at_zero"):
    ...     _, cache = nr.functional.relu_forward(x)
    ...     nr.functional.relu_backward(np.ones_like(x), cache).sum()
    np.float64(4.0)
    """
    wrong = replacements(name)
    with ExitStack() as stack:
        for where, function in wrong.items():
            stack.enter_context(_replaced(where, function))
        yield


def original(where: str) -> Any:
    """Return what stands at a place when no bug is injected."""
    return _originals.get(where) or _find(where)


def places(where: str) -> list[tuple[Any, str]]:
    """Find where a bug changes something: (module or class, attribute) pairs."""
    module_name, _, path = where.partition(":")
    if module_name == _SEAM:
        return [(importlib.import_module(backend), path) for backend in _BACKENDS]
    owner: Any = importlib.import_module(module_name)
    *classes, attribute = path.split(".")
    for part in classes:
        owner = vars(owner)[part]
    return [(owner, attribute)]


def _find(where: str) -> Any:
    owner, attribute = places(where)[0]
    return vars(owner)[attribute]


@contextmanager
def _replaced(where: str, wrong: Any) -> Iterator[None]:
    found = [(owner, name, vars(owner)[name]) for owner, name in places(where)]
    _originals.setdefault(where, found[0][-1])
    is_function = where.partition(":")[0] != _SEAM and "." not in where.split(":")[1]

    def put_back() -> None:
        with signals.held():
            for owner, name, right in found:
                setattr(owner, name, right)
            if is_function:
                # Also in modules that were first imported while the bug was there.
                _swap(wrong, found[0][-1])

    try:
        for owner, name, _ in found:
            setattr(owner, name, wrong)
        if is_function:
            _swap(found[0][-1], wrong)
        yield
    finally:
        try:
            put_back()
        except BaseException:  # Ctrl-C just before: the bug may still be there
            put_back()
            raise


def _swap(old: Any, new: Any) -> None:
    """Replace a function in every module that holds it under any name."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(_OWN):
            continue  # wrong versions go on calling the right ones
        namespace = getattr(module, "__dict__", {})
        for name in [name for name, value in namespace.items() if value is old]:
            namespace[name] = new
