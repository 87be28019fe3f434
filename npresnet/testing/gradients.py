"""Is a backward pass right? Finite differences know, without any framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module

Array = NDArray[np.floating[Any]]
Pair = tuple[Callable[..., Any], Callable[..., Any]]

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
    """

    name: str
    analytic: float
    numeric: float
    error: float


class GradientError(AssertionError):
    """A backward pass disagrees with finite differences."""


def check_gradients(
    target: Module | Pair,
    *inputs: Array,
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
    *inputs : ndarray of float64
        What it is called with; a module takes one.
    rtol : float
        Largest relative error allowed.
    step : float
        Length of the step, in the units of the inputs.
    seed : int
        Of the directions and of the upstream gradient.

    Returns
    -------
    list of GradientCheck
        One per input and parameter.

    Raises
    ------
    GradientError
        If any error exceeds `rtol`; it lists the tensors concerned.
    TypeError
        If an input or a parameter is not float64: differences need its digits.

    Notes
    -----
    With a random upstream gradient u and a random direction v for a tensor t::

        sum(grad_t * v)  ==  (f(t + h*v) - f(t - h*v)) / (2*h),   f = sum(u * output)

    Two forward passes per tensor, whatever its size. The upstream gradient is
    random because some wrong backward passes agree on a constant one. Where the
    step crosses the kink of a ReLU, or changes the winner of a maximum, the two
    sides differ by right: a tensor that disagrees is tried again, up to twice, in
    another direction with an eighth of the step. A wrong gradient is wrong in all.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 5, 5))
    >>> block = nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)
    >>> len(nr.testing.check_gradients(block, x))
    7
    """
    for i, value in enumerate(inputs):
        _check_float64(f"input {i}", value)
    rng = np.random.default_rng(seed)
    if isinstance(target, Module):
        checks = list(_module_checks(target, inputs, step, rtol, rng))
    else:
        checks = list(_pair_checks(target, inputs, step, rtol, rng))
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
    return checks


def _check_float64(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.float64:
        kind = getattr(value, "dtype", type(value).__name__)
        raise TypeError(f"{name} must be a float64 array, got {kind}")


def _pair_checks(
    pair: Pair,
    inputs: tuple[Array, ...],
    step: float,
    rtol: float,
    rng: np.random.Generator,
) -> Iterator[GradientCheck]:
    forward, backward = pair
    output, cache = forward(*inputs)[:2]
    upstream = rng.standard_normal(np.shape(output))
    rounding = _rounding(upstream, output)
    gradients = backward(upstream, cache)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    for i, (value, gradient) in enumerate(zip(inputs, gradients, strict=False)):

        def objective(moved: Array, i: int = i) -> float:
            arguments = (*inputs[:i], moved, *inputs[i + 1 :])
            return float((upstream * forward(*arguments)[0]).sum())

        yield _check(
            f"input {i}", value, gradient, objective, step, rtol, rounding, rng
        )


def _module_checks(
    module: Module,
    inputs: tuple[Array, ...],
    step: float,
    rtol: float,
    rng: np.random.Generator,
) -> Iterator[GradientCheck]:
    (x,) = inputs
    parameters = list(module.named_parameters())
    for name, parameter in parameters:
        _check_float64(name, parameter.data)
    buffers = module.state_dict()
    gradients = [parameter.grad for _, parameter in parameters]
    try:
        module.zero_grad()
        output = module(x)
        upstream = rng.standard_normal(output.shape)
        rounding = _rounding(upstream, output)
        grad_input = module.backward(upstream)

        def objective(moved: Array) -> float:
            return float((upstream * module(moved)).sum())

        yield _check("x", x, grad_input, objective, step, rtol, rounding, rng)
        for name, parameter in parameters:

            def moved_objective(moved: Array, parameter: Any = parameter) -> float:
                before, parameter.data = parameter.data, moved
                try:
                    return objective(x)
                finally:
                    parameter.data = before

            gradient = parameter.grad
            yield _check(
                name,
                parameter.data,
                gradient,
                moved_objective,
                step,
                rtol,
                rounding,
                rng,
            )
    finally:
        module.discard_caches()
        module.load_state_dict(buffers)
        for (_, parameter), gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


def _rounding(upstream: Array, output: Array) -> float:
    """Bound how far rounding may move the sum of their product."""
    return float(4 * np.finfo(np.float64).eps * np.abs(upstream * output).sum())


def _check(
    name: str,
    value: Array,
    gradient: Array | None,
    objective: Callable[[Array], float],
    step: float,
    rtol: float,
    rounding: float,
    rng: np.random.Generator,
) -> GradientCheck:
    if gradient is None or gradient.shape != value.shape:
        got = "none" if gradient is None else f"one of shape {gradient.shape}"
        raise GradientError(
            f"{name} of shape {value.shape} needs a gradient, got {got}"
        )
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
        error = max(abs(analytic - numeric) - rounding / h, 0.0) / scale
        if best is None or error < best.error:
            best = GradientCheck(name, analytic, numeric, error)
        if error <= rtol:
            break
    assert best is not None
    return best
