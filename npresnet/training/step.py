"""One step of training: forward, loss, backward, update."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.training import not_finite

if TYPE_CHECKING:
    from npresnet.compiler import CompiledStep
    from npresnet.nn import CrossEntropyLoss, Module
    from npresnet.optim import Optimizer


def take_step(
    model: Module,
    criterion: CrossEntropyLoss,
    optimizer: Optimizer,
    x: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    compiled: CompiledStep | None = None,
) -> tuple[float, int]:
    """Learn from one batch.

    Parameters
    ----------
    model : Module
        In training mode.
    criterion : CrossEntropyLoss
        The loss.
    optimizer : Optimizer
        Of the model's parameters, with the learning rate of this step.
    x : ndarray of shape (N, C, H, W)
        Images.
    labels : int64 ndarray of shape (N,)
        Their labels.
    compiled : CompiledStep, optional
        What `npresnet.compile` has made of the first three: the same step as one
        program, with the same bits.

    Returns
    -------
    loss : float
        Mean over the batch in nats, before the update.
    correct : int
        Images whose highest logit was at the label.

    Raises
    ------
    FloatingPointError
        If a NaN or an infinity came up; it names where. Parameters, running
        statistics and the optimiser's memory are as they were before the step.
    """
    buffers = remember(model)
    if compiled is None:
        logits = model(x)  # (N, classes)
        loss = float(criterion(logits, labels))
        optimizer.zero_grad()
        if math.isfinite(loss):
            model.backward(criterion.backward(), input_grad=False)
    else:
        loss, logits = compiled.gradients(x, labels)
    if not (math.isfinite(loss) and is_healthy(model)):
        model.load_state_dict(buffers, strict=False)
        where = not_finite.find(model, criterion, x, labels)
        model.load_state_dict(buffers, strict=False)
        model.discard_caches()
        raise FloatingPointError(where)
    if compiled is None:
        optimizer.step()
    else:
        compiled.update()
    return float(loss), int((logits.argmax(axis=1) == labels).sum())


def remember(model: Module) -> dict[str, NDArray[Any]]:
    """Copy the running statistics, which a forward pass moves on."""
    return {name: buffer.copy() for name, buffer in model.named_buffers()}


def is_healthy(model: Module) -> bool:
    """Tell whether all gradients and running statistics are finite."""
    for parameter in model.parameters():
        if parameter.grad is not None and not not_finite.is_finite(parameter.grad):
            return False
    return all(
        not_finite.is_finite(buffer)
        for _, buffer in model.named_buffers()
        if buffer.dtype.kind == "f"
    )
