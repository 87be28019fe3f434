"""Switches that change what a forward or a backward pass leaves behind.

They belong to the context that sets them (`npresnet._switches`): no other thread, and
no other asyncio task, notices. The passes themselves belong to their thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from npresnet import backend
from npresnet._switches import Switch

Watcher = Callable[[Any, tuple[Any, ...], Any], None]

_keeping = Switch("keeping", True)  # forward keeps caches
_replaying = Switch("replaying", False)  # backward leaves caches and gradients alone
_fusing = Switch("fusing", True)  # layers may be computed together
_watchers: Switch[Watcher | None] = Switch("watchers", None)


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


def is_fusing() -> bool:
    """Tell whether several layers may be computed as one, because nobody looks."""
    return (
        _fusing.get()
        and _watchers.get() is None
        and backend.get_backend() != "reference"
    )


@contextmanager
def layer_by_layer() -> Iterator[None]:
    """Compute every layer on its own within a ``with`` block, forward and backward.

    Results are the same. It is so anyway with the reference backend, and while
    somebody is `watching`.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> block = nr.models.BasicBlock(4, 4)
    >>> x = np.random.default_rng(0).standard_normal((2, 4, 8, 8), dtype=np.float32)
    >>> out = block(x)
    >>> with nr.nn.layer_by_layer():
    ...     bool((block(x) == out).all())
    True
    """
    with _fusing.set_to(False):
        yield


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


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Call ``watcher(module, inputs, output)`` after every module's forward pass.

    Parameters
    ----------
    watcher : callable
        Must not change the arrays that it is shown.
    """
    with _watchers.set_to(watcher):
        yield


def report(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Show a finished forward pass to those who watch."""
    if _watchers.get() is not None:
        for watcher in _watchers.all():
            assert watcher is not None
            watcher(module, inputs, output)
