"""Ways to judge an answer: against a value, or case by case against a function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npresnet.course.exercise import Exercise, Judge, Unanswered, Wrong

Case = tuple[Any, ...]


def by_value(*, rtol: float = 1e-6) -> Judge:
    """Make a judge for an answer that is a number, a text, an array or a tuple.

    Parameters
    ----------
    rtol : float
        Relative tolerance of floating-point numbers.
    """

    def judge(exercise: Exercise, answer: Any) -> None:
        if _has_gap(answer):
            raise Unanswered
        if same(answer, exercise.solution, rtol=rtol):
            return
        for mistake in exercise.mistakes:
            if same(answer, mistake.answer, rtol=rtol):
                raise Wrong(mistake.message)
        raise Wrong(_other_value(answer, exercise.solution))

    return judge


def by_cases(
    cases: Sequence[Case] | Callable[[], Sequence[Case]], *, rtol: float = 1e-6
) -> Judge:
    """Make a judge for a function: it is called and compared with the solution.

    Parameters
    ----------
    cases : sequence of tuple, or callable that returns one
        Arguments to call with; every call gets copies. They must tell every mistake
        of the exercise from its solution.
    rtol : float
        Relative tolerance of floating-point numbers.
    """

    def judge(exercise: Exercise, answer: Any) -> None:
        if not callable(answer):
            raise Wrong(f"a function was expected, this is a {type(answer).__name__}.")
        calls = cases() if callable(cases) else cases
        wanted = [_call(exercise.solution, case) for case in calls]
        name = getattr(answer, "__name__", "the function")
        results = []
        for case, right in zip(calls, wanted, strict=True):
            try:
                results.append(_call(answer, case))
            except NotImplementedError as error:
                raise Unanswered from error
            except Exception as error:  # whatever a reader's code may raise
                raise Wrong(
                    f"{_written(name, case)} raised {type(error).__name__}: {error}"
                ) from error
            if results[-1] is None and right is not None:
                if len(results) == 1:
                    raise Unanswered
                raise Wrong(f"{_written(name, case)} returned nothing.")
        verdicts = [same(r, w, rtol=rtol) for r, w in zip(results, wanted, strict=True)]
        if all(verdicts):
            return
        for mistake in exercise.mistakes:
            if _agrees(mistake.answer, calls, results, rtol):
                raise Wrong(mistake.message)
        first = verdicts.index(False)
        raise Wrong(
            f"{_written(name, calls[first])}: "
            + _other_value(results[first], wanted[first])
        )

    return judge


def same(a: Any, b: Any, *, rtol: float = 1e-6) -> bool:
    """Tell whether two answers agree: shapes exactly, numbers up to rounding.

    Parameters
    ----------
    a, b : object
        Numbers, texts, arrays, or tuples and lists of these.
    rtol : float
        Largest difference, relative to the largest number in either.

    Examples
    --------
    >>> same(0.1 + 0.2, 0.3), same((3, 4), [3, 4]), same(np.ones(2), np.ones((2, 1)))
    (True, True, False)
    """
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        pairs = zip(a, b, strict=False)
        return len(a) == len(b) and all(same(p, q, rtol=rtol) for p, q in pairs)
    if not (_is_numeric(a) and _is_numeric(b)):
        of_arrays = isinstance(a, np.ndarray) or isinstance(b, np.ndarray)
        return not of_arrays and type(a) is type(b) and bool(a == b)
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape:
        return False
    if not first.size:
        return True
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return bool(np.array_equal(first, second, equal_nan=True))
    size = float(max(np.abs(first).max(), np.abs(second).max()))
    difference = float(np.abs(first.astype(float) - second.astype(float)).max())
    return difference <= rtol * size


def _is_numeric(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf"
    return isinstance(value, bool | int | float)


def _has_gap(answer: Any) -> bool:
    """Tell whether a part of the stub is left: an ellipsis in a tuple."""
    return isinstance(answer, tuple | list) and any(a is ... for a in answer)


def _call(function: Any, case: Case) -> Any:
    return function(*copy.deepcopy(case))


def _agrees(
    function: Any, calls: Sequence[Case], results: Sequence[Any], rtol: float
) -> bool:
    for case, result in zip(calls, results, strict=True):
        try:
            if not same(result, _call(function, case), rtol=rtol):
                return False
        except Exception:  # a mistake may be one that raises on other cases
            return False
    return True


def _other_value(got: Any, wanted: Any) -> str:
    """Say how an answer differs, without giving a value away."""
    if isinstance(wanted, np.ndarray):
        if not (isinstance(got, np.ndarray) and _is_numeric(got)):
            return f"expected an array of shape {wanted.shape}, got {_short(got)}."
        if got.shape != wanted.shape:
            return f"expected the shape {wanted.shape}, got {got.shape}."
        away = np.abs(got.astype(float) - wanted.astype(float))
        place = tuple(int(i) for i in np.unravel_index(away.argmax(), away.shape))
        share = (away > 1e-6 * np.abs(wanted).max()).mean()
        return (
            f"the shape is right, {share:.0%} of the numbers are not; the worst is at "
            f"{place}: {got[place]:.4g}."
        )
    if isinstance(wanted, tuple | list) and isinstance(got, tuple | list):
        if len(got) != len(wanted):
            return f"expected {len(wanted)} values, got {len(got)}."
        for which, (g, w) in enumerate(zip(got, wanted, strict=True)):
            if not same(g, w):
                return f"value {which}: {_other_value(g, w)}"
    if _is_numeric(wanted) != _is_numeric(got):
        kind = type(wanted).__name__
        return f"expected a value of type {kind}, got {_short(got)}."
    return f"it is not {_short(got)}."


def _written(name: str, case: Case) -> str:
    return f"{name}({', '.join(_short(value) for value in case)})"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<array of shape {value.shape}>"
    text = repr(value)
    return text if len(text) <= 40 else f"<{type(value).__name__}>"
