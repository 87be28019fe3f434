"""How many threads compute, and who computes what: decided here and nowhere else.

Kernels are plain compiled loops over a range of blocks that let go of Python's
lock; `share_out` splits the range. Which thread takes which block never changes a
result: every block writes to places of its own.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

# More pieces than threads, so that a thread that is held up leaves work to others.
_PIECES_PER_THREAD = 4


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """Threads that wait for work; started when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def submit(self, job: Callable[[], None], copies: int) -> None:
        """Have `job` called by `copies` threads."""
        with self._lock:
            while len(self._workers) < copies:
                worker = threading.Thread(
                    target=self._serve, daemon=True, name="npresnet-worker"
                )
                self._workers.append(worker)
                worker.start()
        for _ in range(copies):
            self._jobs.put(job)

    def _serve(self) -> None:
        while True:
            self._jobs.get()()


_threads: int | None = None
_pool = _Pool()


def _forget_pool() -> None:
    """Start afresh in a forked child: threads do not survive a fork."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def get_threads() -> int:
    """Return the number of threads that operations use.

    The default is every processor that the process may use, or what the environment
    variable ``NPRESNET_NUM_THREADS`` says.
    """
    global _threads
    if _threads is None:
        _threads = _from_environment()
    return _threads


def _from_environment() -> int:
    text = os.environ.get("NPRESNET_NUM_THREADS", "").strip()
    if not text:
        return available_threads()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(
            f"NPRESNET_NUM_THREADS must be a whole number of at least 1, got {text!r}"
        )
    return min(int(text), available_threads())


def set_threads(count: int) -> int:
    """Choose the number of threads, for NumPy's matrix products as well.

    Parameters
    ----------
    count : int
        At least 1; more than the host offers is cut down to what it offers.

    Returns
    -------
    int
        The number that is used from now on.

    Raises
    ------
    ValueError
        If `count` is not a whole number of at least 1.

    Notes
    -----
    The number changes the speed and nothing else: results are the same to the bit.
    """
    global _threads
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, got {count!r}")
    _threads = min(int(count), available_threads())

    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=_threads, user_api="blas")
    return _threads


def share_out(kernel: Callable[..., None], blocks: int, *arguments: Any) -> None:
    """Call ``kernel(*arguments, first, last)`` until blocks 0 ... `blocks` are done.

    The caller's thread works too. An exception in any thread is raised here.
    """
    threads = get_threads()
    pieces = min(blocks, threads * _PIECES_PER_THREAD)
    if threads == 1 or pieces <= 1:
        kernel(*arguments, 0, blocks)
        return

    helpers = min(threads, pieces) - 1
    tickets: Iterator[int] = itertools.count()
    finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        while (piece := next(tickets)) < pieces:
            first, last = piece * blocks // pieces, (piece + 1) * blocks // pieces
            kernel(*arguments, first, last)

    def help_out() -> None:
        try:
            work()
        except BaseException as error:
            finished.put(error)
        else:
            finished.put(None)

    _pool.submit(help_out, helpers)
    try:
        work()
    finally:
        errors = [finished.get() for _ in range(helpers)]
    for error in errors:
        if error is not None:
            raise error
