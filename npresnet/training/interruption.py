"""Ctrl-C, the terminate signal and a closed terminal, answered between two batches."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
# Terminals and wrappers often send the same Ctrl-C twice.
_SECONDS_TO_A_SECOND_REQUEST = 1.0


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to stop, and stopped; `--resume` goes on where it was.

    Attributes
    ----------
    folder : Path
        The run folder, to be resumed.
    signal_number : int
        The signal that asked for it: 2 for Ctrl-C, 15 for terminate.
    """

    def __init__(self, message: str, folder: Path, signal_number: int) -> None:
        # All three, so that a copy can be made of them: another process gets one.
        super().__init__(message, folder, signal_number)
        self.folder = folder
        self.signal_number = signal_number

    def __str__(self) -> str:
        return str(self.args[0])


class StopRequest:
    """Whether somebody asked the run to stop.

    A request is answered by a KeyboardInterrupt: at once, or, where it comes within
    `postponed`, when that ends. Who asks again a second later does not want to
    wait: that is answered at once.

    Attributes
    ----------
    signal_number : int or None
        The signal that asked, if any did.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._asked_at = 0.0
        self._postponed = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal, or stop at once."""
        del frame
        now = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._asked_at = number, now
            if not self._postponed:
                raise KeyboardInterrupt
        elif now - self._asked_at >= _SECONDS_TO_A_SECOND_REQUEST:
            raise KeyboardInterrupt

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Let what is in the ``with`` block be finished before the run stops."""
        self._postponed = True
        try:
            yield
        finally:
            self._postponed = False
        if self.signal_number is not None:
            raise KeyboardInterrupt


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Answer signals through a `StopRequest` within a ``with`` block.

    Outside the main thread signals cannot be had, and nothing is changed. A closed
    terminal that is to be ignored (``nohup``) is ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    answered = list(_SIGNALS)
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        answered.append(_HANGUP)
    before = {number: signal.signal(number, request.handle) for number in answered}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
