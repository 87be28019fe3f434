"""The thread pool: the caller's thread, and workers that wait in compiled code.

Numba can run loops on threads itself (``parallel=True``), through OpenMP or a queue of
its own. Why that is not enough::

                                              ours     omp      workqueue
    launch of a small kernel, us              5.6      4.4      28
      (medians)                               5.8      5.1      85
    a convolution, compiled anew, ms          456      1069     1062
    a child computes after a fork             yes      SIGTERM  yes
    two Python threads compute at once        yes      yes      SIGABRT
    sums have the same bits with 1 or 2       yes      no       no
    needs at run time                         nothing  libgomp  nothing

Launching is no reason, then: OpenMP is as fast. But it does not survive a fork, as
``multiprocessing`` makes, and a first run mostly waits for the compiler. Sums here have
a fixed number of splits, whose sums are added in order; Numba's reductions have as many
as there are threads. (A loop that sums nothing has the same bits anywhere.)

``python -m benchmarks.threads`` measures this: the smallest times of 5 processes each,
in turn. The figures are those of two cores of an AMD EPYC, which other programs used,
too (load averages of 5 to 12), with Numba 0.68.1 and GNU OpenMP.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from npresnet import _signals as signals
from npresnet.backend.recording import Launch, here
from npresnet.backend.threads import setting

# How often a worker looks for work before it goes to sleep: longer than the pauses
# between a network's kernels.
_SPINS = 1 << 18

# How it is noticed that threads get no processor. The chunks of one job differ by a
# factor of two at most, so less than half of the time cannot be for want of work.
_ENOUGH = 0.5
_AS_MUCH = 0.6  # of the time that more threads had: what rounding leaves of it
_MEASURED = 8  # one job in so many: it takes a microsecond
_WINDOW = 0.25  # seconds of jobs: longer than a quota's period, which is 0.1
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0  # seconds, before something else is tried


class _Worker:
    """A thread that looks for work, and sleeps when there has been none for long."""

    def __init__(self, shared: Any, number: int) -> None:
        import numpy as np

        self._shared, self._number = shared, number
        self._asleep = np.ones(1, np.int64)
        self.is_asleep = self._asleep.data  # its [0] is read faster than an array's
        # A queue that may be put into at any moment, also by a signal handler that
        # interrupts somebody who is putting something into it.
        self._alarm: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="npresnet-worker", daemon=True).start()

    def wake(self) -> None:
        """See to it that the worker, which is asleep, looks for work."""
        # Only the worker itself says that it is awake: a caller that is interrupted
        # here has not said so of one that sleeps on.
        if self._alarm.empty():
            self._alarm.put(None)

    def _work(self) -> None:
        from npresnet.backend.threads.jobs import serve

        while True:
            self._alarm.get()
            serve(self._shared, self._number, self._asleep, _SPINS)


class _Oversubscription:
    """How many threads get a processor, judged by the time that they have had one.

    No file may tell of a limit. Threads that spin then take the time of those that have
    work: fewer threads are faster. The workers of a pool either work or spin, so
    processor time falls behind the clock only where they wait for a processor. If fewer
    of them get as much time together, that is the limit; if they get less, other
    programs want processors, too, and all are needed.
    """

    def __init__(self) -> None:
        self.most: int | None = None  # None: as many as are wanted
        self._rate = 0.0  # processors that were had before there were fewer threads
        self._until = 0.0  # on the clock: when something else is tried
        self._pause = _FIRST_PAUSE
        self._jobs = 0
        self._clock = self._used = self._due = 0.0

    def to_be_measured(self) -> bool:
        """Tell whether to measure the job that begins: each, once there was a lack."""
        self._jobs += 1
        return self._jobs % _MEASURED == 0 or self._pause > _FIRST_PAUSE

    def measured(self, threads: int, clock: float, used: float, now: float) -> None:
        """Take in how long threads ran by the clock, and how long on processors."""
        self._clock += clock
        self._due += threads * clock
        self._used += min(used, threads * clock)
        if self._clock < _WINDOW:
            return
        rate, fraction = self._used / self._clock, self._used / self._due
        if self.most is not None:
            if rate < _AS_MUCH * self._rate:
                self._change(None, now)
        elif fraction >= _ENOUGH:
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


class ThreadPool:
    """The caller's thread, and workers, started when first needed.

    Parameters
    ----------
    launchers : dict
        What an earlier pool knows about launching kernels.
    """

    def __init__(self, launchers: dict[Any, Callable[..., bool]] | None = None) -> None:
        # The same thread may come in twice: a signal handler that computes can run
        # between any two instructions below. No job is under way then, because the
        # launch itself is one of them.
        self.lock = threading.RLock()
        self.launchers = {} if launchers is None else launchers
        self._workers: list[_Worker] = []
        self._shared: Any = None
        self._oversubscription = _Oversubscription()
        self._dismissed = False  # whether workers have been told to stay asleep

    def run(self, kernel: Any, iterations: int, threads: int, arguments: Any) -> None:
        """Have so many threads run a compiled kernel together."""
        launch = self.launchers.get(kernel)
        if launch is None:
            from npresnet.backend.threads import jobs

            launch = self.launchers.setdefault(kernel, jobs.Launcher(kernel))
        with self.lock:
            threads, awake = self._gather(threads)
            measured = self._oversubscription.to_be_measured() and (
                awake > 1 or self._oversubscription.most is not None
            )
            if measured:
                clock, used = time.perf_counter(), time.process_time()
            failed = launch(self._shared, iterations, threads, arguments)
            if measured:
                used = time.process_time() - used
                now = time.perf_counter()
                self._oversubscription.measured(awake, now - clock, used, now)
        if failed:
            # Which one it was is lost with the thread. Kernels raise nothing else.
            raise MemoryError(f"{kernel.__name__}: no memory for the work of a thread")

    def run_table(self, table: Any, threads: int) -> int:
        """Do all jobs of a table (see `jobs.run_jobs`); fill in their chunks first."""
        from npresnet.backend.threads.jobs import run_jobs

        with self.lock:
            threads, awake = self._gather(threads)
            table[:, 2] = table[:, 1].clip(1, threads)
            clock, used = time.perf_counter(), time.process_time()
            failed = int(run_jobs(self._shared, table))
            if awake > 1 or self._oversubscription.most is not None:
                used, now = time.process_time() - used, time.perf_counter()
                self._oversubscription.measured(awake, now - clock, used, now)
        return failed

    def _gather(self, threads: int) -> tuple[int, int]:
        """Wake who sleeps; return how many threads there are, and how many awake."""
        if self._shared is None:
            from npresnet.backend.threads import jobs

            self._shared = jobs.new_shared_state()
        if self._oversubscription.most is not None or self._dismissed:
            threads = self._dismiss(threads)
        awake = threads
        while len(self._workers) < threads - 1:
            with signals.held():  # Python's own start of a thread wants that
                self._workers.append(_Worker(self._shared, len(self._workers)))
        for worker in self._workers[: threads - 1]:
            if worker.is_asleep[0]:
                worker.wake()
                awake -= 1  # it works when it has woken up
        return threads, awake

    def _dismiss(self, threads: int) -> int:
        """Send workers to sleep that get no processor; return who is left."""
        from npresnet.backend.threads.jobs import ACTIVE, MOST_CHUNKS

        allowed = self._oversubscription.allowed(threads, time.perf_counter())
        everybody = self._oversubscription.most is None
        self._dismissed = not everybody
        self._shared[ACTIVE] = MOST_CHUNKS if everybody else allowed - 1
        return allowed


_pool = ThreadPool()


def _forget_pool() -> None:
    """Start afresh in a forked child: no thread, and no owner of a lock, survives."""
    global _pool
    _pool = ThreadPool(_pool.launchers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def parallel_for(kernel: Callable[..., None], iterations: int, *arguments: Any) -> None:
    """Do iterations 0 ... `iterations`-1 of a kernel, on all threads.

    ``kernel(*arguments, first, last)`` does iterations first ... last-1; each thread
    calls it with chunks of its own. Returns when all are done. What is not compiled is
    run by the caller's thread alone.
    """
    if here.recording is not None:
        here.recording.launches.append(Launch(kernel, iterations, arguments))
        return
    threads = setting.get_threads()
    if iterations < threads:
        threads = iterations
    if threads <= 1 or not hasattr(kernel, "py_func"):
        kernel(*arguments, 0, iterations)
    else:
        _pool.run(kernel, iterations, threads, arguments)


def run_table(table: Any) -> int:
    """Do the jobs of a table on all threads; return which one failed, or -1."""
    return _pool.run_table(table, setting.get_threads())
