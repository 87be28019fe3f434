"""Layer responses: how strongly each 3x3 layer answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.responses.result import ResponseRow, Responses
from npresnet.lens.shared.passes import (
    Progress,
    at_least,
    block_names,
    check_images,
    describe,
)
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import BatchNorm2d, Conv2d, Module, no_grad, watching

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def responses(
    model: Module,
    x: Array,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Responses:
    """Measure the standard deviation of each 3x3 layer's response.

    A layer's response is the output of the batch norm behind its convolution: before
    the ReLU, and, at the end of a branch, before the addition. In a residual network
    it says how much a layer changes what comes.

    Parameters
    ----------
    model : Module
        A network with residual or plain blocks, in the mode it is to be looked at
        in. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype; as many as you like.
    batch_size : int
        Images at a time.
    progress : callable, optional
        Called with the batches that are done and that there are.

    Returns
    -------
    Responses
        With ``.rows``, ``.deviations`` and ``.plot()``.

    Raises
    ------
    TypeError, ValueError
        If the model has no residual blocks or no 3x3 convolution with batch norm
        behind it, or the images do not suit it.

    Notes
    -----
    In training mode batch norm gives every channel the deviation that its weight
    says, whatever comes: the deviation of the whole then says what the weights and
    biases of batch norm are. In evaluation mode, on images like those it was trained
    on, that is nearly so.

    References
    ----------
    He et al., arXiv 1512.03385, section 4.2 ("Analysis of Layer Responses") and
    Fig. 7.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((4, 3, 8, 8), dtype=np.float32)
    >>> result = responses(nr.models.resnet8(), x)
    >>> [row.name for row in result.rows][:3]
    ['conv1', 'layer1.0.conv1', 'layer1.0.conv2']
    >>> float(result.deviations[0].round(3))  # fresh batch norm: its weights are 1
    1.0
    """
    block_names(model)
    x = check_images(model, x)
    batch_size = at_least("batch_size", batch_size, 1)
    names = {module: name for name, module in model.named_modules()}
    spreads: dict[Module, _Spread] = {}  # by convolution
    behind: list[tuple[Module, Array]] = []  # the 3x3 convolution just computed

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, Conv2d):
            wanted = tuple(module.kernel_size) == (3, 3) and module in names
            behind[:] = [(module, output)] if wanted else []
        elif isinstance(module, BatchNorm2d) and behind and inputs[0] is behind[0][1]:
            spreads.setdefault(behind[0][0], _Spread()).add(output)

    starts = range(0, len(x), batch_size)
    with preserve_state(model), no_grad(), watching(note):
        for done, first in enumerate(starts, 1):
            model(x[first : first + batch_size])
            if progress is not None:
                progress(done, len(starts))
    if not spreads:
        raise ValueError(
            "model: expected 3x3 convolutions with batch norm behind them, found none"
        )
    by_size = sorted(spreads, key=lambda conv: -spreads[conv].deviation)
    rank = {conv: place for place, conv in enumerate(by_size, 1)}
    return Responses(
        tuple(
            ResponseRow(names[conv], spread.deviation, spread.mean, rank[conv])
            for conv, spread in spreads.items()
        ),
        describe(model),
        len(x),
        model.training,
    )


class _Spread:
    """Mean and deviation of numbers that come in parts, in float64.

    Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance",
    equation 2.1: no difference of large sums of squares is taken.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, part: Array) -> None:
        """Take more numbers in."""
        size = part.size
        mean = float(part.mean(dtype=np.float64))
        squares = float(np.square(part - mean, dtype=np.float64).sum())
        count = self.count + size
        off = mean - self.mean
        self.squares += squares + off**2 * self.count * size / count
        self.mean += off * size / count
        self.count = count

    @property
    def deviation(self) -> float:
        """Root of the mean square distance from the mean."""
        return math.sqrt(self.squares / self.count)
