"""Answers are judged by shape and value, and the reader is told what differs."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.course import Exercise, Mistake, by_cases, by_value, same


def twice(x):
    return 2 * x


def thrice(x):
    return 3 * x


@pytest.fixture
def doubling():
    return Exercise(
        "00.1",
        solution=twice,
        judge=by_cases([(1.0,), (np.arange(6.0).reshape(2, 3),)]),
        hints=("first", "second"),
        because="two",
        mistakes=(Mistake(thrice, "that is thrice"),),
    )


def test_a_wrong_number_names_the_call_and_does_not_give_the_answer_away(doubling):
    verdict = doubling.check(lambda x: 5 * x)
    assert "(1.0)" in verdict.message
    assert "5" in verdict.message
    assert "2" not in verdict.message


def test_a_wrong_shape_is_told(doubling):
    verdict = doubling.check(lambda x: 2 * x if np.ndim(x) == 0 else (2 * x).T)
    assert "expected the shape (2, 3), got (3, 2)" in verdict.message


def test_wrong_numbers_in_an_array_are_located(doubling):
    def almost(x):
        out = 2 * np.asarray(x)
        if out.ndim:
            out[1, 2] += 1
        return out

    message = doubling.check(almost).message
    assert "17% of the numbers are not" in message
    assert "(1, 2)" in message


def test_an_exception_is_told_and_not_raised(doubling):
    message = doubling.check(lambda x: x["a"]).message
    assert "raised TypeError" in message


def test_what_returns_nothing_on_a_later_case_is_wrong(doubling):
    verdict = doubling.check(lambda x: 2 * x if np.ndim(x) == 0 else None)
    assert verdict.state == "wrong"
    assert "returned nothing" in verdict.message


def test_a_value_instead_of_a_function_is_told(doubling):
    assert "a function was expected" in doubling.check(2).message


def test_an_answer_that_changes_its_arguments_spoils_nothing(doubling):
    def in_place(x):
        x *= 2
        return x

    assert doubling.check(in_place)
    assert doubling.check(in_place)


def test_float32_passes_where_its_rounding_is_allowed():
    exercise = Exercise(
        "00.1", np.array([0.1, 0.2]), by_value(rtol=1e-6), ("hint",), "so"
    )
    assert exercise.check(np.array([0.1, 0.2], np.float32))
    assert not exercise.check(np.array([0.1, 0.2001]))


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (0.1 + 0.2, 0.3, True),
        ((1, 2), [1, 2], True),
        ((1, 2), (1, 2, 3), False),
        (np.ones(2), np.ones((2, 1)), False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0]), False),
        ("conv1", "conv1", True),
        ("1", 1, False),
        (np.zeros(0), np.zeros(0), True),
        (3, 3.0, True),
    ],
)
def test_what_counts_as_the_same(a, b, expected):
    assert same(a, b) is expected


def test_hints_are_counted(doubling):
    assert [doubling.hint(), doubling.hint(2)] == ["first", "second"]
    with pytest.raises(ValueError, match="hints 1 to 2, got 3"):
        doubling.hint(3)


def test_exercises_are_found_by_number(capsys):
    assert nr.course.check("01.3", 73_728)
    nr.course.hint("01.2", 2)
    assert capsys.readouterr().out.startswith("Hint 2 of ")
    shown = nr.course.solution("01.2")
    assert "def output_length(" in repr(shown)
    assert "```python\ndef output_length(" in shown._repr_markdown_()
    assert "73728" in repr(nr.course.solution("01.3"))


@pytest.mark.parametrize("number", ["01.99", "99.1", "", "01", 1.1])
def test_an_unknown_number_is_told(number):
    with pytest.raises(ValueError, match="expected"):
        nr.course.check(number, 1)


def test_a_judge_that_fails_is_told_and_not_raised():
    def judge(exercise, answer):
        raise KeyError("weight")

    verdict = Exercise("00.1", 1, judge, ("hint",), "so").check(2)
    assert verdict.state == "wrong"
    assert "cannot be judged: KeyError" in verdict.message
