"""Is a backward pass right? Finite differences know, without any framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain
from npresnet.nn import Module, Parameter, modes
from npresnet.testing import form
from npresnet.testing.form import GradientError

Array = NDArray[np.floating[Any]]
Pair = tuple[Callable[..., Any], Callable[..., Any]]
Objective = Callable[[Array], float]

_ATTEMPTS = 3


@dataclass(frozen=True)
class GradientCheck:
    """One tensor's gradient, measured in one random direction.

    Attributes
    ----------
    name : str
        ``x``, an argument's number, or a parameter's name.
    analytic, numeric : float
        Derivative along the direction, from the backward pass and from differences.
    error : float
        Their distance, less what rounding explains, relative to the size such a
        derivative has on average.
    raw_error : float
        The same with what rounding explains.
    """

    name: str
    analytic: float
    numeric: float
    error: float
    raw_error: float


class Measurement(NamedTuple):
    """What `measure` found."""

    checks: list[GradientCheck]
    arrays: dict[str, Array]  # the output, and every gradient under its name


def check_gradients(
    target: Module | Pair,
    *inputs: Any,
    rtol: float = 1e-5,
    step: float = 1e-6,
    seed: int = 0,
) -> list[GradientCheck]:
    """Compare a backward pass with central differences along random directions.

    Parameters
    ----------
    target : Module or pair of functions
        A module, checked in the mode it is in; or ``(forward, backward)`` as in
        `npresnet.functional`: ``forward(*inputs)`` gives the output first and the
        cache second, ``backward(grad_output, cache)`` the gradients in the order of
        the inputs.
    *inputs : ndarray of float64, or anything else
        What it is called with. Every float64 array needs a gradient and is checked;
        labels, sizes and other things are passed on as they are.
    rtol : float
        Largest relative error allowed.
    step : float
        Length of the step, in the units of the inputs.
    seed : int
        Of the directions and of the upstream gradient.

    Returns
    -------
    list of GradientCheck
        One per float64 input and parameter.

    Raises
    ------
    GradientError
        If any error exceeds `rtol` (it lists the tensors concerned), or if a pass
        is wrong in form: a gradient that is missing, or of another shape or dtype
        than its tensor; a cache that was not kept, or not taken; an argument
        changed in place; parameters' gradients that do not add up; another output
        for the same input.
    TypeError
        If an input, a parameter or the output is float32: differences need digits.

    Notes
    -----
    With a random upstream gradient u and a random direction v for a tensor t::

        sum(grad_t * v)  ==  (f(t + h*v) - f(t - h*v)) / (2*h),   f = sum(u * output)

    Two forward passes per tensor, whatever its size. The upstream gradient is
    random because some wrong backward passes agree on a constant one. Where the
    step crosses the kink of a ReLU, or changes the winner of a maximum, the two
    sides differ by right: a tensor that disagrees is tried again, up to twice, in
    another direction with an eighth of the step. A wrong gradient is wrong in all.

    The module is left as it was.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 5, 5))
    >>> block = nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)
    >>> len(nr.testing.check_gradients(block, x))
    7
    """
    checks, _ = measure(target, inputs, rtol=rtol, step=step, seed=seed)
    require(checks, rtol)
    return checks


def measure(
    target: Module | Pair,
    inputs: tuple[Any, ...],
    *,
    rtol: float,
    step: float = 1e-6,
    seed: int = 0,
) -> Measurement:
    """Do what `check_gradients` does, but leave the judgement of errors open.

    Parameters
    ----------
    target, inputs, rtol, step, seed
        As there; `rtol` says what is tried again.

    Returns
    -------
    Measurement
        The checks, and the arrays they are about.
    """
    inputs = tuple(
        plain(f"input {i}", value) if isinstance(value, np.ndarray) else value
        for i, value in enumerate(inputs)
    )
    rng = np.random.default_rng(seed)
    with _passes(target, inputs, rng) as (output, upstream, variables):
        # How far rounding may move the sum of the two.
        rounding = 4 * np.finfo(np.float64).eps * np.abs(upstream * output).sum()
        checks = [_check(v, step, rtol, float(rounding), rng) for v in variables]
        arrays = {"the output": np.asarray(output)}
        arrays |= {f"the gradient of {v.name}": v.gradient for v in variables}
    return Measurement(checks, arrays)


def require(checks: list[GradientCheck], rtol: float) -> None:
    """Raise a `GradientError` that lists the checks above `rtol`, if there are any."""
    wrong = [check for check in checks if not check.error <= rtol]
    if wrong:
        table = "\n".join(
            f"  {check.name}: backward {check.analytic:.9g}, differences "
            f"{check.numeric:.9g}, relative error {check.error:.1e}"
            for check in wrong
        )
        names = ", ".join(check.name for check in wrong)
        raise GradientError(
            f"wrong gradient for {names}: {len(wrong)} of {len(checks)} tensors, "
            f"allowed error {rtol:g}\n{table}"
        )


class _Variable(NamedTuple):
    """An array that the output depends on, and what backward says about it."""

    name: str
    value: Array
    gradient: Array  # of sum(upstream * output), by `value`
    objective: Objective  # that sum, with `value` moved elsewhere


class _Passes(NamedTuple):
    """A forward pass, the gradient that was sent back, and what arrived."""

    output: Any  # ndarray, or a number where the target is a loss
    upstream: Array  # of the output's shape
    variables: list[_Variable]


@contextmanager
def _passes(
    target: Module | Pair, inputs: tuple[Any, ...], rng: np.random.Generator
) -> Iterator[_Passes]:
    """Go forward and backward once; put a module back as it was at the end."""
    for i, value in enumerate(inputs):
        if form.is_floating(value):
            hint = "use x.astype(np.float64)"
            form.require_float64(f"input {i}", value, hint)
    if isinstance(target, Module):
        with _restored(target):
            yield _module_passes(target, inputs, rng)
    else:
        yield _pair_passes(target, inputs, rng)


def _pair_passes(
    pair: Pair, inputs: tuple[Any, ...], rng: np.random.Generator
) -> _Passes:
    forward, backward = pair

    def run(*arguments: Any) -> tuple[Any, Any]:
        result = forward(*arguments)
        if not isinstance(result, tuple) or len(result) < 2:
            raise GradientError(
                "forward must return a tuple, the output first and the cache second, "
                f"got {form.describe(result)}"
            )
        return result[0], result[1]

    with form.unchanged("forward", inputs):
        output, cache = run(*inputs)
    form.require_float64_output(output)
    upstream = rng.standard_normal(np.shape(output))
    with form.unchanged("backward", inputs, upstream):
        gradients = backward(upstream, cache)
    form.require_same_output(output, run(*inputs)[0])

    def objective(i: int) -> Objective:
        return lambda moved: float(
            (upstream * run(*inputs[:i], moved, *inputs[i + 1 :])[0]).sum()
        )

    return _Passes(output, upstream, _variables(inputs, gradients, objective))


def _module_passes(
    module: Module, inputs: tuple[Any, ...], rng: np.random.Generator
) -> _Passes:
    parameters = list(module.named_parameters())
    arrays = [(name, parameter.data) for name, parameter in parameters]
    arrays += [(name, b) for name, b in module.named_buffers() if form.is_floating(b)]
    for name, array in arrays:
        form.require_float64(name, array, "build the module with dtype=np.float64")
    if not modes.is_keeping():
        raise RuntimeError("gradients cannot be checked under no_grad: no caches")

    module.zero_grad()
    with form.unchanged("forward", inputs):
        output = module(*inputs)
    form.require_float64_output(output)
    upstream = rng.standard_normal(np.shape(output))
    with form.unchanged("backward", inputs, upstream):
        gradients = form.go_backward(module, upstream)
    form.require_no_caches_left(module)

    def objective(i: int) -> Objective:
        return lambda moved: float(
            (upstream * module(*inputs[:i], moved, *inputs[i + 1 :])).sum()
        )

    def objective_of(parameter: Parameter) -> Objective:
        def total(moved: Array) -> float:
            before, parameter.data = parameter.data, moved
            try:
                return float((upstream * module(*inputs)).sum())
            finally:
                parameter.data = before

        return total

    learned = [(name, p.data, p.grad, objective_of(p)) for name, p in parameters]
    variables = _variables(inputs, gradients, objective, {0: "x"}, learned)
    form.require_same_again(module, inputs, output, upstream, parameters)
    return _Passes(output, upstream, variables)


def _variables(
    inputs: tuple[Any, ...],
    gradients: Any,
    objective: Callable[[int], Objective],
    names: Mapping[int, str] = MappingProxyType({}),
    learned: Sequence[tuple[str, Array, Any, Objective]] = (),
) -> list[_Variable]:
    """Join what can be moved with its gradient; inputs first, then parameters."""
    found = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
    while len(found) > len(inputs) and found[-1] is None:
        found.pop()  # of an argument that was left at its default
    if len(found) > len(inputs):
        raise GradientError(
            f"backward returned {len(found)} gradients for {len(inputs)} input(s)"
        )
    found += [None] * (len(inputs) - len(found))
    candidates = [
        (names.get(i, f"input {i}"), value, found[i], objective(i))
        for i, value in enumerate(inputs)
        if form.is_floating(value)
    ]
    remedies = ["backward must return it"] * len(candidates)
    remedies += ["backward must call parameter.accumulate(grad)"] * len(learned)
    candidates += learned
    if not candidates:
        raise ValueError("nothing to check: no float64 input and no parameter")
    form.require_gradients([candidate[:3] for candidate in candidates], remedies)
    return [_Variable(*candidate) for candidate in candidates]


@contextmanager
def _restored(module: Module) -> Iterator[None]:
    """Put parameters, gradients and buffers back at the end; leave no caches."""
    parts = dict(module.named_modules())
    parameters = [(p, p.data, p.grad) for p in module.parameters()]
    buffers = [(name, b, np.array(b)) for name, b in module.named_buffers()]
    try:
        yield
    finally:
        module.discard_caches()
        for parameter, data, grad in parameters:
            parameter.data, parameter.grad = data, grad
        for name, buffer, values in buffers:
            path, _, attribute = name.rpartition(".")
            buffer[...] = values
            setattr(parts[path], attribute, buffer)


def _check(
    variable: _Variable,
    step: float,
    rtol: float,
    rounding: float,
    rng: np.random.Generator,
) -> GradientCheck:
    name, value, gradient, objective = variable
    best: GradientCheck | None = None
    for attempt in range(_ATTEMPTS):
        direction = rng.standard_normal(value.shape)
        h = step / 8**attempt
        analytic = float((gradient * direction).sum())
        above, below = (
            objective(value + h * direction),
            objective(value - h * direction),
        )
        numeric = (above - below) / (2 * h)
        # A random direction's derivative is about as large as the gradient is long.
        scale = max(float(np.linalg.norm(gradient)), abs(numeric), 1e-12)
        distance = abs(analytic - numeric)
        error = max(distance - rounding / h, 0.0) / scale
        if best is None or error < best.error:
            best = GradientCheck(name, analytic, numeric, error, distance / scale)
        if error <= rtol:
            break
    assert best is not None
    return best
