"""The list of bugs: what each one is called, and what it puts where."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

# One file of wrong versions for each of these; opened when a bug is asked for.
_ROOMS = (
    "conv",
    "norm",
    "norm_backward",
    "pool",
    "activation",
    "loss",
    "blocks",
    "structure",
    "state",
    "init",
    "optim",
    "data",
    "training",
)


@dataclass(frozen=True)
class Bug:
    """What is known about a bug.

    Attributes
    ----------
    name : str
        For `inject`.
    where : str
        What it replaces: ``"module:function"`` or ``"module:Class.method"``. In
        ``npresnet.backend`` both backends are changed.
    wrong : str
        What the wrong version does.
    seen_in : str
        Who made the mistake in public.
    symptom : str
        What a learner would see.
    """

    name: str
    where: str
    wrong: str
    seen_in: str
    symptom: str


_bugs: dict[str, Bug] = {}
_replacements: dict[str, dict[str, Callable[..., Any]]] = {}


def bug(
    where: str,
    *,
    seen_in: str,
    symptom: str,
    also: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[[_Function], _Function]:
    """Register the function below as a wrong version of what is at `where`.

    Its name is the bug's, its docstring says what is wrong. `also` has further
    places, for a mistake that takes more than one function to make.
    """

    def register(function: _Function) -> _Function:
        name = function.__name__
        wrong = " ".join((function.__doc__ or "").split())
        _bugs[name] = Bug(name, where, wrong, seen_in, symptom)
        _replacements[name] = {where: function, **(also or {})}
        return function

    return register


def names() -> list[str]:
    """List all bugs, room by room.

    Examples
    --------
    >>> "col2im_overwrites" in names()
    True
    """
    _open_rooms()
    return list(_bugs)


def describe(name: str) -> Bug:
    """Tell what a bug does, who made it, and how it shows.

    Raises
    ------
    ValueError
        If there is no bug of that name.

    Examples
    --------
    >>> describe("fork_gradient_averaged").where
    'npresnet.models.blocks:ResidualBlock.backward'
    """
    _check(name)
    return _bugs[name]


def replacements(name: str) -> dict[str, Callable[..., Any]]:
    """Return what a bug puts where: place -> wrong version.

    Raises
    ------
    ValueError
        If there is no bug of that name.
    """
    _check(name)
    return _replacements[name]


def _check(name: str) -> None:
    if name in names():
        return
    near = difflib.get_close_matches(str(name), names(), n=3, cutoff=0.4)
    known = "; near it: " + ", ".join(near) if near else f"; there are {len(_bugs)}"
    raise ValueError(f"name: no bug is called {name!r}{known}")


def _open_rooms() -> None:
    for room in _ROOMS:
        importlib.import_module(f"npresnet.lens.bugs.{room}")
