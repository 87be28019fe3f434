"""The loss, where every backward pass begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet.functional import cross_entropy_backward, cross_entropy_forward
from npresnet.functional.loss import REDUCTIONS, Loss, check_weight
from npresnet.nn.module import Module

Array = NDArray[np.floating[Any]]


class CrossEntropyLoss(Module):
    """Cross entropy; see `npresnet.functional.cross_entropy_forward`.

    Parameters
    ----------
    weight : ndarray of shape (classes,), optional
        How much each class counts, of the logits' dtype.
    ignore_index : int
        Images with this label do not count.
    reduction : {"mean", "sum", "none"}
        Whether the images' losses are averaged, added up, or left alone.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    weight: Array | None

    def __init__(
        self,
        weight: Array | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if weight is not None:
            weight = check_weight(weight)
        self.register_buffer("weight", weight)
        self.ignore_index = _arguments.whole("ignore_index", ignore_index)
        self.reduction: str = _arguments.one_of("reduction", reduction, *REDUCTIONS)
        self.label_smoothing = _arguments.share("label_smoothing", label_smoothing)

    def forward(self, logits: Array, labels: NDArray[np.integer[Any]]) -> Loss:
        """Return the loss, in nats, of logits (N, classes) and labels (N,)."""
        loss, cache = cross_entropy_forward(
            logits,
            labels,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        self.push_cache(cache)
        return loss

    def backward(self, grad_output: float | Array = 1.0) -> Array:
        """Return the gradient with respect to the logits, (N, classes).

        With reduction "none", `grad_output` has one number for each image.
        """
        return cross_entropy_backward(grad_output, self.pop_cache())
