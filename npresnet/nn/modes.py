"""Switches that change what a forward or a backward pass leaves behind.

They belong to the context that sets them (`npresnet._switches`): no other thread, and
no other asyncio task, notices. The passes themselves belong to their thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from npresnet._switches import Switch

_keeping = Switch("keeping", True)  # forward keeps caches
_replaying = Switch("replaying", False)  # backward leaves caches and gradients alone


class Thread:
    """Stands for a thread, and ends with it: caches are kept under it."""


class _Here(threading.local):
    """What belongs to the thread that asks."""

    def __init__(self) -> None:
        self.thread = Thread()
        # The module whose forward pass is under way, the outermost one.
        self.outermost: Any = None


here = _Here()


def is_keeping() -> bool:
    """Tell whether a forward pass keeps what a backward pass would need."""
    return _keeping.get()


def is_replaying() -> bool:
    """Tell whether the backward pass under way must leave no traces."""
    return _replaying.get()


@contextmanager
def no_grad() -> Iterator[None]:
    """Keep no caches within a ``with`` block: less memory, and no backward pass.

    What earlier forward passes have kept stays: a model may be run within the block
    between a forward pass and its backward pass.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> relu = nr.nn.ReLU()
    >>> with nr.no_grad():
    ...     relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    with _keeping.set_to(False):
        yield


@contextmanager
def replaying(module: Any) -> Iterator[None]:
    """Let `module` go backward without a trace within a ``with`` block.

    Parameters
    ----------
    module : Module
        Its caches are back in place afterwards, and no parameter's gradient grows:
        an instrument can send several gradients through one forward pass.
    """
    kept = [(part, list(part.caches)) for part in module.modules()]
    try:
        with _replaying.set_to(True):
            yield
    finally:
        for part, caches in kept:
            part.caches[:] = caches
