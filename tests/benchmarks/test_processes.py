"""Sides that answer from processes of their own, and the memory that they hold."""

import mmap
import time

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.asking import CannotRun, MeasurementError, answering
from benchmarks.timing import repeat
from benchmarks.worker import hold, working
from benchmarks.works import Work

LARGE = 64 << 20  # bytes


def fill(size):
    """Take memory, write to all of it, and give it back."""
    with mmap.mmap(-1, size) as block:
        for page in range(0, size, mmap.PAGESIZE):
            block[page] = 1


linux = pytest.mark.skipif(not memory.measurable(), reason="only Linux tells")


@linux
def test_a_peak_from_before_is_forgotten():
    fill(LARGE)
    assert memory.peak() > memory.resident() + LARGE // 2
    memory.forget_peak()
    assert memory.peak() < memory.resident() + LARGE // 2


@linux
def test_memory_held_for_a_moment_counts_and_what_was_held_before_does_not():
    held = hold(lambda: fill(LARGE), 2, warm_up=lambda: fill(2 * LARGE))
    assert held == pytest.approx(LARGE, rel=0.1)


@linux
def test_memory_of_who_started_a_process_is_not_its_own():
    with mmap.mmap(-1, 4 * LARGE) as block:
        for page in range(0, 4 * LARGE, mmap.PAGESIZE):
            block[page] = 1
        with answering("tests.benchmarks.idle") as ask:
            assert ask("peak") < 2 * LARGE


def test_calls_are_timed_once_at_least_and_until_the_time_is_up():
    assert len(repeat(lambda: time.sleep(0.01), 0.0)) == 1
    taken = repeat(lambda: time.sleep(0.01), 0.1)
    assert len(taken) > 2
    assert min(taken) >= 0.01


def test_a_worker_answers_in_its_own_time():
    with working("npresnet", Work("resnet8", 2, 8, trains=False), 1) as ask:
        assert len(ask("time 0")) == 1
        assert np.shape(ask("answer")) == (2, 10)
        if memory.measurable():
            assert ask("process-memory 1") > ask("step-memory 1") >= 0


def test_a_worker_that_ends_is_an_error_and_no_wait():
    with (
        pytest.raises(MeasurementError, match="status 1"),
        working("npresnet", Work("resnet8", 2, 8, trains=False), 1) as ask,
    ):
        ask("what?")


def test_a_process_that_cannot_begin_says_why():
    with (
        pytest.raises(CannotRun, match="the reason"),
        answering("tests.benchmarks.idle", "the reason"),
    ):
        pass


def test_a_process_that_never_begins_is_an_error():
    with (
        pytest.raises(MeasurementError, match=r"benchmarks\.nothing ended with"),
        answering("benchmarks.nothing"),
    ):
        pass


@pytest.mark.parametrize("trains", [True, False])
def test_a_work_survives_the_command_line(trains):
    work = Work("resnet8", 2, 8, trains)
    assert Work.from_arguments(*work.to_arguments()) == work
