"""The benchmark of threads measures what it says, of our own pool at least."""

import pytest

from benchmarks import threads


@pytest.mark.parametrize("what", ["launch", "compile"])
def test_times_are_measured(what, tmp_path):
    low, middle = threads.ask(threads.OURS, what, str(tmp_path), 2)
    assert 0 < low <= middle


@pytest.mark.parametrize(
    ("what", "fact"),
    [("fork", "yes"), ("callers", True), ("bits", True), ("reduction", True)],
)
def test_ours_does_what_it_is_there_for(what, fact, tmp_path):
    assert threads.ask(threads.OURS, what, str(tmp_path), 2) == fact


def test_how_a_process_ended_is_told():
    assert threads.ended(0) == "yes"
    assert threads.ended(3) == "no: exit status 3"
    assert threads.ended(-6) == "no: SIGABRT"
