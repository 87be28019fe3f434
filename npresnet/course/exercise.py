"""An exercise: its solution, the mistakes that people make, and how to tell them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Judge = Callable[["Exercise", Any], None]


class Wrong(Exception):
    """An answer is wrong; the message tells the reader what about it."""


class Unanswered(Exception):
    """There is no answer yet: the stub is as it was."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and what to tell them.

    Attributes
    ----------
    answer : object
        The wrong value, or a function with the mistake in it.
    message : str
        One or two sentences that lead on without giving the answer away.
    """

    answer: Any
    message: str


@dataclass(frozen=True)
class Verdict:
    """What became of an answer; true where it is right.

    Attributes
    ----------
    number : str
        The exercise, such as ``"01.2"``.
    state : {"right", "wrong", "open"}
        Open: not answered yet.
    message : str
        For the reader.
    """

    number: str
    state: Literal["right", "wrong", "open"]
    message: str

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        sign = {"right": "✓ right.", "wrong": "✗ not yet:", "open": "not answered yet."}
        return f"Exercise {self.number} {sign[self.state]} {self.message}".rstrip()


@dataclass(frozen=True)
class Exercise:
    """A question of a notebook, with what is hidden from the reader.

    Attributes
    ----------
    number : str
        Notebook and place in it, such as ``"01.2"``.
    solution : object
        The right answer: a value, or a function.
    judge : callable
        Called with the exercise and an answer; raises `Wrong` or `Unanswered`, or
        returns. `by_value` and `by_cases` make one.
    hints : tuple of str
        One after the other, each nearer to the solution.
    because : str
        Why the solution is right, shown with it and when an answer is right.
    mistakes : tuple of Mistake
        Each is told from the others, and a test holds that it is rejected.
    """

    number: str
    solution: Any
    judge: Judge
    hints: tuple[str, ...]
    because: str
    mistakes: tuple[Mistake, ...] = ()

    def check(self, answer: Any) -> Verdict:
        """Tell whether an answer is right, wrong or missing; never raises."""
        try:
            if answer is ... or answer is None:
                raise Unanswered
            self.judge(self, answer)
        except Unanswered:
            where = f"nr.course.hint({self.number!r}) helps."
            return Verdict(self.number, "open", where)
        except Wrong as error:
            return Verdict(self.number, "wrong", str(error))
        except Exception as error:  # an answer that no judge has thought of
            what = f"it cannot be judged: {type(error).__name__}: {error}"
            return Verdict(self.number, "wrong", what)
        return Verdict(self.number, "right", self.because)

    def hint(self, which: int = 1) -> str:
        """Return a hint; the first by default.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        if not 1 <= which <= len(self.hints):
            raise ValueError(
                f"exercise {self.number} has hints 1 to {len(self.hints)}, got {which}"
            )
        return self.hints[which - 1]

    def solution_text(self) -> str:
        """Return the solution as Python: a function's source, or the value."""
        if inspect.isfunction(self.solution) or inspect.isclass(self.solution):
            return inspect.getsource(self.solution).rstrip()
        return repr(self.solution)
