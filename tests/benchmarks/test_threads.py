"""The benchmark of threads measures what it says, of our own pool at least."""

import os

import pytest

import npresnet as nr
from benchmarks import threads


@pytest.mark.parametrize("what", ["launch", "compile"])
def test_times_are_measured(what):
    low, middle = threads.measure(threads.OURS, what)
    assert 0 < low <= middle


@pytest.mark.parametrize("what", ["callers", "bits", "reduction"])
def test_ours_does_what_it_is_there_for(what):
    before = nr.get_threads()
    try:
        nr.set_threads(2)
        assert threads.measure(threads.OURS, what) is True
    finally:
        nr.set_threads(before)


def test_a_process_of_its_own_is_asked():
    kept = os.environ["NPRESNET_CACHE_DIR"]
    assert threads.ask(threads.OURS, "fork", kept, 2) == "yes"


def test_how_a_process_ended_is_told():
    assert threads.ended(0) == "yes"
    assert threads.ended(3) == "no: exit status 3"
    assert threads.ended(-6) == "no: SIGABRT"
