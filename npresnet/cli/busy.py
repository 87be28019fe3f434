"""Something to look at while a command computes: a bar, or a line about compiling.

On a terminal, standard error shows what is going on, for how long, and how far it is;
elsewhere a line is written where kernels are compiled, which takes longest by far.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from npresnet.backend.recording import telling

Progress = Callable[[int, int], None]

_SHOWN_AFTER = 0.5  # seconds: what is over by then is not worth a bar
_SAID_AFTER = 1.0  # seconds of compiling
COMPILING = "compiling kernels: once per machine, a few seconds to a minute"

_displays: list[_Bar] = []  # the one that is up, if any


@contextmanager
def busy(what: str) -> Iterator[Progress | None]:
    """Show that something is going on, for as long as a ``with`` block takes.

    Parameters
    ----------
    what : str
        A word or two.

    Yields
    ------
    callable or None
        ``progress(done, total)``, to be told how far it is; None where nobody looks.
    """
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    shown: _Bar | _Line = _Line()
    if is_terminal and os.environ.get("TERM") != "dumb":
        shown = _Bar(what)
        _displays.append(shown)
    try:
        with _listening(shown):
            yield shown.progress if isinstance(shown, _Bar) else None
    finally:
        shown.close()
        if shown in _displays:
            _displays.remove(shown)


def say(text: str, err: bool = False) -> None:
    """Print a line, above the bar where there is one."""
    stream = sys.stderr if err else sys.stdout
    display = _displays[-1] if _displays and stream and stream.isatty() else None
    if display is None:
        click.echo(text, err=err)
        return
    with display.aside():
        click.echo(text, err=err)


class _Line:
    """Says once that kernels are compiled, where that takes more than a moment."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def compiling(self, done: int) -> None:
        """Tell that one more kernel is compiled, after so many."""
        if self._timer is None:
            self._timer = threading.Timer(
                _SAID_AFTER, click.echo, (COMPILING,), {"err": True}
            )
            self._timer.daemon = True
            self._timer.start()

    def compiling_of(self, done: int, total: int) -> None:
        """Do as if it were not known of how many."""

    def close(self) -> None:
        """Say nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()


class _Bar:
    """A bar with the time since the beginning; it moves if it is told how far it is."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[facts]}"),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=5,
        )
        self._task = self._bars.add_task(what, total=None, facts="")
        self._lock = threading.Lock()
        self._is_up = self._is_closed = self._knows_total = False
        self._timer = threading.Timer(_SHOWN_AFTER, self._put_up)
        self._timer.daemon = True
        self._timer.start()

    def progress(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bars.update(
            self._task, completed=done, total=total, facts=f"{done:,} of {total:,}"
        )

    def compiling_of(self, done: int, total: int) -> None:
        """Tell that so many of so many kernels are compiled."""
        self._knows_total = done < total
        if self._knows_total:
            self._bars.update(self._task, facts=f"compiling kernels, {done} of {total}")

    def compiling(self, done: int) -> None:
        """Tell that one more kernel is compiled, after so many."""
        if self._knows_total:
            return
        self._bars.update(
            self._task, facts=f"compiling kernels, once per machine: {done} done"
        )

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while a line is printed."""
        with self._lock:
            if self._is_up:
                self._bars.stop()
            try:
                yield
            finally:
                if self._is_up:
                    self._bars.start()

    def close(self) -> None:
        """Take the bar away for good."""
        self._timer.cancel()
        self._timer.join()
        with self._lock:
            self._is_closed = True
            if self._is_up:
                self._bars.stop()

    def _put_up(self) -> None:
        with self._lock:
            if not self._is_closed:
                self._bars.start()
                self._is_up = True


@contextmanager
def _listening(display: _Bar | _Line) -> Iterator[None]:
    """Tell a display of every kernel that Numba compiles."""
    from numba.core import event

    class Listener(event.Listener):  # type: ignore[misc]
        """Counts what is compiled; what comes from the disk makes no event."""

        done = 0

        def on_start(self, event: Any) -> None:
            display.compiling(self.done)

        def on_end(self, event: Any) -> None:
            self.done += 1
            display.compiling(self.done)

    listener = Listener()
    event.register("numba:compile", listener)
    try:
        with telling(display.compiling_of):
            yield
    finally:
        event.unregister("numba:compile", listener)
