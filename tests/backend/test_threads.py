"""Threads change the speed and nothing else."""

import gc
import os
import threading
import weakref

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import threads


@pytest.fixture
def thread_count(monkeypatch):
    """Set a number of threads that the host need not offer."""

    def choose(count):
        monkeypatch.setattr(threads, "_threads", count)
        monkeypatch.setattr(threads, "_WORTH_SHARING", 0)  # everything is

    return choose


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
    [("resnet8", (37, 3, 13, 17)), ("resnet18", (3, 3, 97, 80))],
)
def test_the_same_bits_with_any_number_of_threads(
    model_name, shape, algorithm, thread_count
):
    with nr.using_algorithm(algorithm):
        thread_count(1)
        alone = training_bits(model_name, shape)
        for count in (2, 3, 7):
            thread_count(count)
            assert training_bits(model_name, shape) == alone, count


def test_every_block_is_done_once_whatever_the_threads(thread_count):
    for count in (1, 2, 5):
        thread_count(count)
        for blocks in (0, 1, 2, 3, 19, 100):
            done = np.zeros(blocks, np.int64)

            def kernel(done, first, last):
                done[first:last] += 1

            threads.share_out(kernel, blocks, done)
            assert (done == 1).all()


def test_what_is_too_small_to_be_shared_is_done_alone(monkeypatch):
    monkeypatch.setattr(threads, "_threads", 3)
    by = set()

    def quick(done, first, last):
        by.add(threading.get_ident())
        done[first:last] += 1

    done = np.zeros(30, np.int64)
    for times in range(1, 6):
        threads.share_out(quick, 30, done)
        assert (done == times).all()
    assert by == {threading.get_ident()}


def test_a_worker_that_wakes_up_late_does_nothing_twice(thread_count):
    thread_count(2)
    done = np.zeros(40, np.int64)

    def kernel(done, first, last):
        done[first:last] += 1

    for times in range(1, 200):
        if times % 20 == 0:
            threading.Event().wait(0.02)  # workers go to sleep
        threads.share_out(kernel, 40, done)
        assert (done == times).all(), times


def test_no_array_is_held_once_the_work_is_done(thread_count):
    thread_count(2)
    array = np.zeros(40)
    gone = weakref.ref(array)
    threads.share_out(lambda done, first, last: None, 40, array)
    del array
    gc.collect()
    assert gone() is None


def test_an_exception_in_any_thread_reaches_the_caller(thread_count):
    thread_count(3)
    caller = threading.current_thread()

    def fails_elsewhere(first, last):
        if threading.current_thread() is not caller:
            raise ArithmeticError("from a worker")
        # Keep the caller busy until a worker has had its turn.
        threading.Event().wait(0.05)

    with pytest.raises(ArithmeticError, match="from a worker"):
        for _ in range(20):  # a worker that sleeps may come too late
            threads.share_out(fails_elsewhere, 50)
    done = np.zeros(50, np.int64)

    def works(done, first, last):
        done[first:last] += 1

    threads.share_out(works, 50, done)  # the pool has survived
    assert done.all()


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
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "1")
    assert threads.get_threads() == 1
    monkeypatch.setattr(threads, "_threads", None)
    monkeypatch.setenv("NPRESNET_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="NPRESNET_NUM_THREADS"):
        threads.get_threads()
