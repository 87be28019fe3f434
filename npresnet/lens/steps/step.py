"""One operation of a backward pass: all that there is to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import norm
from npresnet.lens.shared.result import column, plain
from npresnet.lens.steps.formulas import Formula, formula_of
from npresnet.lens.steps.operation import Way
from npresnet.nn import Module

if TYPE_CHECKING:
    from npresnet.lens.steps.verdict import StepCheck

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
class Step:
    """One operation on the gradient's way from the loss to the images.

    All arrays are read-only.

    Attributes
    ----------
    number : int
        Counted from the loss, which is 1.
    path : str
        Of the module; of the block, for its addition and its fork; ``"loss"``, and
        ``"flatten"`` between the average and the classifier.
    operation : str
        What it does, by its name in `npresnet.functional`; a class's name, where it is
        a module of another kind.
    way : {"trunk", "branch", "shortcut"}
        Where in the network it lies. In a plain block all is trunk.
    block : str
        Path of the block around it; empty outside of blocks.
    inputs, outputs : tuple of ndarray
        What went in and came out in the forward pass. An addition has two inputs and a
        fork two outputs, the branch's first.
    grad_outputs, grad_inputs : tuple of ndarray
        Gradients by the outputs, which came, and by the inputs, which were handed on.
    expected : tuple of ndarray
        What the operations behind it, nearer to the loss, handed on: `grad_outputs`, in
        a network whose backward pass is wired as its forward pass.
    parameter_grads : dict of str to ndarray
        Of this operation alone, by the parameter's name in its module.
    seconds : float
        Of this operation in the backward pass, once everything is compiled.
    cache_bytes : int
        Arrays that the forward pass kept for it, parameters not counted. A neighbour
        may keep the same array.
    module : Module or None
        A copy, with the parameters of then; None where there is no module.
    """

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
        """LaTeX of everything: the forward pass, and the gradient by each argument."""
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

    def check(self, *, seed: int = 0) -> StepCheck:
        """Compare this very operation with central differences, in float64.

        Parameters
        ----------
        seed : int
            Of the entries and the directions that are tried.

        Returns
        -------
        StepCheck
            With ``.passed``, ``.max_error``, ``.tolerance``, and a row for the input
            and for every parameter. It counts as true if it has passed.

        Notes
        -----
        The operation runs again on its own input, in float64. Of tensors of up to 32
        entries all are compared, of larger ones 8; and the derivatives along 4
        directions in which all entries move. The output must be the network's, and the
        gradient that came must be the one that the next operation handed on.
        """
        from npresnet.lens.steps.check import check

        return check(self, seed)

    def __str__(self) -> str:
        from npresnet.lens.steps.text import describe_step

        return describe_step(self)

    def _repr_html_(self) -> str:
        """Show the step in a notebook, its formula as mathematics."""
        from npresnet.lens.steps.page import card

        return card(self)

    def __repr__(self) -> str:
        return f"<step {self.number}: {self.path}, {self.operation}, {self.way}>"


def _one_or_both(arrays: tuple[Array, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays
