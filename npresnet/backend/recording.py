"""Recording: what kernels would do is written down, to be done again and again.

Operations of the backend prepare arrays in Python and then launch kernels. Within
`recording`, launches are collected instead, and large arrays come from whoever records.
Nothing is computed; `threads.recorded.Jobs` does what has been collected. Only
operations whose Python depends on nothing but shapes can be recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]


class CannotRecord(Exception):
    """What an operation does depends on more than the shapes of its arrays."""


class Launch(NamedTuple):
    """A kernel, how many iterations it has, and what it is called with."""

    kernel: Any
    iterations: int
    arguments: tuple[Any, ...]


class Recording:
    """What has been launched since it began.

    Attributes
    ----------
    launches : list of Launch
        In order. They keep the arrays that they name.
    allocate : callable
        Makes room for an array of a shape and dtype.
    doubts : ndarray of bool
        After the launches have been done: whether there are channels whose sums are
        not finite, which kernels leave to Python.
    """

    def __init__(self, allocate: Allocate, doubts: NDArray[np.bool_]) -> None:
        self.launches: list[Launch] = []
        self.allocate = allocate
        self.doubts = doubts
        self._doubts_used = 0

    def doubts_of(self, channels: int) -> NDArray[np.bool_]:
        """Return room for so many more doubts."""
        begin = self._doubts_used
        self._doubts_used += channels
        return self.doubts[begin : self._doubts_used]


class _Here(threading.local):
    recording: Recording | None = None
    # Told, while what has been recorded is compiled, of how many kernels are.
    compiling: Callable[[int, int], None] | None = None


here = _Here()


@contextmanager
def recording(allocate: Allocate, doubts: NDArray[np.bool_]) -> Iterator[Recording]:
    """Collect launches, of this thread, within a ``with`` block.

    `doubts` has room for the channels of all batch norms.
    """
    before, here.recording = here.recording, Recording(allocate, doubts)
    try:
        yield here.recording
    finally:
        here.recording = before


@contextmanager
def telling(compiling: Callable[[int, int], None]) -> Iterator[None]:
    """Be told ``compiling(done, total)`` of kernels within a ``with`` block."""
    before, here.compiling = here.compiling, compiling
    try:
        yield
    finally:
        here.compiling = before


@contextmanager
def not_recording() -> Iterator[None]:
    """Compute as ever within a ``with`` block: what is done once is no launch."""
    before, here.recording = here.recording, None
    try:
        yield
    finally:
        here.recording = before
