"""A ResNet that can be read: forward and backward passes by hand in NumPy.

``import npresnet as nr`` loads nothing heavy: rooms open when they are first
named, kernels compile when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from npresnet import (
        backend,
        compiler,
        course,
        data,
        functional,
        lens,
        models,
        nn,
        optim,
        plots,
        testing,
        training,
        weights,
    )
    from npresnet.backend import (
        get_algorithm,
        get_backend,
        get_threads,
        set_algorithm,
        set_backend,
        set_threads,
        using_algorithm,
        using_backend,
    )
    from npresnet.compiler import compile, inference, warmup
    from npresnet.nn import no_grad

_ROOMS = (
    "backend",
    "compiler",
    "course",
    "data",
    "functional",
    "lens",
    "models",
    "nn",
    "optim",
    "plots",
    "testing",
    "training",
    "weights",
)
_SWITCHES = {
    "get_algorithm": "npresnet.backend",
    "set_algorithm": "npresnet.backend",
    "using_algorithm": "npresnet.backend",
    "get_backend": "npresnet.backend",
    "set_backend": "npresnet.backend",
    "using_backend": "npresnet.backend",
    "get_threads": "npresnet.backend",
    "set_threads": "npresnet.backend",
    "no_grad": "npresnet.nn",
    "compile": "npresnet.compiler",
    "inference": "npresnet.compiler",
    "warmup": "npresnet.compiler",
}

__all__ = [
    "backend",
    "compile",
    "compiler",
    "course",
    "data",
    "functional",
    "get_algorithm",
    "get_backend",
    "get_threads",
    "inference",
    "lens",
    "models",
    "nn",
    "no_grad",
    "optim",
    "plots",
    "set_algorithm",
    "set_backend",
    "set_threads",
    "testing",
    "training",
    "using_algorithm",
    "using_backend",
    "warmup",
    "weights",
]


def __getattr__(name: str) -> Any:
    """Open a room, or fetch a switch, when it is first asked for (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"npresnet.{name}")
    if name in _SWITCHES:
        return getattr(importlib.import_module(_SWITCHES[name]), name)
    raise AttributeError(f"module 'npresnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
