"""Is a backward pass right? Finite differences know, without any framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module
from npresnet.testing.passes import GradientError, Pair, Variable, passes

Array = NDArray[np.floating[Any]]

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
    rng = np.random.default_rng(seed)
    with passes(target, inputs, rng) as (output, upstream, variables):
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


def _check(
    variable: Variable,
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
