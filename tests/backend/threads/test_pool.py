"""Threads change the speed and nothing else."""

import gc
import os
import threading
import time
import weakref

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for, pool, setting
from tests.backend.threads.watched import count_up, somebody_comes_to_help


@pytest.fixture
def thread_count(monkeypatch):
    """Set a number of threads that the host need not offer."""
    return lambda count: monkeypatch.setattr(setting, "_threads", count)


@kernel
def fill_and_fail(done, bad, room, first, last):
    """Fail in the chunk with iteration `bad`, for lack of memory."""
    for i in range(first, last):
        done[i] += len(np.empty(room if i == bad else 1, np.uint8)) > 0


def training_bits(model_name, shape):
    """All bytes that two training steps leave behind."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(np.float32)
    labels = rng.integers(0, 10, len(x))
    model = nr.models.create(model_name, num_classes=10)
    criterion = nr.nn.CrossEntropyLoss()
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    left = []
    for _ in range(2):
        model.zero_grad()
        left.append(np.asarray(criterion(model(x), labels)))
        left.append(model.backward(criterion.backward()))
        left += [parameter.grad for parameter in model.parameters()]
        optimizer.step()
    left += list(model.state_dict().values())
    return [array.tobytes() for array in left]


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
@pytest.mark.parametrize(
    ("model_name", "shape"),
    [("resnet8", (37, 3, 13, 17)), ("resnet18", (2, 3, 33, 48))],
)
def test_the_same_bits_with_any_number_of_threads(
    model_name, shape, algorithm, thread_count
):
    with nr.using_algorithm(algorithm):
        thread_count(1)
        alone = training_bits(model_name, shape)
        for count in (2, 7):
            thread_count(count)
            assert training_bits(model_name, shape) == alone, count


def test_every_iteration_is_done_once_whatever_the_threads(thread_count):
    for count in (1, 2, 5):
        thread_count(count)
        for iterations in (0, 1, 2, 3, 19, 100):
            done = np.zeros(iterations, np.int64)
            for times in range(1, 30):
                parallel_for(count_up, iterations, done)
                assert (done == times).all()


def test_the_caller_is_not_alone_with_its_work(thread_count, monkeypatch):
    thread_count(2)
    monkeypatch.setattr(pool, "_pool", pool.ThreadPool())
    # On a machine that is busy otherwise, too.
    monkeypatch.setattr(pool._Oversubscription, "to_be_measured", lambda self: False)
    assert somebody_comes_to_help()


def run_for(judge, seconds, threads, share, now):
    """Tell of runs by so many threads, each of which had a share of a processor."""
    judge.measured(threads, seconds, threads * seconds * share, now)


@pytest.mark.parametrize(
    ("threads_wanted", "share", "left"),
    [(64, 2 / 64, 2), (64, 16 / 64, 16), (2, 0.4, 1), (8, 0.01, 1), (16, 0.49, 8)],
)
def test_threads_without_a_processor_are_fewer_for_a_while(threads_wanted, share, left):
    judge = pool._Oversubscription()
    assert judge.allowed(threads_wanted, now=0.0) == threads_wanted
    run_for(judge, 0.3, threads_wanted, share, now=1.0)
    assert judge.allowed(threads_wanted, now=1.5) == left
    assert judge.allowed(1, now=1.5) == 1
    assert judge.allowed(threads_wanted, now=2.5) == threads_wanted


def test_the_longer_processors_are_wanting_the_rarer_more_threads_are_tried():
    judge, now, pauses = pool._Oversubscription(), 0.0, []
    for _ in range(9):
        run_for(judge, 0.3, 64, 2 / 64, now)
        began = now
        while judge.allowed(64, now) == 2:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    run_for(judge, 0.6, 64, 0.9, now)
    run_for(judge, 0.3, 64, 2 / 64, now)
    assert judge.allowed(64, now + 1) == 64  # as at first


def test_fewer_threads_that_get_less_are_made_more_again():
    """Other programs take the processors: each thread gets its share, few get less."""
    judge = pool._Oversubscription()
    run_for(judge, 0.3, 2, 0.2, now=1.0)
    assert judge.allowed(2, now=1.0) == 1
    run_for(judge, 0.3, 1, 0.2, now=1.3)
    assert judge.allowed(2, now=1.3) == 2
    run_for(judge, 0.3, 2, 0.2, now=1.6)
    assert judge.allowed(2, now=1.6) == 2  # and that is left alone for a while


def test_fewer_threads_that_get_as_much_stay_fewer():
    judge = pool._Oversubscription()
    run_for(judge, 0.3, 64, 2.4 / 64, now=1.0)
    run_for(judge, 0.3, 2, 1.0, now=1.3)
    assert judge.allowed(64, now=1.5) == 2
    one = pool._Oversubscription()
    run_for(one, 0.3, 2, 0.2, now=1.0)  # a quota of 0.4
    run_for(one, 0.3, 1, 0.4, now=1.3)
    assert one.allowed(2, now=1.5) == 1


def test_threads_that_share_their_work_unequally_are_all_kept():
    judge = pool._Oversubscription()
    run_for(judge, 3.0, 64, 0.55, now=1.0)
    assert judge.allowed(64, now=1.0) == 64


def test_workers_that_are_too_many_go_to_sleep_and_come_back(thread_count, monkeypatch):
    own = pool.ThreadPool()
    monkeypatch.setattr(pool, "_pool", own)
    monkeypatch.setattr(pool, "_SPINS", 1 << 60)  # else nobody ever sleeps
    monkeypatch.setattr(pool._Oversubscription, "to_be_measured", lambda self: False)
    thread_count(3)
    done = np.zeros(40, np.int64)

    def asleep(*expected):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            parallel_for(count_up, 40, done)
            if tuple(worker.is_asleep[0] for worker in own._workers) == expected:
                return True
            threading.Event().wait(0.001)
        return False

    assert asleep(0, 0)
    for most, expected in ((2, (0, 1)), (1, (1, 1)), (None, (0, 0)), (1, (1, 1))):
        own._oversubscription.most, own._oversubscription._until = most, float("inf")
        assert asleep(*expected), most
    assert len(set(done)) == 1  # each iteration as often as any other


def test_what_is_not_compiled_is_done_by_the_caller(thread_count):
    thread_count(3)
    by = set()

    def plain(done, first, last):
        by.add(threading.get_ident())
        done[first:last] += 1

    done = np.zeros(30, np.int64)
    parallel_for(plain, 30, done)
    assert (done == 1).all()
    assert by == {threading.get_ident()}


def test_a_worker_that_wakes_up_late_does_nothing_twice(thread_count, monkeypatch):
    monkeypatch.setattr(pool, "_SPINS", 1000)  # workers go to sleep soon
    monkeypatch.setattr(pool, "_pool", pool.ThreadPool())
    thread_count(3)
    done = np.zeros(40, np.int64)
    for times in range(1, 3000):
        if times % 100 == 0:
            threading.Event().wait(0.01)
        parallel_for(count_up, 40, done)
        assert (done == times).all(), times


def test_several_callers_take_turns(thread_count):
    thread_count(3)
    arrays = [np.zeros(50, np.int64) for _ in range(4)]

    def call(done):
        for _ in range(500):
            parallel_for(count_up, 50, done)

    callers = [threading.Thread(target=call, args=(done,)) for done in arrays]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((done == 500).all() for done in arrays)


def test_no_array_is_held_once_the_work_is_done(thread_count):
    thread_count(2)
    array = np.zeros(40, np.int64)
    gone = weakref.ref(array)
    parallel_for(count_up, 40, array)
    del array
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("bad", [0, 49])
def test_a_failure_in_any_thread_reaches_the_caller(thread_count, bad):
    thread_count(3)
    done = np.zeros(50, np.int64)
    with pytest.raises(MemoryError):
        parallel_for(fill_and_fail, 50, done, bad, 1 << 62)
    done[:] = 0
    parallel_for(fill_and_fail, 50, done, bad, 1)  # the pool has survived
    assert (done == 1).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_compute(thread_count):
    thread_count(2)
    x = np.random.default_rng(0).standard_normal((64, 8, 32, 32))
    expected = nr.functional.relu_forward(x)[0]
    child = os.fork()
    if child == 0:
        right = np.array_equal(nr.functional.relu_forward(x)[0], expected)
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
