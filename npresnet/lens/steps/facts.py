"""One operation of a backward pass: all that there is to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import norm
from npresnet.lens.shared.result import column, plain
from npresnet.lens.steps.formulas import Formula, formula_of
from npresnet.lens.steps.operation import Way
from npresnet.nn import Module

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class StepRow:
    """A step in figures; every norm is Euclidean, over the whole batch.

    Attributes
    ----------
    number : int
        Counted from the loss, which is 1.
    path : str
        Of the module, or of the block that an addition or a fork belongs to.
    operation : str
        What it does, by the name it has in `npresnet.functional`.
    way : str
        ``"trunk"``, ``"branch"`` or ``"shortcut"``.
    input_shape, output_shape : tuple of int
        Of the forward pass; gradients have the same.
    grad_output_norm : float
        Of the gradient that came; at a fork, of the one from the branch.
    grad_input_norm : float
        Of the gradient that was handed on; at an addition, to the branch.
    grad_shortcut_norm : float or None
        At a fork, of the gradient that came by the shortcut; at an addition, of what
        was handed to it.
    seconds : float
        Of the backward pass, of this operation alone.
    cache_bytes : int
        Arrays that the forward pass kept for it; a neighbour may keep the same.
    """

    number: int = column("step")
    path: str = column("path")
    operation: str = column("operation")
    way: str = column("way")
    input_shape: tuple[int, ...] = column("input")
    output_shape: tuple[int, ...] = column("output")
    grad_output_norm: float = column("|incoming|", ".3e")
    grad_input_norm: float = column("|outgoing|", ".3e")
    grad_shortcut_norm: float | None = column("|shortcut|", ".3e")
    seconds: float = column("seconds", ".1e")
    cache_bytes: int = column("cache, bytes", ",d")


@dataclass(frozen=True, eq=False, repr=False)
class StepFacts:
    """What is known of one operation: a `Step`, which says what each attribute is."""

    number: int
    path: str
    operation: str
    way: Way
    block: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    grad_outputs: tuple[Array, ...]
    grad_inputs: tuple[Array, ...]
    expected: tuple[Array, ...]
    parameter_grads: dict[str, Array]
    seconds: float
    cache_bytes: int
    module: Module | None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what went in, in the forward pass."""
        shape: tuple[int, ...] = self.inputs[0].shape
        return shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what came out, in the forward pass."""
        shape: tuple[int, ...] = np.shape(self.outputs[0])
        return shape

    @property
    def grad_output(self) -> Any:
        """The gradient that came: an ndarray; at a fork the pair (branch, shortcut)."""
        return _one_or_both(self.grad_outputs)

    @property
    def grad_input(self) -> Any:
        """The gradient handed on: an ndarray; at an addition (branch, shortcut)."""
        return _one_or_both(self.grad_inputs)

    @property
    def details(self) -> Formula:
        """The operation in words, in LaTeX and in code."""
        training = self.module is None or self.module.training
        bins = self.output_shape[2:] not in ((), (1, 1))
        return formula_of(self.operation, frozen=not training, bins=bins)

    @property
    def formula(self) -> str:
        """LaTeX of the gradient that is handed on, in the letters of the notation."""
        return self.details.backward

    @property
    def formulas(self) -> dict[str, str]:
        """LaTeX of everything: the forward pass, and each argument's gradient."""
        details = self.details
        parameters = {
            name: details.parameters[name]
            for name in self.parameter_grads
            if name in details.parameters
        }
        return {"forward": details.forward, "input": details.backward, **parameters}

    def row(self) -> StepRow:
        """Return the step in figures."""
        pairs = [pair for pair in (self.grad_outputs, self.grad_inputs) if pair[1:]]
        return StepRow(
            self.number,
            self.path,
            self.operation,
            self.way,
            self.input_shape,
            self.output_shape,
            norm(self.grad_outputs[0]),
            norm(self.grad_inputs[0]),
            norm(pairs[0][1]) if pairs else None,
            self.seconds,
            self.cache_bytes,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the step without its arrays, as plain data."""
        norms = {name: norm(grad) for name, grad in self.parameter_grads.items()}
        data: dict[str, Any] = plain(self.row())
        return {
            **data,
            "block": self.block,
            "formula": self.formula,
            "parameter_grad_norms": plain(norms),
        }


def _one_or_both(arrays: tuple[Array, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays
