"""Record a backward pass as a sequence of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import check_batch, describe
from npresnet.lens.steps.recording import Recorder
from npresnet.lens.steps.result import Steps
from npresnet.lens.steps.step import Step
from npresnet.nn import Module

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]
Arrays = tuple[Array, ...]


def steps(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    within: str | None = None,
) -> Steps:
    """Record a backward pass, one operation at a time.

    Parameters
    ----------
    model : Module
        In the mode it is to be looked at in. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    y : ndarray of int of shape (N,)
        Labels.
    within : str, optional
        Path of a module, such as ``layer2.0``: only the steps inside it are recorded.

    Returns
    -------
    Steps
        A sequence of `Step`, from the loss to the images.

    Raises
    ------
    TypeError, ValueError
        If the batch does not suit the model, there is no module of that name, or
        something in the model is no operation that could be told apart.

    Notes
    -----
    Every layer is an operation. So are the addition that ends a residual block's two
    ways, the fork at which they begin, and the change of shape before the classifier.
    A module of your own is one operation, whatever is inside it.

    Kept are every operation's input and output, the gradients between operations, and
    those of the parameters; and a copy of the parameters, to check with. That is three
    to four times what the forward pass keeps, and twice the parameters; `Steps.nbytes`
    tells. `within` spares what lies outside.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((2, 3, 8, 8))
    >>> model = nr.models.resnet8(dtype=np.float64)
    >>> walk = steps(model, x, np.array([3, 5]))
    >>> [step.operation for step in walk["layer3.0"]][:4]
    ['relu', 'addition', 'batch_norm', 'conv2d']
    >>> walk.find("layer3.0.conv1").check().passed
    True
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")
    x, y = check_batch(model, x, y)
    recorder = Recorder(model, within)
    recorder.run(x, y)
    found = recorder.operations
    if not found:
        raise ValueError(f"within: the model has no operation inside {within!r}")
    taken = tuple(
        Step(
            number + 1,
            one.path,
            one.name,
            one.way,
            one.block,
            one.inputs,
            one.outputs,
            # None is left of none of them: the recorder has seen to it.
            cast(Arrays, tuple(one.received)),
            cast(Arrays, tuple(one.handed)),
            cast(
                Arrays,
                tuple(
                    given if handed is None else handed
                    for given, handed in zip(one.received, one.expected, strict=False)
                ),
            ),
            one.parameter_grads,
            one.seconds,
            one.cache_bytes,
            one.module,
        )
        for number, one in found
    )
    return Steps(
        taken,
        describe(model),
        len(x),
        model.training,
        recorder.loss,
        recorder.cache_bytes,
    )
