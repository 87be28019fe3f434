"""How many threads compute, and who computes what: decided here and nowhere else.

Kernels are plain compiled loops over a range of blocks; `share_out` splits the range
among threads that wait in compiled code (`kernels.team`). Which thread takes which
block never changes a result: every block writes to places of its own.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from npresnet import _signals as signals

# How often a worker looks for work before it goes to sleep: longer than the pauses
# between a network's kernels.
_LOOKS = 1 << 18


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A thread that looks for work, and sleeps when there has been none for long."""

    def __init__(self, team: Any) -> None:
        import numpy as np

        self._team = team
        self._asleep = np.ones(1, np.int64)
        self.is_asleep = self._asleep.data  # its [0] is read faster than an array's
        # A queue that may be put into at any moment, also by a signal handler that
        # interrupts somebody who is putting something into it.
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="npresnet-worker", daemon=True).start()

    def wake(self) -> None:
        """See to it that the worker, which is asleep, looks for work."""
        # That it is awake, the worker alone says: whoever is interrupted here has not
        # said so of one that sleeps on.
        if self._alarm.empty():
            self._alarm.put(None)

    def _work(self) -> None:
        from npresnet.backend.kernels.team import serve

        while True:
            self._alarm.get()
            serve(self._team, self._asleep, _LOOKS)


class _Team:
    """The caller's thread, and workers, started when first needed.

    Parameters
    ----------
    launchers : dict
        What an earlier team knows about launching kernels.
    """

    def __init__(self, launchers: dict[Any, Callable[..., bool]] | None = None) -> None:
        # The same thread may come in twice: a signal handler that computes can run
        # between any two instructions below. No job is under way then, because the
        # launch itself is one of them.
        self.lock = threading.RLock()
        self.launchers = {} if launchers is None else launchers
        self._workers: list[_Worker] = []
        self._numbers: Any = None

    def run(self, kernel: Any, blocks: int, threads: int, arguments: Any) -> None:
        """Have so many threads run a compiled kernel together."""
        launch = self.launchers.get(kernel)
        if launch is None:
            from npresnet.backend.kernels import team

            launch = self.launchers.setdefault(kernel, team.Launcher(kernel))
        with self.lock:
            if self._numbers is None:
                from npresnet.backend.kernels import team

                self._numbers = team.new_team()
            while len(self._workers) < threads - 1:
                with signals.held():  # Python's own start of a thread wants that
                    self._workers.append(_Worker(self._numbers))
            for worker in self._workers[: threads - 1]:
                if worker.is_asleep[0]:
                    worker.wake()
            failed = launch(self._numbers, blocks, threads, arguments)
        if failed:
            # Which one it was is lost with the thread. Kernels raise nothing else.
            raise MemoryError(f"{kernel.__name__}: no memory for the work of a thread")


_threads: int | None = None
_team = _Team()


def _forget_team() -> None:
    """Start afresh in a forked child: no thread, and no owner of a lock, survives."""
    global _team
    _team = _Team(_team.launchers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_team)


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

    The caller's thread works too. What is not compiled is run by it alone.
    """
    threads = _threads or get_threads()
    if blocks < threads:
        threads = blocks
    if threads <= 1 or not hasattr(kernel, "py_func"):
        kernel(*arguments, 0, blocks)
    else:
        _team.run(kernel, blocks, threads, arguments)
