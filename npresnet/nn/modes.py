"""Switches that change what a forward or a backward pass leaves behind.

They belong to the thread that sets them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from npresnet import backend

Watcher = Callable[[Any, tuple[Any, ...], Any], None]


class _Modes(threading.local):
    def __init__(self) -> None:
        self.keeping = True  # forward keeps caches
        self.replaying = False  # backward leaves caches and gradients as they are
        self.fusing = True  # layers may be computed together
        self.depth = 0  # how many modules' forward passes are under way
        self.watchers: list[Watcher] = []


_modes = _Modes()


def is_keeping() -> bool:
    """Tell whether a forward pass keeps what a backward pass would need."""
    return _modes.keeping


def is_replaying() -> bool:
    """Tell whether the backward pass under way must leave no traces."""
    return _modes.replaying


def is_fusing() -> bool:
    """Tell whether several layers may be computed as one, because nobody looks."""
    return (
        _modes.fusing and not _modes.watchers and backend.get_backend() != "reference"
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
    before = _modes.fusing
    _modes.fusing = False
    try:
        yield
    finally:
        _modes.fusing = before


@contextmanager
def no_grad() -> Iterator[None]:
    """Keep no caches within a ``with`` block: less memory, and no backward pass.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> relu = nr.nn.ReLU()
    >>> with nr.no_grad():
    ...     relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    before = _modes.keeping
    _modes.keeping = False
    try:
        yield
    finally:
        _modes.keeping = before


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
    before = _modes.replaying
    _modes.replaying = True
    try:
        yield
    finally:
        _modes.replaying = before
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
    _modes.watchers.append(watcher)
    try:
        yield
    finally:
        _modes.watchers.remove(watcher)


def enter(module: Any) -> None:
    """Begin a module's forward pass; the outermost one starts with no caches."""
    if _modes.depth == 0:
        module.discard_caches()
    _modes.depth += 1


def leave() -> None:
    """End what `enter` began."""
    _modes.depth -= 1


def report(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Show a finished forward pass to those who watch."""
    for watcher in _modes.watchers:
        watcher(module, inputs, output)
