"""How many threads compute, and who computes what: decided here and nowhere else.

Kernels are plain compiled loops over a range of blocks that let go of Python's
lock; `share_out` splits the range. Which thread takes which block never changes a
result: every block writes to places of its own.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

# More would leave work to others when a thread is held up, but two threads that end a
# piece at the same moment queue for Python's lock.
_PIECES_PER_THREAD = 1
# How often a thread looks at a number before it does something else. A worker waits for
# more, longer than the pauses between a network's kernels; a caller waits for a worker,
# which may have lost its processor; and a caller gives a worker that has taken a job up
# the time to let go of Python's lock.
_LONG, _SHORT, _PAUSE = 1 << 20, 1 << 17, 1 << 15


def available_threads() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker:
    """A thread that does what it is given, and waits for more.

    Numbers tell how far it is: which job was given to it last, which it has taken up,
    and which it has finished. It watches the first; only after a while does it sleep.
    """

    _GIVEN, _TAKEN, _FINISHED, _ASLEEP = 0, 8, 16, 24  # on cache lines of their own

    def __init__(self) -> None:
        import numpy as np

        from npresnet.backend.kernels import spin

        self._spin = spin
        self._state = np.zeros(32, np.int64)
        self._job: Callable[[], None] = _do_nothing
        self._jobs = 0
        self._alarm = threading.Semaphore(0)
        thread = threading.Thread(target=self._serve, name="npresnet-worker")
        thread.daemon = True
        thread.start()
        self.ident = thread.ident

    def give(self, job: Callable[[], None]) -> None:
        """Have `job` called, which must not raise and may be called again.

        A worker that is late calls the newest job, for the older ones, too.
        """
        self._job = job
        self._jobs += 1
        # Wait a moment for the answer, so that the worker finds Python's lock free: to
        # be woken up takes longer. One that sleeps says so before it looks once more.
        places = self._TAKEN, self._ASLEEP
        self._spin.announce(
            self._state, self._GIVEN, self._jobs, *places, _SHORT, _PAUSE
        )
        if self._state[self._ASLEEP]:
            self._alarm.release()

    def forget(self) -> None:
        """Let go of the job, which holds on to arrays."""
        self._job = _do_nothing

    def finish(self) -> None:
        """Wait until all jobs are done."""
        while not self._spin.reaches(self._state, self._FINISHED, self._jobs, _SHORT):
            time.sleep(0)

    def _serve(self) -> None:
        state, spin = self._state, self._spin
        done = 0
        while True:
            # Without Python's lock in between, for which it would have to queue.
            following = self._GIVEN, done + 1
            if spin.report(state, self._FINISHED, done, *following, _LONG):
                done += 1
                state[self._TAKEN] = done
                self._job()
                continue
            spin.post(state, self._ASLEEP, 1)
            if not spin.reaches(state, *following, 1):
                self._alarm.acquire()
            spin.post(state, self._ASLEEP, 0)


def _do_nothing() -> None:
    pass


class _Pool:
    """Workers, started when first needed; one call shares work out at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._workers: list[_Worker] = []

    def workers(self, count: int) -> list[_Worker]:
        """Return so many workers."""
        while len(self._workers) < count:
            self._workers.append(_Worker())
        return self._workers[:count]


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


# How long one thread takes for a kernel over so many blocks with a first array of such
# a size. What takes less than this is done before another thread has begun.
_WORTH_SHARING = 80e-6
_done_once: set[tuple[Any, int, int]] = set()
_seconds: dict[tuple[Any, int, int], float] = {}


def share_out(kernel: Callable[..., None], blocks: int, *arguments: Any) -> None:
    """Call ``kernel(*arguments, first, last)`` until blocks 0 ... `blocks` are done.

    The caller's thread works too. An exception in any thread is raised here. Work that
    is too small to be shared is found out by doing it alone, twice (the first time,
    code may be compiled).
    """
    threads = get_threads()
    pieces = min(blocks, threads * _PIECES_PER_THREAD)
    if threads == 1 or pieces <= 1:
        kernel(*arguments, 0, blocks)
        return
    work = kernel, blocks, getattr(arguments[0], "size", 0) if arguments else 0
    seconds = _seconds.get(work)
    if _WORTH_SHARING and (seconds is None or seconds < _WORTH_SHARING):
        begin = time.perf_counter()
        kernel(*arguments, 0, blocks)
        taken = time.perf_counter() - begin
        if work not in _done_once:
            _done_once.add(work)
        elif seconds is None:
            _seconds[work] = taken
        return

    tickets: Iterator[int] = itertools.count()
    errors: list[BaseException] = []
    begun: set[int] = set()  # threads that may have a piece

    def do_pieces() -> None:
        begun.add(threading.get_ident())
        try:
            while (piece := next(tickets)) < pieces:
                first, last = piece * blocks // pieces, (piece + 1) * blocks // pieces
                kernel(*arguments, first, last)
        except BaseException as error:
            errors.append(error)

    with _pool.lock:
        workers = _pool.workers(min(threads, pieces) - 1)
        for worker in workers:
            worker.give(do_pieces)
        do_pieces()
        # Whoever has not begun by now will find nothing left, whenever it wakes up.
        for worker in workers:
            if worker.ident in begun:
                worker.finish()
            worker.forget()
    if errors:
        raise errors[0]
