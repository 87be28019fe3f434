"""What learns: an array and the gradient that has been added up for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet._plain import plain
from npresnet.nn import modes

Array = NDArray[np.floating[Any]]


class Parameter:
    """An array that an optimiser moves, with its gradient.

    Parameters
    ----------
    data : ndarray
        The values, float32 or float64.

    Raises
    ------
    TypeError
        If `data` is no ndarray of float32 or float64.

    Attributes
    ----------
    data : ndarray
        The values.
    grad : ndarray or None
        Sum of the gradients since the last `zero_grad`, of the shape and dtype of
        `data`; None where there was none.
    """

    def __init__(self, data: Array) -> None:
        self.data = plain("data", data)
        _arguments.floating("data", self.data.dtype)
        self.grad: Array | None = None

    def accumulate(self, grad: Array | None) -> None:
        """Add a gradient, except while a backward pass is only replayed."""
        if grad is None or modes.is_replaying():
            return
        # Out of place: the first array belongs to whoever computed it.
        self.grad = grad if self.grad is None else self.grad + grad

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """Number of values."""
        return self.data.size

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.dtype})"
