"""Sides in turn: who takes part, whose answers agree, which memory counts."""

from contextlib import contextmanager

import pytest

from benchmarks import steady
from benchmarks.asking import CannotRun, MeasurementError
from benchmarks.measurement import Effort
from benchmarks.steady import Memory, Times, check_answers
from benchmarks.works import Work

TRAINING, INFERENCE = (Work("resnet8", 2, 8, trains=trains) for trains in (True, False))
EFFORT = Effort(rounds=2, seconds=0.0, threads=1)
SIDES = "npresnet", "torch", "openvino"


def quiet(text):
    """Tell nobody."""


@pytest.fixture
def sides(monkeypatch):
    """Sides that answer what they are told to; those with a reason cannot begin."""
    asked, answers = [], {}

    @contextmanager
    def working(side, work, threads):
        if isinstance(answers[side], Exception):
            raise answers[side]

        def ask(question):
            asked.append((side, question))
            return answers[side][question.split()[0]]

        yield ask

    monkeypatch.setattr(steady, "working", working)
    monkeypatch.setattr(steady.memory, "measurable", lambda: True)
    return answers, asked


def test_who_cannot_run_is_left_out_and_the_others_are_timed(sides):
    answers, _ = sides
    answers |= {
        "npresnet": {"time": [1.0, 2.0, 9.0]},
        "torch": {"time": [4.0]},
        "openvino": CannotRun("not installed"),
    }
    taken = Times(TRAINING).measure(SIDES, EFFORT, quiet)
    assert taken.parts == {"npresnet": [2.0, 2.0], "torch": [4.0, 4.0]}
    assert taken.missing == {"openvino": "not installed"}


def test_nothing_is_timed_where_there_is_nobody_to_compare_with(sides):
    answers, asked = sides
    answers |= {"npresnet": {}, "torch": CannotRun("a"), "openvino": CannotRun("b")}
    taken = Times(TRAINING).measure(SIDES, EFFORT, quiet)
    assert not asked
    assert taken.missing == {"torch": "a", "openvino": "b"}


def test_sides_with_other_logits_are_not_timed(sides):
    answers, asked = sides
    answers |= {
        "npresnet": {"answer": [[1.0, -2.0]], "time": [1.0]},
        "torch": {"answer": [[1.001, -2.0]], "time": [1.0]},
    }
    Times(INFERENCE).measure(SIDES[:2], EFFORT, quiet)
    asked.clear()
    answers["torch"]["answer"] = [[1.01, -2.0]]
    with pytest.raises(
        MeasurementError, match=r"PyTorch has other logits, by 5\.0e-03"
    ):
        Times(INFERENCE).measure(SIDES[:2], EFFORT, quiet)
    assert {question for _, question in asked} == {"answer"}


def test_logits_that_are_no_numbers_never_agree():
    with pytest.raises(MeasurementError, match="other logits"):
        check_answers({"npresnet": [[1.0]], "torch": [[float("nan")]]})


@pytest.mark.parametrize("of_process", [True, False])
def test_memory_is_taken_in_new_processes_after_everything_is_compiled(
    sides, of_process
):
    answers, asked = sides
    question = "process-memory" if of_process else "step-memory"
    answers |= {
        "npresnet": {"time": [1.0], question: 200},
        "torch": {question: 400},
        "openvino": CannotRun("not installed"),
    }
    taken = Memory(TRAINING, of_process).measure(SIDES, EFFORT, quiet)
    assert taken.parts == {"npresnet": [200, 200], "torch": [400, 400]}
    assert taken.unit == "bytes"
    assert taken.missing == {"openvino": "not installed"}
    run = [("npresnet", f"{question} 3"), ("torch", f"{question} 3")]
    assert asked == [("npresnet", "time 0"), *run, *run]
