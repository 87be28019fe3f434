"""The one place that knows that a hot operation can run in two ways.

``backend.conv2d(...)`` is `reference.conv2d` or `kernels.conv2d`, whichever is
switched on; the two have the same names, signatures and results (to rounding).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet import _signals as signals
from npresnet._switches import Switch
from npresnet.backend.algorithm import (
    get_algorithm,
    set_algorithm,
    using_algorithm,
)
from npresnet.backend.constants import constant
from npresnet.backend.geometry import Geometry, as_pair
from npresnet.backend.threads import available_threads, get_threads, set_threads

__all__ = [
    "OPERATIONS",
    "Geometry",
    "as_pair",
    "available_threads",
    "constant",
    "get_algorithm",
    "get_backend",
    "get_threads",
    "set_algorithm",
    "set_backend",
    "set_threads",
    "using_algorithm",
    "using_backend",
]

OPERATIONS = (
    "add",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm_grad_input",
    "batch_norm_grad_sums",
    "batch_norm_normalize",
    "batch_norm_relu",
    "batch_norm_relu_grad_sums",
    "batch_norm_statistics",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "fused_conv2d",
    "linear",
    "linear_grad_input",
    "linear_grad_weight",
    "max_pool2d",
    "max_pool2d_grad",
    "rectified_batch_norm_grad_input",
    "rectified_batch_norm_grad_sums",
    "relu",
    "relu_grad",
    "sgd_update",
    "zero_pad_shortcut",
    "zero_pad_shortcut_grad",
)

# Modules are named, not imported: `kernels` loads Numba, which takes a while.
_MODULES = {
    "numba": "npresnet.backend.kernels",
    "reference": "npresnet.backend.reference",
}
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
    if name not in _MODULES:
        known = ", ".join(map(repr, _MODULES))
        raise ValueError(f"name must be one of {known}, got {name!r}")
    return name


def module() -> ModuleType:
    """Return the module that holds the operations in use."""
    return _load(_backend.get())


@functools.cache
def _load(name: str) -> ModuleType:
    with signals.held():  # Numba and LLVM would stay half loaded
        loaded = importlib.import_module(_MODULES[name])
    if name == "numba":
        from npresnet.backend.kernels.ahead import start_if_cold

        start_if_cold()
    return loaded


def _operation(name: str) -> Callable[..., Any]:
    """Make the function that does what the backend in use does under this name."""

    def operation(*arguments: Any) -> Any:
        backend = _backend.get()
        function = getattr(_load(backend), name)
        if backend != "reference":
            return function(*arguments)
        # As in all that is compiled, what is too small for a float is zero, and no
        # error, even to those who have NumPy raise errors.
        with np.errstate(under="ignore"):
            return function(*arguments)

    operation.__name__ = operation.__qualname__ = name
    operation.__doc__ = f"See `reference.{name}`."
    return operation


# Functions, not a module's `__getattr__`: at every call, Python would first make an
# error of the missing attribute, which takes longer than all the rest.
globals().update({name: _operation(name) for name in OPERATIONS})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
