"""One operation of a backward pass, which can be printed, shown and checked."""

from __future__ import annotations

from dataclasses import dataclass

from npresnet.lens.steps.check import check
from npresnet.lens.steps.facts import StepFacts
from npresnet.lens.steps.text import describe_step
from npresnet.lens.steps.verdict import StepCheck


@dataclass(frozen=True, eq=False, repr=False)
class Step(StepFacts):
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
        Gradients with respect to the outputs, which came, and to the inputs, which
        were handed on.
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
        return check(self, seed)

    def __str__(self) -> str:
        return describe_step(self)

    def _repr_html_(self) -> str:
        """Show the step in a notebook, its formula as mathematics."""
        from npresnet.lens.steps.page import card

        return card(self)

    def __repr__(self) -> str:
        return f"<step {self.number}: {self.path}, {self.operation}, {self.way}>"
