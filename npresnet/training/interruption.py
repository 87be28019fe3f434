"""Ctrl-C and the terminate signal, answered between two batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, and stopped; what was complete is on disk.

    Attributes
    ----------
    folder : Path
        The run folder, to be resumed.
    signal_number : int
        The signal that asked for it: 2 for Ctrl-C, 15 for terminate.
    """

    def __init__(self, message: str, folder: Path, signal_number: int) -> None:
        super().__init__(message)
        self.folder = folder
        self.signal_number = signal_number


class StopRequest:
    """Whether somebody asked the run to stop.

    The first signal is answered at the next batch. While no batch is under way
    (kernels compile, data load), and at a second signal, it is answered at once.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.between_batches = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal, or stop at once."""
        del frame
        again = self.signal_number is not None
        self.signal_number = number
        if again or not self.between_batches:
            raise KeyboardInterrupt


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Answer signals through a `StopRequest` within a ``with`` block.

    Outside the main thread signals cannot be had, and nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
