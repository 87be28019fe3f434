"""Threads change the speed and nothing else."""

import gc
import os
import threading
import time
import weakref

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import npresnet as nr
from npresnet import _notices
from npresnet._notices import Notice
from npresnet.backend import processors, threads
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.processors import Limit
from tests.backend.team_work import count_up, somebody_comes_to_help


@pytest.fixture
def thread_count(monkeypatch):
    """Set a number of threads that the host need not offer."""
    return lambda count: monkeypatch.setattr(threads, "_threads", count)


@kernel
def fill_and_fail(done, bad, room, first, last):
    """Fail in the piece with block `bad`, for lack of memory."""
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


def test_every_block_is_done_once_whatever_the_threads(thread_count):
    for count in (1, 2, 5):
        thread_count(count)
        for blocks in (0, 1, 2, 3, 19, 100):
            done = np.zeros(blocks, np.int64)
            for times in range(1, 30):
                threads.share_out(count_up, blocks, done)
                assert (done == times).all()


def test_the_caller_is_not_alone_with_its_work(thread_count, monkeypatch):
    thread_count(2)
    monkeypatch.setattr(threads, "_team", threads._Team())
    # On a machine that is busy otherwise, too.
    monkeypatch.setattr(threads._Processors, "to_be_measured", lambda self: False)
    assert somebody_comes_to_help()


def run_for(processors, seconds, threads, share, now):
    """Tell of runs by so many threads, each of which had a share of a processor."""
    processors.measured(threads, seconds, threads * seconds * share, now)


@pytest.mark.parametrize(
    ("threads_wanted", "share", "left"),
    [(64, 2 / 64, 2), (64, 16 / 64, 16), (2, 0.4, 1), (8, 0.01, 1), (16, 0.49, 8)],
)
def test_threads_without_a_processor_are_fewer_for_a_while(threads_wanted, share, left):
    processors = threads._Processors()
    assert processors.allowed(threads_wanted, now=0.0) == threads_wanted
    run_for(processors, 0.3, threads_wanted, share, now=1.0)
    assert processors.allowed(threads_wanted, now=1.5) == left
    assert processors.allowed(1, now=1.5) == 1
    assert processors.allowed(threads_wanted, now=2.5) == threads_wanted


def test_the_longer_processors_are_wanting_the_rarer_more_threads_are_tried():
    processors, now, pauses = threads._Processors(), 0.0, []
    for _ in range(9):
        run_for(processors, 0.3, 64, 2 / 64, now)
        began = now
        while processors.allowed(64, now) == 2:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    run_for(processors, 0.6, 64, 0.9, now)
    run_for(processors, 0.3, 64, 2 / 64, now)
    assert processors.allowed(64, now + 1) == 64  # as at first


def test_fewer_threads_that_get_less_are_made_more_again():
    """Other programs take the processors: each thread gets its share, few get less."""
    processors = threads._Processors()
    run_for(processors, 0.3, 2, 0.2, now=1.0)
    assert processors.allowed(2, now=1.0) == 1
    run_for(processors, 0.3, 1, 0.2, now=1.3)
    assert processors.allowed(2, now=1.3) == 2
    run_for(processors, 0.3, 2, 0.2, now=1.6)
    assert processors.allowed(2, now=1.6) == 2  # and that is left alone for a while


def test_fewer_threads_that_get_as_much_stay_fewer():
    processors = threads._Processors()
    run_for(processors, 0.3, 64, 2.4 / 64, now=1.0)
    run_for(processors, 0.3, 2, 1.0, now=1.3)
    assert processors.allowed(64, now=1.5) == 2
    one = threads._Processors()
    run_for(one, 0.3, 2, 0.2, now=1.0)  # a quota of 0.4
    run_for(one, 0.3, 1, 0.4, now=1.3)
    assert one.allowed(2, now=1.5) == 1


def test_threads_that_share_their_work_unequally_are_all_kept():
    processors = threads._Processors()
    run_for(processors, 3.0, 64, 0.55, now=1.0)
    assert processors.allowed(64, now=1.0) == 64


def test_workers_that_are_too_many_go_to_sleep_and_come_back(thread_count, monkeypatch):
    team = threads._Team()
    monkeypatch.setattr(threads, "_team", team)
    monkeypatch.setattr(threads, "_LOOKS", 1 << 60)  # else nobody ever sleeps
    monkeypatch.setattr(threads._Processors, "to_be_measured", lambda self: False)
    thread_count(3)
    done = np.zeros(40, np.int64)

    def asleep(*expected):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            threads.share_out(count_up, 40, done)
            if tuple(worker.is_asleep[0] for worker in team._workers) == expected:
                return True
            threading.Event().wait(0.001)
        return False

    assert asleep(0, 0)
    for most, expected in ((2, (0, 1)), (1, (1, 1)), (None, (0, 0)), (1, (1, 1))):
        team._processors.most, team._processors._until = most, float("inf")
        assert asleep(*expected), most
    assert len(set(done)) == 1  # each block as often as any other


def test_what_is_not_compiled_is_done_by_the_caller(thread_count):
    thread_count(3)
    by = set()

    def plain(done, first, last):
        by.add(threading.get_ident())
        done[first:last] += 1

    done = np.zeros(30, np.int64)
    threads.share_out(plain, 30, done)
    assert (done == 1).all()
    assert by == {threading.get_ident()}


def test_a_worker_that_wakes_up_late_does_nothing_twice(thread_count, monkeypatch):
    monkeypatch.setattr(threads, "_LOOKS", 1000)  # workers go to sleep soon
    monkeypatch.setattr(threads, "_team", threads._Team())
    thread_count(3)
    done = np.zeros(40, np.int64)
    for times in range(1, 3000):
        if times % 100 == 0:
            threading.Event().wait(0.01)
        threads.share_out(count_up, 40, done)
        assert (done == times).all(), times


def test_several_callers_take_turns(thread_count):
    thread_count(3)
    arrays = [np.zeros(50, np.int64) for _ in range(4)]

    def call(done):
        for _ in range(500):
            threads.share_out(count_up, 50, done)

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
    threads.share_out(count_up, 40, array)
    del array
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("bad", [0, 49])
def test_a_failure_in_any_thread_reaches_the_caller(thread_count, bad):
    thread_count(3)
    done = np.zeros(50, np.int64)
    with pytest.raises(MemoryError):
        threads.share_out(fill_and_fail, 50, done, bad, 1 << 62)
    done[:] = 0
    threads.share_out(fill_and_fail, 50, done, bad, 1)  # the team has survived
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


def blas_threads():
    pools = threadpool_info()
    return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]


def test_a_quota_holds_back_the_threads_of_matrix_products_but_never_adds_any(
    monkeypatch,
):
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.delenv("NPRESNET_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(processors, "limit", lambda: Limit(2, "a quota of 2"))
    with threadpool_limits(3, user_api="blas"):
        assert threads.get_threads() == 2
        assert max(blas_threads(), default=2) == 2
    monkeypatch.setattr(threads, "_threads", None)
    with threadpool_limits(1, user_api="blas"):
        assert threads.get_threads() == 2
        assert max(blas_threads(), default=1) == 1


def test_set_threads_is_cut_down_to_what_the_host_offers(monkeypatch):
    monkeypatch.setattr(threads, "_threads", None)
    before = threads.get_threads()
    try:
        assert nr.set_threads(10_000) == threads.available_threads()
        assert nr.set_threads(1) == 1 == nr.get_threads()
    finally:
        nr.set_threads(before)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_set_threads_refuses_what_is_no_count(count):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        nr.set_threads(count)


def test_the_environment_can_choose_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(_notices, "_said", set())
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "1")
    assert threads.get_threads() == 1
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "10000")
    with pytest.warns(Notice, match="NPRESNET_NUM_THREADS=10000: using .*the limit is"):
        assert threads.get_threads() == threads.available_threads()
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="NPRESNET_NUM_THREADS"):
        threads.get_threads()
