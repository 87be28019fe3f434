"""Every exercise tells its solution from the mistakes that people make."""

import inspect

import numpy as np
import pytest

from npresnet.course import find_exercises

EXERCISES = find_exercises()
NONSENSE = [
    "text",
    -12345,
    1j,
    (),
    [[]],
    {},
    np.full((2, 2), np.nan),
    np.array(["text"]),
    np.array([1j]),
    lambda *args: 1 / 0,
    lambda *args: "text",
    object(),
]


def number(exercise):
    return exercise.number


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_the_solution_is_right(exercise):
    verdict = exercise.check(exercise.solution)
    assert verdict, verdict
    assert exercise.because in repr(verdict)


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_a_mistake_is_rejected_and_the_reader_is_told_which(exercise):
    for mistake in exercise.mistakes:
        verdict = exercise.check(mistake.answer)
        assert verdict.state == "wrong"
        assert verdict.message == mistake.message


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_the_stub_counts_as_unanswered(exercise):
    def stub(*args, **kwargs): ...

    def reminder(*args, **kwargs):
        raise NotImplementedError

    stubs = [..., None]
    if inspect.isfunction(exercise.solution):
        stubs += [stub, reminder]
    if isinstance(exercise.solution, tuple):
        stubs.append((...,) * len(exercise.solution))
    for answer in stubs:
        assert exercise.check(answer).state == "open", answer


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_nonsense_is_wrong_and_does_no_harm(exercise):
    for answer in NONSENSE:
        verdict = exercise.check(answer)
        assert verdict.state == "wrong", answer
        assert verdict.message
        assert "cannot be judged" not in verdict.message


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_there_are_hints_and_mistakes(exercise):
    assert exercise.hints
    assert all(exercise.hints)
    assert exercise.mistakes
    messages = [mistake.message for mistake in exercise.mistakes]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize("exercise", EXERCISES, ids=number)
def test_the_solution_can_be_shown_and_runs_by_itself(exercise):
    text = exercise.solution_text()
    if not inspect.isfunction(exercise.solution):
        assert text
        return
    names = {"np": np}
    exec(text, names)  # what a reader would paste
    assert exercise.check(names[exercise.solution.__name__])


def test_numbers_are_counted_through_in_every_notebook():
    for notebook in sorted({exercise.number[:2] for exercise in EXERCISES}):
        numbers = [exercise.number for exercise in find_exercises(notebook)]
        assert numbers == [f"{notebook}.{i + 1}" for i in range(len(numbers))]
