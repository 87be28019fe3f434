"""Signals that wait until something is done that they must not cut in two."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]


class _Hold:
    """Stands in for the handlers of signals, and notes which signals came."""

    def __init__(self) -> None:
        self.active = True
        self.handlers: dict[int, _Handler] = {}  # what it stands in for
        self.arrived: list[int] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.active:  # a signal came while handlers were being put back
            self.handlers[number](number, frame)
        elif number not in self.arrived:
            self.arrived.append(number)

    def take_over(self) -> None:
        """Stand in for every handler that is written in Python."""
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if not callable(handler):
                continue  # the system's: it ends the process, or nothing happens
            if isinstance(handler, _Hold) and handler.active:
                continue  # this block lies within another one, which holds it
            self.handlers[number] = handler
            signal.signal(number, self)

    def let_go(self) -> None:
        """Put the handlers back, and call those whose signals came."""
        self.active = False  # from here on, what arrives goes through
        try:
            for number, handler in self.handlers.items():
                if signal.getsignal(number) is self:
                    signal.signal(number, handler)
        finally:
            with ExitStack() as stack:  # it calls them all, though one raises
                for number in reversed(self.arrived):
                    handler = self.handlers[number]
                    stack.callback(handler, number, sys._getframe())


@contextmanager
def held() -> Iterator[None]:
    """Let signals that Python code handles wait until the ``with`` block has ended.

    Python calls handlers between any two instructions, also within a function that C
    has called: an exception such as KeyboardInterrupt is then printed and lost there,
    or what was being built stays half built. At the end of the block a handler is
    called once, however often its signal came.

    Only the main thread is ever interrupted: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hold = _Hold()
    try:
        hold.take_over()
        yield
    finally:
        hold.let_go()
