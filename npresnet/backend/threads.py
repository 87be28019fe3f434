"""How many threads compute, and who computes what: decided here and nowhere else.

Kernels are plain compiled loops over a range of blocks; `share_out` splits the range
among threads that wait in compiled code (`kernels.team`). Which thread takes which
block never changes a result: every block writes to places of its own.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from npresnet import _signals as signals
from npresnet._notices import notice
from npresnet.backend import processors

# How often a worker looks for work before it goes to sleep: longer than the pauses
# between a network's kernels.
_LOOKS = 1 << 18

# How it is noticed that threads get no processor. Pieces of one job differ by a factor
# of two at most, so that less than half of the time cannot be for want of work.
_ENOUGH = 0.5
_AS_MUCH = 0.6  # of the time that more threads had: what rounding leaves of it
_MEASURED = 8  # one run in so many: it takes a microsecond
_WINDOW = 0.25  # seconds of runs: longer than a quota's period, which is 0.1
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0  # seconds, before something else is tried


def available_threads() -> int:
    """Count the processors that this process may use."""
    return processors.limit().processors


class _Worker:
    """A thread that looks for work, and sleeps when there has been none for long."""

    def __init__(self, team: Any, number: int) -> None:
        import numpy as np

        self._team, self._number = team, number
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
            serve(self._team, self._number, self._asleep, _LOOKS)


class _Processors:
    """How many threads get a processor, judged by the time that they have had one.

    No file may tell of a limit. Threads that look for work, again and again, then take
    the time of those that have some: fewer threads are faster. The workers of a team
    either work or look, so that processor time falls behind the clock only where they
    wait for a processor. If fewer of them get as much time together, that is the limit;
    if they get less, other programs want processors, too, and all are needed.
    """

    def __init__(self) -> None:
        self.most: int | None = None  # None: as many as are wanted
        self._rate = 0.0  # processors that were had before there were fewer threads
        self._until = 0.0  # on the clock: when something else is tried
        self._pause = _FIRST_PAUSE
        self._runs = 0
        self._clock = self._used = self._due = 0.0

    def to_be_measured(self) -> bool:
        """Tell whether to measure the run that begins: each, once there was a lack."""
        self._runs += 1
        return self._runs % _MEASURED == 0 or self._pause > _FIRST_PAUSE

    def measured(self, threads: int, clock: float, used: float, now: float) -> None:
        """Take in how long threads ran by the clock, and how long on processors."""
        self._clock += clock
        self._due += threads * clock
        self._used += min(used, threads * clock)
        if self._clock < _WINDOW:
            return
        rate, share = self._used / self._clock, self._used / self._due
        if self.most is not None:
            if rate < _AS_MUCH * self._rate:
                self._change(None, now)
        elif share >= _ENOUGH:
            self._pause = _FIRST_PAUSE
        elif now >= self._until:
            self._rate = rate
            self._change(max(1, round(rate)), now)
        self._clock = self._used = self._due = 0.0

    def _change(self, most: int | None, now: float) -> None:
        self.most, self._until = most, now + self._pause
        self._pause = min(2 * self._pause, _LAST_PAUSE)

    def allowed(self, threads: int, now: float) -> int:
        """Return how many of so many threads are to run."""
        if self.most is not None and now >= self._until:
            self.most, self._until = None, 0.0
            self._clock = self._used = self._due = 0.0
        return threads if self.most is None else min(threads, self.most)


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
        self._processors = _Processors()
        self._dismissed = False  # whether workers have been told to stay asleep

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
            if self._processors.most is not None or self._dismissed:
                threads = self._dismiss(threads)
            awake = threads
            while len(self._workers) < threads - 1:
                with signals.held():  # Python's own start of a thread wants that
                    self._workers.append(_Worker(self._numbers, len(self._workers)))
            for worker in self._workers[: threads - 1]:
                if worker.is_asleep[0]:
                    worker.wake()
                    awake -= 1  # it works when it has woken up
            measured = self._processors.to_be_measured() and (
                awake > 1 or self._processors.most is not None
            )
            if measured:
                clock, used = time.perf_counter(), time.process_time()
            failed = launch(self._numbers, blocks, threads, arguments)
            if measured:
                used = time.process_time() - used
                now = time.perf_counter()
                self._processors.measured(awake, now - clock, used, now)
        if failed:
            # Which one it was is lost with the thread. Kernels raise nothing else.
            raise MemoryError(f"{kernel.__name__}: no memory for the work of a thread")

    def _dismiss(self, threads: int) -> int:
        """Send workers to sleep that get no processor; return who is left."""
        from npresnet.backend.kernels.team import MEMBERS, MOST_PIECES

        allowed = self._processors.allowed(threads, time.perf_counter())
        everybody = self._processors.most is None
        self._dismissed = not everybody
        self._numbers[MEMBERS] = MOST_PIECES if everybody else allowed - 1
        return allowed


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
    variable ``NPRESNET_NUM_THREADS`` says; more than there are is cut down to them,
    with a warning.
    """
    global _threads
    if _threads is None:
        _threads = _from_environment()
    return _threads


def _from_environment() -> int:
    text = os.environ.get("NPRESNET_NUM_THREADS", "").strip()
    if text and (not text.isdecimal() or int(text) < 1):
        raise ValueError(
            f"NPRESNET_NUM_THREADS must be a whole number of at least 1, got {text!r}"
        )
    most, source = processors.limit()
    if most < (os.cpu_count() or 1):
        _hold_back_blas(most)
    wanted = int(text) if text else most
    if wanted > most:
        notice(f"NPRESNET_NUM_THREADS={text}: using {most}, the limit is {source}")
    return min(wanted, most)


def _hold_back_blas(most: int) -> None:
    """Let NumPy's matrix products use no more threads than that; it sees no quota."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    del np  # loaded, or there is nothing to be held back
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        if library.num_threads > most:
            library.set_num_threads(most)


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
