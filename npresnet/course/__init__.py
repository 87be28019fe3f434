"""What the notebooks of the course need: exercises, captions, sliders, sources.

The notebooks themselves stand in the repository's ``notebooks/`` and, once the
package is installed, in this folder's ``notebooks/``; ``npresnet course`` hands them
out.
"""

from npresnet.course.exercise import Exercise, Mistake, Unanswered, Verdict, Wrong
from npresnet.course.judging import by_cases, by_value, same
from npresnet.course.pages import show, sliders, source
from npresnet.course.registry import check, find_exercises, hint, solution

__all__ = [
    "Exercise",
    "Mistake",
    "Unanswered",
    "Verdict",
    "Wrong",
    "by_cases",
    "by_value",
    "check",
    "find_exercises",
    "hint",
    "same",
    "show",
    "sliders",
    "solution",
    "source",
]
