"""Doors: how others look on while modules compute, forward and backward.

A module's forward pass has one entrance, `Module.__call__`, where those who watch are
told. A backward pass is called by its own name, ``module.backward(grad_output)``, so
that a reader finds, and a debugger stops at, the lines that compute. Its door is there
only while somebody watches: `Module` then looks up ``backward`` through
`_found_through_the_door`, which finds what Python would find (the class's method, a
subclass's, one that was set on the instance) and tells the watchers after the call.

By the same door, `standing_in` lets others take the place of layers' passes, for those
who want to know what a network's own lines would do without having it done.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

from npresnet import _signals as signals
from npresnet._plain import plain
from npresnet._switches import Switch

ForwardWatcher = Callable[[Any, tuple[Any, ...], Any], None]
BackwardWatcher = Callable[[Any, tuple[Any, ...], tuple[Any, ...]], None]


class _Watcher(NamedTuple):
    forward: ForwardWatcher | None
    backward: BackwardWatcher | None


_NOBODY = _Watcher(None, None)
_watchers = Switch("watchers", _NOBODY)
_telling = Switch("telling", False)  # what watchers themselves compute is not reported


@contextmanager
def watching(
    forward: ForwardWatcher | None = None, backward: BackwardWatcher | None = None
) -> Iterator[None]:
    """See every module's passes within a ``with`` block, after each call.

    Parameters
    ----------
    forward : callable, optional
        Called as ``forward(module, inputs, output)``: the inputs are a tuple, the
        output is what the module returned.
    backward : callable, optional
        Called as ``backward(module, grad_outputs, grad_inputs)``, both tuples: the
        gradients with respect to the module's outputs, which it was given, and to
        its inputs, which it returned; None where one was spared.

    Raises
    ------
    TypeError
        If one of them cannot be called.

    Notes
    -----
    Arrays are plain ndarrays and the module's own, not copies: a watcher must not
    change them. Inner modules report before the module around them. What a watcher
    computes with modules itself is not reported. Blocks may lie within one another;
    the outer one is told first. Only passes of this thread and this context are seen
    (see `contextvars`).

    Paths of modules are ``{module: path for path, module in model.named_modules()}``.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> model = nr.nn.Sequential(nr.nn.Linear(3, 2, rng=0), nr.nn.ReLU())
    >>> def show(module, grad_outputs, grad_inputs):
    ...     print(type(module).__name__, grad_outputs[0].shape, grad_inputs[0].shape)
    >>> out = model(np.ones((1, 3), np.float32))
    >>> with nr.nn.watching(backward=show):
    ...     grad_x = model.backward(np.ones_like(out))
    ReLU (1, 2) (1, 2)
    Linear (1, 2) (1, 3)
    Sequential (1, 2) (1, 3)
    """
    for name, watcher in (("forward", forward), ("backward", backward)):
        if watcher is not None and not callable(watcher):
            kind = type(watcher).__name__
            raise TypeError(f"{name} must be a function or None, got {kind}")
    with ExitStack() as stack:
        if backward is not None:
            stack.enter_context(_doors())
        stack.enter_context(_watchers.set_to(_Watcher(forward, backward)))
        yield


# What may take the place of a module's pass: called as stand_in(module, "forward") or
# (module, "backward"), it returns a function, or None for the module's own.
StandIn = Callable[[Any, str], Callable[..., Any] | None]

_stand_in: Switch[StandIn | None] = Switch("stand-in", None)


@contextmanager
def standing_in(stand_in: StandIn) -> Iterator[None]:
    """Let other functions be found in the place of modules' passes, within a block.

    Only this thread and context find them. Modules for which there is none keep their
    own passes, which meet the others' in turn.
    """
    with _doors(), _stand_in.set_to(stand_in):
        yield


def is_watched() -> bool:
    """Tell whether somebody watches modules here."""
    return _watchers.get() is not _NOBODY


def report_forward(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Tell those who watch of a finished forward pass."""
    if _watchers.get() is _NOBODY or _telling.get():
        return
    with _telling.set_to(True):
        for watcher in _watchers.all():
            if watcher.forward is not None:
                watcher.forward(module, inputs, output)


def _report_backward(
    module: Any, grad_outputs: tuple[Any, ...], grad_inputs: tuple[Any, ...]
) -> None:
    with _telling.set_to(True):
        for watcher in _watchers.all():
            if watcher.backward is not None:
                watcher.backward(module, grad_outputs, grad_inputs)


# ------------------------------------------------------------- the door itself

_module_class: Any = None
_open = 0  # blocks that need the doors and are open, in all threads
_lock = threading.RLock()


def hang_doors(module_class: type) -> None:
    """Name the class whose passes have doors while somebody needs them."""
    global _module_class
    _module_class = module_class


@contextmanager
def _doors() -> Iterator[None]:
    _count(+1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    """Put the doors in when the first one watches; take them out after the last."""
    global _open
    with signals.held(), _lock:
        _open += change
        if _open == 1 and change == 1:
            _module_class.__getattribute__ = _found_through_the_door
        elif _open == 0:
            del _module_class.__getattribute__


def _found_through_the_door(module: Any, name: str) -> Any:
    """Look an attribute up as `object` does; around `backward`, put the door."""
    found = object.__getattribute__(module, name)
    if name not in ("forward", "backward") or _telling.get():
        return found
    stand_in = _stand_in.get()
    if stand_in is not None:
        return stand_in(module, name) or found
    if name == "forward":
        return found
    if all(watcher.backward is None for watcher in _watchers.all()):
        return found  # somebody watches in another thread

    @functools.wraps(found)
    def backward(*arguments: Any, **options: Any) -> Any:
        returned = found(*arguments, **options)
        given = tuple(
            plain("grad_output", value)
            for value in (*arguments, *options.values())
            if isinstance(value, np.ndarray)
        )
        # A module of several inputs returns a tuple.
        gradients = returned if isinstance(returned, tuple) else (returned,)
        _report_backward(module, given, gradients)
        return returned

    return backward


def _new_lock() -> None:
    """Forget a lock that was held in the process of which this is a fork's child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
