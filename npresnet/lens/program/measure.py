"""A training step as one program, laid out and not run."""

from __future__ import annotations

from npresnet import _arguments
from npresnet.backend import using_backend
from npresnet.compiler import CompiledStep
from npresnet.compiler.account import account
from npresnet.lens.program.result import Program
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import CrossEntropyLoss, Module
from npresnet.optim import SGD


def program(
    model: Module, input_shape: tuple[int, int, int], *, batch: int = 128
) -> Program:
    """Lay out a training step of a model as `npresnet.compile` does; run nothing.

    Parameters
    ----------
    model : Module
        Looked at in training mode, and left as it was. Steps are of `SGD`, along the
        gradient of `CrossEntropyLoss`.
    input_shape : tuple of int
        ``(C, H, W)``.
    batch : int
        Images in a step.

    Returns
    -------
    Program
        With ``.rows``, one for each line, ``.areas`` of the arena, and totals.

    Raises
    ------
    TypeError
        If an argument is of another kind, or the model cannot be compiled.
    ValueError
        If an argument is out of range, or the model does not take such images.

    Examples
    --------
    >>> import npresnet as nr
    >>> found = nr.lens.program(nr.models.resnet8(), (3, 32, 32), batch=8)
    >>> found.rows[0].operation, found.rows[0].written
    ('conv2d', (8, 16, 32, 32))
    >>> found.most_at_once <= found.arena < found.separate
    True
    """
    _arguments.instance("model", model, Module, "a Module")
    shape = _arguments.wholes("input_shape", input_shape, 3)
    batch = _arguments.whole("batch", batch, 1)
    # What is recorded are launches of kernels: of that backend, whichever is set.
    with preserve_state(model), using_backend("numba"):
        model.train()
        step = CompiledStep(model, CrossEntropyLoss(), SGD(model.parameters()))
        plan = step.lay_out((batch, *shape))
        return Program(account(plan), type(step.optimizer).__name__)
