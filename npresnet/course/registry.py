"""The exercises of every notebook, found by number.

Those of ``notebooks/03_batch_norm`` stand in ``exercises/n03_batch_norm.py``, in a
tuple ``EXERCISES``. A file is read when one of its exercises is asked for.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

from npresnet.course import exercises as _folder
from npresnet.course.exercise import Exercise, Verdict
from npresnet.course.pages import Code


def check(number: str, answer: Any) -> Verdict:
    """Tell whether an answer to an exercise is right.

    Parameters
    ----------
    number : str
        Notebook and exercise, such as ``"01.2"``.
    answer : object
        A value or a function, as the exercise asks; ``...`` for none yet.

    Returns
    -------
    Verdict
        True where the answer is right; its message says what is wrong with another.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    return _find(number).check(answer)


def hint(number: str, which: int = 1) -> None:
    """Print a hint to an exercise.

    Parameters
    ----------
    number : str
        Notebook and exercise, such as ``"01.2"``.
    which : int
        1 for the first; later ones say more.

    Raises
    ------
    ValueError
        If there is no such exercise or hint.
    """
    exercise = _find(number)
    print(f"Hint {which} of {len(exercise.hints)}: {exercise.hint(which)}")


def solution(number: str) -> Code:
    """Show the solution of an exercise, and why it is right.

    Parameters
    ----------
    number : str
        Notebook and exercise, such as ``"01.2"``.

    Raises
    ------
    ValueError
        If there is no such exercise.
    """
    exercise = _find(number)
    return Code(exercise.solution_text(), exercise.because)


def find_exercises(notebook: str | None = None) -> tuple[Exercise, ...]:
    """Return the exercises of a notebook, or all.

    Parameters
    ----------
    notebook : str, optional
        Two digits, such as ``"01"``.

    Raises
    ------
    ValueError
        If there is no such notebook, or it has no exercises.
    """
    files = {
        module.name[1:3]: module.name
        for module in pkgutil.iter_modules(_folder.__path__)
        if re.match(r"n\d\d_", module.name)
    }
    if notebook is not None and notebook not in files:
        raise ValueError(
            f"expected a notebook with exercises ({', '.join(sorted(files))}), "
            f"got {notebook!r}"
        )
    chosen = sorted(files) if notebook is None else [notebook]
    return tuple(
        exercise
        for name in chosen
        for exercise in importlib.import_module(
            f"{_folder.__name__}.{files[name]}"
        ).EXERCISES
    )


def _find(number: str) -> Exercise:
    known = find_exercises(str(number).partition(".")[0])
    for exercise in known:
        if exercise.number == number:
            return exercise
    numbers = ", ".join(exercise.number for exercise in known)
    raise ValueError(f"expected an exercise such as {numbers}; got {number!r}")
