"""The loss, where every backward pass begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import cross_entropy_backward, cross_entropy_forward
from npresnet.nn.module import Module

Array = NDArray[np.floating[Any]]


class CrossEntropyLoss(Module):
    """Mean cross entropy; see `npresnet.functional.cross_entropy_forward`.

    Parameters
    ----------
    label_smoothing : float
        Share of the target that is spread evenly over all classes, in [0, 1].
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Array, labels: NDArray[np.integer[Any]]
    ) -> np.floating[Any]:
        """Return the mean loss, in nats, of logits (N, classes) and labels (N,)."""
        loss, cache = cross_entropy_forward(
            logits, labels, label_smoothing=self.label_smoothing
        )
        self.keep(cache)
        return loss

    def backward(self, grad_output: float = 1.0) -> Array:
        """Return the gradient by the logits: (N, classes)."""
        return cross_entropy_backward(grad_output, self.take())

    def extra_repr(self) -> str:
        """Say how it was made."""
        return f"label_smoothing={self.label_smoothing}"
