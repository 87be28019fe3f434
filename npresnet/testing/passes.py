"""One forward and one backward pass, looked at closely.

What a module or a pair of functions gets wrong in form (a gradient of the wrong
shape, a cache that is not kept, an input that is overwritten) is told here in
words; `npresnet.testing.gradients` then compares the numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module, Parameter, modes

Array = NDArray[np.floating[Any]]
Pair = tuple[Callable[..., Any], Callable[..., Any]]


class GradientError(AssertionError):
    """A backward pass is wrong, in form or in value."""

    __module__ = "npresnet.testing"  # the name that tracebacks show


class Variable(NamedTuple):
    """An array that the output depends on, and what backward says about it."""

    name: str
    value: Array
    gradient: Array  # of sum(upstream * output), by `value`
    objective: Callable[[Array], float]  # that sum, with `value` moved elsewhere


class Passes(NamedTuple):
    """A forward pass, the gradient that was sent back, and what arrived."""

    output: Any  # ndarray, or a number where the target is a loss
    upstream: Array  # of the output's shape
    variables: list[Variable]


@contextmanager
def passes(
    target: Module | Pair, inputs: tuple[Any, ...], rng: np.random.Generator
) -> Iterator[Passes]:
    """Go forward and backward once; put a module back as it was at the end.

    Parameters
    ----------
    target, inputs
        See `npresnet.testing.check_gradients`.
    rng : Generator
        Draws the upstream gradient.

    Raises
    ------
    GradientError
        If a pass is wrong in form.
    TypeError
        If something is not float64.
    ValueError
        If there is nothing to check.
    """
    for i, value in enumerate(inputs):
        if _is_floating(value):
            _require_float64(f"input {i}", value, "use x.astype(np.float64)")
    if isinstance(target, Module):
        with _restored(target):
            yield _module_passes(target, inputs, rng)
    else:
        yield _pair_passes(target, inputs, rng)


# ------------------------------------------------------------- a pair of functions


def _pair_passes(
    pair: Pair, inputs: tuple[Any, ...], rng: np.random.Generator
) -> Passes:
    forward, backward = pair

    def run(*arguments: Any) -> tuple[Any, Any]:
        result = forward(*arguments)
        if not isinstance(result, tuple) or len(result) < 2:
            raise GradientError(
                "forward must return a tuple, the output first and the cache second, "
                f"got {_describe(result)}"
            )
        return result[0], result[1]

    with _unchanged("forward", inputs):
        output, cache = run(*inputs)
    upstream = _upstream(output, rng)
    with _unchanged("backward", inputs, upstream):
        returned = backward(upstream, cache)
    _require_same(output, run(*inputs)[0])

    def objective(i: int) -> Callable[[Array], float]:
        return lambda moved: _total(
            upstream, run(*inputs[:i], moved, *inputs[i + 1 :])[0]
        )

    gradients = _by_input(inputs, returned, {})
    return Passes(output, upstream, _variables(inputs, gradients, objective, []))


# ------------------------------------------------------------------------ a module


def _module_passes(
    module: Module, inputs: tuple[Any, ...], rng: np.random.Generator
) -> Passes:
    parameters = list(module.named_parameters())
    hint = "build the module with dtype=np.float64"
    for name, parameter in parameters:
        _require_float64(name, parameter.data, hint)
    for name, buffer in module.named_buffers():
        if _is_floating(buffer):
            _require_float64(name, buffer, hint)
    if not modes.is_keeping():
        raise RuntimeError("gradients cannot be checked under no_grad: no caches")

    module.zero_grad()
    with _unchanged("forward", inputs):
        output = module(*inputs)
    upstream = _upstream(output, rng)
    with _unchanged("backward", inputs, upstream):
        returned = _go_backward(module, upstream)
    _require_no_caches_left(module)
    gradients = _by_input(inputs, returned, {0: "x"})

    def objective(i: int) -> Callable[[Array], float]:
        return lambda moved: _total(
            upstream, module(*inputs[:i], moved, *inputs[i + 1 :])
        )

    def objective_of(parameter: Parameter) -> Callable[[Array], float]:
        def total(moved: Array) -> float:
            before, parameter.data = parameter.data, moved
            try:
                return _total(upstream, module(*inputs))
            finally:
                parameter.data = before

        return total

    learned = [(name, p.data, p.grad, objective_of(p)) for name, p in parameters]
    variables = _variables(inputs, gradients, objective, learned)
    _go_again(module, inputs, output, upstream, parameters)
    return Passes(output, upstream, variables)


def _go_backward(module: Module, upstream: Array, **options: bool) -> Any:
    """Go backward; say which module kept no cache, where that is the trouble."""
    try:
        return module.backward(upstream, **options)
    except RuntimeError as error:
        culprit = _taker(error)
        if culprit is None:
            raise
        names = {id(part): name for name, part in module.named_modules()}
        raise GradientError(
            f"backward found no cache in {_label(names.get(id(culprit), ''), culprit)}:"
            " its forward must call self.keep(...) once for every self.take() of its "
            "backward, and must be run by calling the module, not its forward"
        ) from error


def _taker(error: BaseException) -> Module | None:
    """Return the module whose `Module.take` raised, if that is what happened."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code is not Module.take.__code__:
        return None
    taker = trace.tb_frame.f_locals["self"]
    return taker if isinstance(taker, Module) else None


def _require_no_caches_left(module: Module) -> None:
    for name, part in module.named_modules():
        if part.caches:
            raise GradientError(
                f"backward left {len(part.caches)} cache(s) in {_label(name, part)}: "
                "a module that is called goes backward once per call"
            )


def _go_again(
    module: Module,
    inputs: tuple[Any, ...],
    output: Any,
    upstream: Array,
    parameters: list[tuple[str, Parameter]],
) -> None:
    """Go through both passes again: gradients must add up, input_grad or not."""
    _require_same(output, module(*inputs))
    first = {name: np.array(parameter.grad) for name, parameter in parameters}
    accepted = inspect.signature(module.backward).parameters
    spared = {"input_grad": False} if "input_grad" in accepted else {}
    _go_backward(module, upstream, **spared)
    for name, parameter in parameters:
        twice, once = parameter.grad, first[name]
        slack = 1e-9 * float(np.abs(once[np.isfinite(once)]).max(initial=0))
        if twice is None or not np.allclose(twice, 2 * once, 1e-9, slack, True):
            how = " with input_grad=False" if spared else ""
            raise GradientError(
                f"{name}: a second backward pass{how} must add the same gradient "
                "once more to what is there; use parameter.accumulate(grad)"
            )


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


# ------------------------------------------------------------------- what both share


def _upstream(output: Any, rng: np.random.Generator) -> Array:
    kind = getattr(output, "dtype", None)
    if not isinstance(output, float) and kind != np.float64:
        raise TypeError(
            f"forward must return a float64 array, got {_describe(output)}: keep the "
            "dtype of the input (np.zeros_like(x), not np.zeros(shape, np.float32))"
        )
    return np.asarray(rng.standard_normal(np.shape(output)))


def _total(upstream: Array, output: Any) -> float:
    return float((upstream * output).sum())


def _by_input(
    inputs: tuple[Any, ...], returned: Any, names: dict[int, str]
) -> list[tuple[str, Any]]:
    """Name every input and find its gradient among what backward returned."""
    gradients = list(returned) if isinstance(returned, tuple | list) else [returned]
    while len(gradients) > len(inputs) and gradients[-1] is None:
        gradients.pop()
    if len(gradients) > len(inputs):
        raise GradientError(
            f"backward returned {len(gradients)} gradients for {len(inputs)} input(s)"
        )
    gradients += [None] * (len(inputs) - len(gradients))
    return [(names.get(i, f"input {i}"), g) for i, g in enumerate(gradients)]


def _variables(
    inputs: tuple[Any, ...],
    gradients: list[tuple[str, Any]],
    objective: Callable[[int], Callable[[Array], float]],
    learned: Sequence[tuple[str, Array, Any, Callable[[Array], float]]],
) -> list[Variable]:
    """Join values and gradients; insist that every gradient is of the right form."""
    candidates = [
        (name, value, gradient, objective(i))
        for i, (value, (name, gradient)) in enumerate(
            zip(inputs, gradients, strict=True)
        )
        if _is_floating(value)
    ]
    remedies = ["backward must return it"] * len(candidates)
    remedies += ["backward must call parameter.accumulate(grad)"] * len(learned)
    candidates += learned
    if not candidates:
        raise ValueError("nothing to check: no float64 input and no parameter")
    trouble = [
        f"{name} of shape {value.shape} needs a gradient{complaint}"
        for (name, value, gradient, _), remedy in zip(candidates, remedies, strict=True)
        if (complaint := _complaint(value, gradient, remedy))
    ]
    if trouble:
        raise GradientError("\n".join(trouble))
    return [Variable(*candidate) for candidate in candidates]


def _complaint(value: Array, gradient: Any, remedy: str) -> str:
    if gradient is None:
        return f", got none: {remedy}"
    if not isinstance(gradient, np.ndarray | np.floating):
        return f", got {_describe(gradient)}"
    if gradient.shape != value.shape:
        return f" of that shape, got one of shape {gradient.shape}"
    if gradient.dtype != value.dtype:
        return f" of its dtype {value.dtype}, got one of {gradient.dtype}"
    return ""


@contextmanager
def _unchanged(
    who: str, inputs: tuple[Any, ...], upstream: Array | None = None
) -> Iterator[None]:
    """Insist that arrays are not overwritten: others may hold them."""
    named = [(f"input {i}", value) for i, value in enumerate(inputs)]
    named += [] if upstream is None else [("grad_output", upstream)]
    kept = [(n, v, v.copy()) for n, v in named if isinstance(v, np.ndarray)]
    yield
    for name, value, before in kept:
        if not np.array_equal(value, before, equal_nan=value.dtype.kind == "f"):
            raise GradientError(f"{who} changed {name} in place: work on a new array")


def _require_same(output: Any, again: Any) -> None:
    if not np.array_equal(output, again, equal_nan=True):
        raise GradientError(
            "forward gave another output for the same input: differences need the "
            "same function each time (no new random numbers, no memory of calls)"
        )


def _is_floating(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _require_float64(name: str, value: Any, hint: str) -> None:
    if getattr(value, "dtype", None) != np.float64:
        raise TypeError(
            f"{name} must be a float64 array, got {_describe(value)}: differences "
            f"need its digits; {hint}"
        )


def _describe(value: Any) -> str:
    return str(getattr(value, "dtype", type(value).__name__))


def _label(path: str, module: Module) -> str:
    kind = type(module).__name__
    return f"{path} ({kind})" if path else kind
