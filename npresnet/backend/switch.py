"""Which of the two backends runs."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import numpy as np

from npresnet import _signals as signals
from npresnet._switches import Switch

P = ParamSpec("P")
R = TypeVar("R")

_NAMES = ("numba", "reference")
_backend = Switch("backend", "numba")


def get_backend() -> str:
    """Name the backend in use: ``"numba"`` or ``"reference"``."""
    return _backend.get()


def set_backend(name: str) -> None:
    """Use the compiled kernels (``"numba"``, the default) or plain NumPy.

    It holds for the whole process, except within blocks of `using_backend`.

    Raises
    ------
    ValueError
        If there is no backend of that name.
    """
    _backend.default = _known(name)


@contextmanager
def using_backend(name: str) -> Iterator[None]:
    """Use another backend within a ``with`` block.

    It holds for this block's context: other threads and tasks keep theirs.

    Examples
    --------
    >>> import npresnet as nr
    >>> with nr.using_backend("reference"):
    ...     nr.get_backend()
    'reference'
    """
    with _backend.set_to(_known(name)):
        yield


def _known(name: str) -> str:
    if name not in _NAMES:
        known = ", ".join(map(repr, _NAMES))
        raise ValueError(f"name must be one of {known}, got {name!r}")
    return name


def is_plain() -> bool:
    """Tell whether operations run as plain NumPy."""
    return _backend.get() == "reference"


def quietly(operation: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call an operation of the reference; what is too small for a float is zero.

    As in all that is compiled, that is no error, even to those who have NumPy raise
    errors.
    """
    with np.errstate(under="ignore"):
        return operation(*args, **kwargs)


class _Kernels:
    """Stands for `npresnet.backend.kernels` until an operation is first called.

    It loads Numba, which takes a while. Then the package itself takes this one's place,
    which is ``compiled`` in the module of the given name.
    """

    def __init__(self, user: str) -> None:
        self._user = user

    def __getattr__(self, name: str) -> Any:
        kernels = _load_kernels()
        vars(sys.modules[self._user])["compiled"] = kernels
        return getattr(kernels, name)


def lazy_kernels(user: str) -> Any:
    """Return what a module may call ``compiled``; it loads the kernels when needed."""
    return _Kernels(user)


@functools.cache
def _load_kernels() -> ModuleType:
    with signals.held():  # Numba and LLVM would stay half loaded
        kernels = importlib.import_module("npresnet.backend.kernels")
    from npresnet.backend.kernels.ahead import start_if_cold

    start_if_cold()
    return kernels
