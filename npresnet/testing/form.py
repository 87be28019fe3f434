"""What a forward or backward pass can get wrong in form, told in words.

A gradient of the wrong shape, a cache that is not kept, an input that is
overwritten: `npresnet.testing.gradients` asks here before it compares numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module, Parameter

Array = NDArray[np.floating[Any]]


class GradientError(AssertionError):
    """A backward pass is wrong, in form or in value."""

    # Where readers find it, and what tracebacks show.
    __module__ = "npresnet.testing.gradients"


def go_backward(module: Module, upstream: Array, **options: bool) -> Any:
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
            " its forward must call self.push_cache(...) once for every "
            "self.pop_cache() of its backward, and must be run by calling the module, "
            "not its forward"
        ) from error


def _taker(error: BaseException) -> Module | None:
    """Return the module whose `Module.pop_cache` raised, if that is what happened."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code is not Module.pop_cache.__code__:
        return None
    taker = trace.tb_frame.f_locals["self"]
    return taker if isinstance(taker, Module) else None


def require_no_caches_left(module: Module) -> None:
    """Insist that every forward pass has gone backward."""
    for name, part in module.named_modules():
        if part.caches:
            raise GradientError(
                f"backward left {len(part.caches)} cache(s) in {_label(name, part)}: "
                "a module that is called goes backward once per call"
            )


def require_same_again(
    module: Module,
    inputs: tuple[Any, ...],
    output: Any,
    upstream: Array,
    parameters: list[tuple[str, Parameter]],
) -> None:
    """Go through both passes again: gradients must add up, input_grad or not."""
    require_same_output(output, module(*inputs))
    first = {name: np.array(parameter.grad) for name, parameter in parameters}
    accepted = inspect.signature(module.backward).parameters
    spared = {"input_grad": False} if "input_grad" in accepted else {}
    go_backward(module, upstream, **spared)
    for name, parameter in parameters:
        twice, once = parameter.grad, first[name]
        slack = 1e-9 * float(np.abs(once[np.isfinite(once)]).max(initial=0))
        if twice is None or not np.allclose(twice, 2 * once, 1e-9, slack, True):
            how = " with input_grad=False" if spared else ""
            raise GradientError(
                f"{name}: a second backward pass{how} must add the same gradient "
                "once more to what is there; use parameter.accumulate(grad)"
            )


def require_gradients(
    tensors: Sequence[tuple[str, Array, Any]], remedies: Sequence[str]
) -> None:
    """Insist that every tensor has a gradient of its shape and dtype.

    Parameters
    ----------
    tensors : sequence of (str, ndarray, object)
        Name, values, and what should be the gradient.
    remedies : sequence of str
        For each, what to do where there is no gradient.
    """
    trouble = [
        f"{name} of shape {value.shape} needs a gradient{complaint}"
        for (name, value, gradient), remedy in zip(tensors, remedies, strict=True)
        if (complaint := _complaint(value, gradient, remedy))
    ]
    if trouble:
        raise GradientError("\n".join(trouble))


def _complaint(value: Array, gradient: Any, remedy: str) -> str:
    if gradient is None:
        return f", got none: {remedy}"
    if not isinstance(gradient, np.ndarray | np.floating):
        return f", got {describe(gradient)}"
    if gradient.shape != value.shape:
        return f" of that shape, got one of shape {gradient.shape}"
    if gradient.dtype != value.dtype:
        return f" of its dtype {value.dtype}, got one of {gradient.dtype}"
    return ""


@contextmanager
def unchanged(
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


def require_same_output(output: Any, again: Any) -> None:
    """Insist that the forward pass is a function of its input."""
    if not np.array_equal(output, again, equal_nan=True):
        raise GradientError(
            "forward gave another output for the same input: differences need the "
            "same function each time (no new random numbers, no memory of calls)"
        )


def is_floating(value: Any) -> bool:
    """Tell whether something is an array that can have a gradient."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def require_float64(name: str, value: Any, hint: str) -> None:
    """Insist on float64, whose digits differences need."""
    if getattr(value, "dtype", None) != np.float64:
        raise TypeError(
            f"{name} must be a float64 array, got {describe(value)}: differences "
            f"need its digits; {hint}"
        )


def describe(value: Any) -> str:
    """Name the dtype, or else the type."""
    return str(getattr(value, "dtype", type(value).__name__))


def _label(path: str, module: Module) -> str:
    kind = type(module).__name__
    return f"{path} ({kind})" if path else kind


def require_float64_output(output: Any) -> None:
    """Insist on a float64 array or number."""
    if not isinstance(output, float) and getattr(output, "dtype", None) != np.float64:
        raise TypeError(
            f"forward must return a float64 array, got {describe(output)}: keep the "
            "dtype of the input (np.zeros_like(x), not np.zeros(shape, np.float32))"
        )
