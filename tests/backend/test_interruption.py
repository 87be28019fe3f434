"""Signals, forks and Ctrl-C find the threads, the memory and the compiler sound."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import npresnet as nr
from npresnet import _signals as signals
from npresnet.backend.kernels import memory
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for, pool, setting
from tests.backend.threads.watched import count_up, somebody_comes_to_help
from tests.interrupts import ctrl_c, moments, striking

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
no_fork_warnings = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
POOL = "threads/pool.py", "threads/jobs.py", "/threading.py"
MEMORY = "kernels/memory.py"


@pytest.fixture
def two_threads(monkeypatch):
    """A pool of two threads, with a worker of its own that soon falls asleep."""
    monkeypatch.setattr(setting, "_threads", 2)
    monkeypatch.setattr(pool, "_SPINS", 1000)
    monkeypatch.setattr(pool, "_pool", pool.ThreadPool(pool._pool.launchers))


@pytest.fixture
def own_buffers(monkeypatch):
    monkeypatch.setattr(memory, "_buffers", memory._Buffers())
    monkeypatch.setattr(memory, "_LEAST_ALONE", 1 << 16)  # small ones are quicker


def fall_asleep():
    """Wait until the pool's workers sleep."""
    deadline = time.monotonic() + 120
    while any(not worker.is_asleep[0] for worker in pool._pool._workers):
        assert time.monotonic() < deadline, "a worker is said to be awake"
        time.sleep(0.001)


# ------------------------------------------------------------- the threads


def test_ctrl_c_at_any_moment_loses_no_worker(two_threads):
    done, interrupts = np.zeros(40, np.int64), 0
    parallel_for(count_up, 40, done)
    fall_asleep()

    def call():
        parallel_for(count_up, 40, done)

    for caught in moments(call, ctrl_c, *POOL):
        interrupts += caught is not None
        assert somebody_comes_to_help()
        fall_asleep()
    assert interrupts > 5


def test_ctrl_c_at_any_moment_while_workers_are_started(two_threads, monkeypatch):
    stops = 0

    def call():
        own = pool.ThreadPool(pool._pool.launchers)
        monkeypatch.setattr(pool, "_pool", own)
        parallel_for(count_up, 40, np.zeros(40, np.int64))

    for caught in moments(call, ctrl_c, *POOL):
        stops += caught is not None
        assert somebody_comes_to_help()
    assert stops > 20


def test_a_handler_may_compute_at_any_moment_of_a_computation(two_threads):
    inner, outer = np.zeros(40, np.int64), np.zeros(40, np.int64)
    strikes = 0

    def compute():
        parallel_for(count_up, 40, inner)

    def call():
        fall_asleep()
        parallel_for(count_up, 40, outer)

    for _ in moments(call, compute, *POOL):
        strikes += 1
        assert (inner == strikes).all() and (outer == strikes).all()
    assert strikes > 5


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_timer_that_computes_while_all_threads_compute(two_threads):
    x = np.random.default_rng(0).standard_normal((32, 16, 32, 32))
    expected, ticks = nr.functional.relu_forward(x)[0], []

    def compute(number, frame):
        out = nr.functional.relu_forward(x[:16])[0]
        ticks.append(np.array_equal(out, expected[:16]))
        signal.setitimer(signal.ITIMER_REAL, 0.002)  # the next one

    before = signal.signal(signal.SIGALRM, compute)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        while len(ticks) < 30:
            assert np.array_equal(nr.functional.relu_forward(x)[0], expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(ticks)


# -------------------------------------------------------------- the memory


def test_memory_is_never_handed_out_twice_whoever_comes_between(own_buffers):
    sizes, given = (30_001, 70_001), []

    def take():
        # The second one is what the first has left.
        for size in sizes:
            for make in (memory.empty, memory.scratch):
                make((size,), np.uint8)
                given.append(make((size,), np.uint8))

    for _ in moments(take, take, MEMORY):
        for number, array in enumerate(given):
            array[:] = number
        for number, array in enumerate(given):
            assert (array == number).all()
        given.clear()


def test_ctrl_c_at_any_moment_loses_no_memory(own_buffers):
    sizes = 30_001, 50_000, 70_001

    def take():
        for size in sizes:
            memory.empty((size,), np.uint8)

    for _ in moments(take, ctrl_c, MEMORY):
        pass
    kept = memory._buffers._buffers.values()
    assert sum(map(len, kept)) == len(sizes)


def test_several_threads_never_get_the_same_memory(own_buffers):
    wrong, gate = [], threading.Barrier(3)

    def take(number):
        gate.wait()
        for _ in range(1000):
            arrays = [memory.empty((20_000,), np.uint8) for _ in range(3)]
            for i, array in enumerate(arrays):
                array[:] = 3 * number + i
            wrong.extend(
                number
                for i, array in enumerate(arrays)
                if not (array == 3 * number + i).all()
            )

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        takers = [threading.Thread(target=take, args=(n,)) for n in range(3)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


# --------------------------------------------------------------- the forks


def exit_status_of_a_fork(work, seconds=60):
    """Run work in a forked child; return its exit status, or None if it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


@needs_fork
@no_fork_warnings
def test_children_compute_though_another_thread_did_when_they_were_forked(two_threads):
    x = np.random.default_rng(0).standard_normal((4, 8, 32, 32))
    expected, stop = nr.functional.relu_forward(x)[0], threading.Event()

    def compute():
        while not stop.is_set():
            nr.functional.relu_forward(x)

    def work():
        return np.array_equal(nr.functional.relu_forward(x)[0], expected)

    other = threading.Thread(target=compute)
    other.start()
    try:
        for _ in range(12):
            assert exit_status_of_a_fork(work) == 0
    finally:
        stop.set()
        other.join()


@needs_fork
@no_fork_warnings
@pytest.mark.parametrize("files", [POOL, (MEMORY,)], ids=["threads", "memory"])
def test_children_compute_at_whatever_moment_another_thread_is(files, two_threads):
    # The other thread stands still in the middle of what it does while we fork.
    x = np.random.default_rng(0).standard_normal((4, 8, 32, 32))
    expected = nr.functional.relu_forward(x)[0]
    place, forks = 0, 0

    def work():
        return np.array_equal(nr.functional.relu_forward(x)[0], expected)

    while True:
        there, go_on, met = threading.Event(), threading.Event(), []

        def stand_still(there=there, go_on=go_on):
            there.set()
            go_on.wait()

        def compute(place=place, stop=stand_still, there=there, met=met):
            with striking(place, stop, files) as strike:
                nr.functional.relu_forward(x)
            met.append(strike.struck)
            there.set()

        other = threading.Thread(target=compute)
        other.start()
        there.wait()
        try:
            if not met:
                assert exit_status_of_a_fork(work, seconds=20) == 0, place
                forks += 1
        finally:
            go_on.set()
            other.join()
        if not met[0]:
            break
        place += 3
    assert forks > 2


@needs_fork
@no_fork_warnings
def test_a_fork_waits_until_nobody_compiles():
    from numba.core.compiler_lock import global_compiler_lock

    compiling, forked = threading.Event(), threading.Event()

    def compile_for_a_while():
        with global_compiler_lock:
            compiling.set()
            forked.wait(0.2)

    @kernel
    def add_one(x):
        return x + 1

    other = threading.Thread(target=compile_for_a_while)
    other.start()
    compiling.wait()
    assert exit_status_of_a_fork(lambda: add_one(1) == 2) == 0
    forked.set()
    other.join()
    assert add_one(2) == 3


# ------------------------------------------------------------ the compiler


def fresh_kernel():
    """Make a kernel that nothing has been compiled for in this process."""

    @kernel
    def twice(x):
        return 2 * x

    return twice


def at(name, what):
    """Call `what` once, when a function of this name is called next."""

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name == name:
            sys.setprofile(None)
            what()
            reached.append(name)

    reached = []
    sys.setprofile(profile)
    return reached


MOMENTS = [
    "load_overload",  # before anything is loaded
    "_object_getbuffer_hook",  # called by LLVM: an exception would be lost
    "add_overload",  # loaded, but not yet found again
]


@pytest.mark.parametrize("name", MOMENTS)
def test_ctrl_c_while_a_kernel_is_loaded_comes_when_it_is(name):
    fresh_kernel()(3)  # compiled, and kept
    twice = fresh_kernel()
    reached = at(name, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        twice(3)
    sys.setprofile(None)
    assert reached
    assert len(twice.signatures) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert twice(4) == 8


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs SIGUSR1")
@pytest.mark.parametrize("name", MOMENTS)
def test_a_handler_that_computes_waits_until_a_kernel_is_loaded(name):
    fresh_kernel()(3)
    twice, results = fresh_kernel(), []

    def compute(number, frame):
        results.append(twice(5))

    before = signal.signal(signal.SIGUSR1, compute)
    try:
        reached = at(name, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        assert twice(3) == 6
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)
    assert reached and results == [10]


def test_ctrl_c_while_the_kernels_are_imported_comes_when_they_are():
    program = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.typing":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

import numpy as np, npresnet as nr
sys.meta_path.insert(0, Interrupting())
try:
    nr.functional.relu_forward(np.ones(3))
except KeyboardInterrupt:
    print("stopped", end=" ")
print(nr.functional.relu_forward(-np.ones(3))[0].sum())
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["stopped", "0.0"]
    assert result.stderr == ""


# ---------------------------------------------------------- held signals


@pytest.fixture
def handled():
    """Handlers for two signals, which note them."""
    numbers, seen = (signal.SIGINT, signal.SIGTERM), []
    before = [
        signal.signal(number, lambda number, frame: seen.append(number))
        for number in numbers
    ]
    yield seen
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_what_arrives_in_a_block_comes_once_and_at_its_end(handled):
    with signals.held():
        with signals.held():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert handled == []
    assert handled == [signal.SIGINT, signal.SIGTERM]
    signal.raise_signal(signal.SIGINT)
    assert handled[2:] == [signal.SIGINT]


def test_every_handler_is_called_though_the_first_one_raises(handled):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), signals.held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM]


def test_an_error_in_a_block_is_raised_and_signals_still_come(handled):
    with pytest.raises(KeyError), signals.held():
        signal.raise_signal(signal.SIGINT)
        raise KeyError
    assert handled == [signal.SIGINT]


def test_other_threads_hold_nothing(handled):
    def hold():
        with signals.held():
            held.append(signal.getsignal(signal.SIGINT))

    held, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert held == [before]


def test_ctrl_c_at_any_moment_of_taking_hold_leaves_every_handler_working(handled):
    calls = []

    def note_and_raise(number, frame):
        calls.append(number)
        raise KeyboardInterrupt

    def hold():
        with signals.held():
            pass

    signal.signal(signal.SIGINT, note_and_raise)
    for count, caught in enumerate(moments(hold, ctrl_c, "_signals.py"), 1):
        assert caught is not None and len(calls) == count
        signal.raise_signal(signal.SIGTERM)
        assert len(handled) == count
        if count > 400:  # one round through all signals, there and back
            break
