"""The ReLU layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import relu_backward, relu_forward
from npresnet.nn.module import Gradient, Module

Array = NDArray[np.floating[Any]]


class ReLU(Module):
    """max(x, 0); see `npresnet.functional.relu_forward`. May be called repeatedly."""

    def forward(self, x: Array) -> Array:
        """Cut x, of any shape, off at zero."""
        out, cache = relu_forward(x)
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Let the gradient of the latest call through where it was positive."""
        cache = self.pop_cache()
        return relu_backward(grad_output, cache) if input_grad else None
