"""A model's programs: made when a shape or a mode is first met, and kept."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import get_algorithm, get_backend
from npresnet.compiler.as_written import (
    functions_are_as_written,
    is_ours,
    methods_of,
)
from npresnet.nn import Module, modes
from npresnet.nn.doors import is_watched

if TYPE_CHECKING:
    from npresnet.compiler.program import Plan, Program

Array = NDArray[np.floating[Any]]

_MOST_PLANS = 16  # that are kept
# Arrays of modules that a program looks up itself (see `Program.fits`), and what is
# part of a program's key: a change of these makes no plan wrong.
_MAY_CHANGE = frozenset(
    ("running_mean", "running_var", "num_batches_tracked", "training", "_stacks")
)


class Programs:
    """The programs of a model, by shape and mode; one arena for all.

    Parameters
    ----------
    model : Module
        The model.
    input_grad : bool or None
        Whether the way back goes on to the model's input; None: there is no way back.

    Attributes
    ----------
    latest : Plan or None
        The plan that was asked for last.
    """

    def __init__(self, model: Module, *, input_grad: bool | None) -> None:
        self.model = model
        self.latest: Plan | None = None
        self._input_grad = input_grad
        self._plans: dict[Any, Plan] = {}
        self._programs: dict[Any, Program] = {}
        self._arena = np.empty(0, np.uint8)
        # What each module holds, and its names: the dictionary itself, and its values
        # when they were looked at last.
        self._seen: list[tuple[dict[str, Any], list[Any]]] = []
        self._methods: list[tuple[Any, str, Any]] = []  # of others' classes
        self._mode: tuple[bool, ...] = ()
        self._is_free = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy, and pickle, without what can be made again."""
        return _made_again, (self.model, self._input_grad)

    @contextmanager
    def use(self, x: Array) -> Iterator[Program | None]:
        """Have the program for an input to oneself, within a ``with`` block.

        None where the model itself is to run: because its own lines are wanted, because
        x does not fit (the model says better why), or because the arena is in use, by
        another thread or by what a signal handler has interrupted.

        Raises
        ------
        CannotCompile
            If there can be no program.
        """
        if runs_in_layers() or not self._is_free.acquire(blocking=False):
            yield None
            return
        try:
            yield self._find(x)
        finally:
            self._is_free.release()

    def _find(self, x: Array) -> Program | None:
        from npresnet.compiler.tracing import Mismatch

        if not _kernels_are_compiled():
            return None
        try:
            return self.find(x)
        except Mismatch:
            return None

    def find(self, x: Array) -> Program:
        """Return the program for an input, laid out and bound if need be."""
        key = self._key(x.shape, x.dtype)
        program = self._programs.get(key)
        if program is None or not program.fits():
            program = self._programs[key] = self._bind(key)
        self.latest = program.plan
        return program

    def bind(self, plan: Plan) -> Program:
        """Return the program of a plan that is still one of the model's."""
        key = next(key for key, one in self._plans.items() if one is plan)
        if key not in self._programs:
            self._programs[key] = self._bind(key)
        return self._programs[key]

    def lay_out(self, shape: tuple[int, ...]) -> Plan:
        """Return the plan for an input of a shape, of the parameters' type."""
        dtypes = [parameter.dtype for parameter in self.model.parameters()]
        dtype = dtypes[0] if dtypes else np.dtype(np.float32)
        self.latest = self._plan(self._key(shape, dtype))
        return self.latest

    def _key(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        self._look()
        return shape, dtype, self._mode, get_algorithm()

    def _plan(self, key: Any) -> Plan:
        plan = self._plans.get(key)
        if plan is None:
            from npresnet.compiler.lowering import lower
            from npresnet.compiler.program import Plan
            from npresnet.compiler.tracing import trace

            shape, dtype, *_ = key
            while len(self._plans) >= _MOST_PLANS:
                oldest = next(iter(self._plans))
                del self._plans[oldest]
                self._programs.pop(oldest, None)
            backward = self._input_grad is not None
            found = trace(
                self.model,
                shape,
                dtype,
                backward=backward,
                input_grad=bool(self._input_grad),
            )
            plan = Plan(lower(found, adds_up=self._input_grad is False))
            self._plans[key] = plan
        return plan

    def _bind(self, key: Any) -> Program:
        from npresnet.compiler.program import Program, new_arena

        plan = self._plan(key)
        if plan.size > len(self._arena):
            self._programs.clear()  # they lie in the old one
            self._arena = np.empty(0, np.uint8)
            self._arena = new_arena(plan.size)
        return Program(plan, self._arena)

    def _look(self) -> None:
        """Notice whatever has changed about the model.

        All that can is in the dictionaries of its modules: settings, and the modules
        inside. That nothing has is found out quickly, because it is at every step.
        """
        for own, before in self._seen:
            if len(own) != len(before) or not all(
                map(operator.is_, own.values(), before)
            ):
                break
        else:
            if self._seen and all(
                own.get(name) is it for own, name, it in self._methods
            ):
                return
        now = [
            (vars(module), list(vars(module).values()))
            for module in self.model.modules()
        ]
        methods = self._others_methods()
        if not _are_alike(self._seen, now) or methods != self._methods:
            self._plans.clear()
            self._programs.clear()
        self._seen, self._methods = now, methods
        self._mode = tuple([module.training for module in self.model.modules()])

    def _others_methods(self) -> list[tuple[Any, str, Any]]:
        """List the passes that are not the package's: those are looked at elsewhere."""
        kinds = {type(module) for module in self.model.modules()}
        others = {one for kind in kinds for one in kind.__mro__ if not is_ours(one)}
        found = [method for kind in others for method in methods_of(kind)]
        return sorted(found, key=lambda method: (id(method[2]), method[1]))


@functools.cache
def _kernels_are_compiled() -> bool:
    """Tell whether Numba compiles: it can be told to leave everything to Python."""
    import numba

    return not numba.config.DISABLE_JIT


def _made_again(model: Module, input_grad: bool | None) -> Programs:
    return Programs(model, input_grad=input_grad)


def runs_in_layers() -> bool:
    """Tell whether a model's own lines are what is wanted."""
    return (
        get_backend() != "numba"
        or is_watched()
        or modes.is_replaying()
        or not functions_are_as_written()
    )


def _are_alike(
    before: list[tuple[dict[str, Any], list[Any]]],
    now: list[tuple[dict[str, Any], list[Any]]],
) -> bool:
    """Tell whether plans are right for what modules hold now."""
    if len(before) != len(now):
        return False
    for (own, old), (other, new) in zip(before, now, strict=True):
        if own is not other or len(old) != len(new):
            return False
        for name, was, is_now in zip(own, old, new, strict=True):
            if was is not is_now and name not in _MAY_CHANGE:
                return False
    return True
