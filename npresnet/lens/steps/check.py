"""Is this step right? The operation itself, repeated in float64, and differences.

A step's gradients were computed by the network, in its dtype, at some moment. Here its
operation runs again on its own input, in float64, a little to either side::

    sum(grad_t * v)  ==  sum(grad_output * (f(t + h*v) - f(t - h*v))) / (2*h)

for a tensor t (the input, a weight), where v is a single entry, a direction drawn at
random, or all entries alike. Two more things must hold: repeated, the operation gives
the output that the network had; and the gradient that came is the one that the next
operation, towards the loss, handed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import norm, relative_error
from npresnet.lens.steps.copying import frozen
from npresnet.lens.steps.facts import StepFacts
from npresnet.lens.steps.formulas import KNOWN
from npresnet.lens.steps.verdict import StepCheck, StepCheckRow
from npresnet.nn import no_grad

Array = NDArray[np.floating[Any]]
Function = Callable[[Array], tuple[Array, ...]]

# Of the largest magnitude in a gradient. float32 keeps seven digits, of which sums over
# thousands of terms and Winograd's algorithm take some; mistakes take all of them.
TOLERANCES = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-3}
_SMALL = 32  # tensors of so many entries are compared entry by entry
_ENTRIES = 8  # of larger ones
_DIRECTIONS = 3
_STEP = 1e-5  # in units of the tensor's root mean square
_ATTEMPTS = 3


class _Tensor(NamedTuple):
    """Something that the output depends on, and what the backward pass said."""

    name: str
    value: Array  # float64
    gradient: Array
    function: Function  # the outputs, with `value` moved elsewhere


class _Try(NamedTuple):
    error: float
    backward: float
    differences: float


def check(step: StepFacts, seed: int = 0) -> StepCheck:
    """Do what `Step.check` promises."""
    rng = np.random.default_rng(seed)
    # What is to be found wrong may overflow on the way; it is judged by its error.
    with np.errstate(all="ignore"):
        rows = [_compare(tensor, step, rng) for tensor in _tensors(step)]
        rows += _at_zero(step)
        rows += [_repeated(step), _arrived(step)]
    tolerance = TOLERANCES[step.grad_inputs[0].dtype]
    return StepCheck(step.number, step.path, step.operation, tuple(rows), tolerance)


# -------------------------------------------------------------- the operation again


def _run(step: StepFacts, inputs: tuple[Any, ...], module: Any) -> tuple[Array, ...]:
    """Compute the operation's outputs."""
    if step.operation == "fork":
        return inputs * len(step.outputs)
    if step.operation == "addition":
        return (inputs[0] + inputs[1],)
    if step.operation == "flatten":
        return (inputs[0].reshape(step.output_shape),)
    with no_grad():
        return (np.asarray(module(*inputs)),)


def _wide(step: StepFacts) -> tuple[tuple[Any, ...], Any]:
    """Return the inputs and the module in float64; labels stay what they are."""
    inputs = tuple(
        array.astype(np.float64) if array.dtype.kind == "f" else array
        for array in step.inputs
    )
    module = None if step.module is None else frozen(step.module, np.float64)
    return inputs, module


def _tensors(step: StepFacts) -> Iterator[_Tensor]:
    inputs, module = _wide(step)

    def with_input(i: int) -> Function:
        return lambda moved: _run(step, (*inputs[:i], moved, *inputs[i + 1 :]), module)

    def with_parameter(parameter: Any) -> Function:
        def outputs(moved: Array) -> tuple[Array, ...]:
            before, parameter.data = parameter.data, moved
            try:
                return _run(step, inputs, module)
            finally:
                parameter.data = before

        return outputs

    names = ["branch", "shortcut"] if len(step.grad_inputs) > 1 else ["input"]
    for i, (name, gradient) in enumerate(zip(names, step.grad_inputs, strict=True)):
        yield _Tensor(name, inputs[i], gradient, with_input(i))
    if module is not None:
        for name, parameter in module.named_parameters():
            gradient = step.parameter_grads.get(name, np.zeros_like(parameter.data))
            yield _Tensor(name, parameter.data, gradient, with_parameter(parameter))


def _repeated(step: StepFacts) -> StepCheckRow:
    """Compare the output that the network had with the operation's."""
    inputs, module = _wide(step)
    again = _run(step, inputs, module)
    error = max(
        _relative(float(np.abs(y - out).max()), float(np.abs(y).max()))
        if np.shape(out) == y.shape
        else math.inf
        for out, y in zip(step.outputs, again, strict=True)
    )
    return StepCheckRow("output", _entries(step.outputs), error, None, None)


def _arrived(step: StepFacts) -> StepCheckRow:
    """Compare the gradient that came with what the next operation handed on."""
    error = max(
        relative_error(given, expected) if given.shape == expected.shape else math.inf
        for given, expected in zip(step.grad_outputs, step.expected, strict=True)
    )
    return StepCheckRow("arrival", _entries(step.grad_outputs), error, None, None)


def _at_zero(step: StepFacts) -> list[StepCheckRow]:
    """Hold a ReLU to its convention: at exactly 0, its kink, it is closed."""
    if step.operation != "relu":
        return []
    zeros = step.inputs[0] == 0
    count = int(np.count_nonzero(zeros))
    if not count:
        return []
    error = float(np.abs(step.grad_inputs[0][zeros]).max())
    size = float(np.abs(step.grad_outputs[0]).max())
    compared = _entries((step.inputs[0][zeros],))
    return [StepCheckRow("at zero", compared, _relative(error, size), None, None)]


def _entries(arrays: tuple[Any, ...]) -> str:
    count = sum(np.size(array) for array in arrays)
    return f"all {count:,} entries" if count > 1 else "its one entry"


# --------------------------------------------------------------------- differences


def _compare(
    tensor: _Tensor, step: StepFacts, rng: np.random.Generator
) -> StepCheckRow:
    """Compare a tensor's gradient with differences, entry by entry and along lines."""
    size = tensor.value.size
    if tensor.gradient.shape != tensor.value.shape:
        return StepCheckRow(tensor.name, "its shape", math.inf, None, None)
    few = size <= _SMALL
    chosen = range(size) if few else rng.choice(size, _ENTRIES, replace=False)
    directions = list(_directions(tensor, step, rng))
    differ = _Differences(tensor, step.grad_outputs)
    tries = [differ.along_entry(int(i)) for i in chosen]
    tries += [differ.along(direction) for direction in directions]
    lines = f"{len(directions)} direction{'s' * (len(directions) > 1)}"
    if few:
        compared = f"all {size} entries, {lines}" if size > 1 else "its one entry"
    else:
        compared = f"{_ENTRIES} of {size:,} entries, {lines}"
    worst = max(tries, key=lambda one: math.inf if math.isnan(one.error) else one.error)
    return StepCheckRow(tensor.name, compared, *worst)


def _directions(
    tensor: _Tensor, step: StepFacts, rng: np.random.Generator
) -> Iterator[Array]:
    """Draw directions along which there is no kink.

    A ReLU's entries next to 0 stay where they are; so do those of a module of another
    kind, which may have a ReLU inside. In a window of equal pixels any one may be the
    maximum, so max pooling's input moves as a whole.
    """
    shape = tensor.value.shape
    free = np.ones(shape)
    if step.operation == "relu" or step.operation not in KNOWN:
        free = (np.abs(tensor.value) > 100 * _step_of(tensor.value)).astype(np.float64)
    yield free
    if step.operation != "max_pool2d":
        for _ in range(_DIRECTIONS):
            yield free * rng.standard_normal(shape)


def _step_of(value: Array) -> float:
    size = norm(value) / math.sqrt(value.size)
    return _STEP * (size or 1.0)


class _Differences:
    """Central differences of ``sum(grad_output * output)`` by one tensor."""

    def __init__(self, tensor: _Tensor, upstream: tuple[Array, ...]) -> None:
        self.tensor = tensor
        self.gradient = tensor.gradient.astype(np.float64)
        self.upstream = [array.astype(np.float64) for array in upstream]
        self.step = _step_of(tensor.value)
        self.here = tensor.function(tensor.value)
        self.largest = float(np.abs(self.gradient).max())
        self.norm = norm(self.gradient)
        self.enough = TOLERANCES[tensor.gradient.dtype] / 100

    def along_entry(self, i: int) -> _Try:
        """Move one entry.

        At a kink, where the slopes to either side differ, a gradient may be any number
        between the two.
        """
        index = np.unravel_index(i, self.tensor.value.shape)
        direction = np.zeros(self.tensor.value.shape)
        direction[index] = 1.0
        backward = float(self.gradient[index])
        return self._compare(direction, backward, self.largest, kinks=True)

    def along(self, direction: Array) -> _Try:
        """Move all entries at once."""
        backward = float((self.gradient * direction).sum())
        return self._compare(direction, backward, self.norm, kinks=False)

    def _compare(
        self, direction: Array, backward: float, size: float, kinks: bool
    ) -> _Try:
        best = _Try(math.inf, backward, math.nan)
        for attempt in range(_ATTEMPTS):  # a kink that a step crosses may lie outside
            h = self.step / 8**attempt
            above, below, rounding = self._slopes(direction, h)
            central = (above + below) / 2
            distance = abs(backward - central)
            # A smooth function's slopes agree to the length of the step.
            kink = abs(above - below) > 1e-3 * max(abs(above), abs(below))
            if kinks and kink and min(above, below) <= backward <= max(above, below):
                distance = 0.0
            scale = max(size, abs(central))
            error = _relative(max(distance - rounding, 0.0), scale)
            if not error >= best.error or math.isnan(error):
                best = _Try(error, backward, central)
            if error <= self.enough:
                break
        return best

    def _slopes(self, direction: Array, h: float) -> tuple[float, float, float]:
        """Return the slopes to either side, and how far rounding may move them."""
        value, function = self.tensor.value, self.tensor.function
        above, below = function(value + h * direction), function(value - h * direction)
        up = down = squares = 0.0
        for g, y, here, z in zip(self.upstream, above, self.here, below, strict=True):
            up += float((g * (y - here)).sum()) / h
            down += float((g * (here - z)).sum()) / h
            squares += float(np.square(g * here * (y != z)).sum())
        rounding = 4 * np.finfo(np.float64).eps * math.sqrt(squares) / h
        return up, down, rounding


def _relative(distance: float, size: float) -> float:
    if distance == 0:
        return 0.0
    return distance / size if size else math.inf
