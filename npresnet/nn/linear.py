"""The linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.functional import linear_backward, linear_forward
from npresnet.nn import init, modes
from npresnet.nn.module import Gradient, Module
from npresnet.nn.parameter import Parameter

Array = NDArray[np.floating[Any]]


class Linear(Module):
    """A linear layer; see `npresnet.functional.linear_forward`.

    Parameters
    ----------
    in_features, out_features : int
        Numbers per example, in and out.
    bias : bool
        Whether a number is added to each output.
    dtype : dtype
        float32 or float64.
    rng : Generator, int or None
        Source of the first weights, or its seed; None draws anew each time.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
        One row per output.
    bias : Parameter of shape (out_features,) or None
        The shifts.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: init.Rng = None,
    ) -> None:
        super().__init__()
        in_features = _arguments.whole("in_features", in_features, 1)
        out_features = _arguments.whole("out_features", out_features, 1)
        _arguments.truth("bias", bias)
        dtype = _arguments.floating("dtype", dtype)
        self.in_features, self.out_features = in_features, out_features
        rng = init.generator(rng)
        shape = (out_features, in_features)
        self.weight = Parameter(init.uniform_fan_in(shape, in_features, rng, dtype))
        self.bias: Parameter | None = None
        if bias:
            values = init.uniform_fan_in((out_features,), in_features, rng, dtype)
            self.bias = Parameter(values)

    def forward(self, x: Array) -> Array:
        """Map x (N, in_features) to (N, out_features)."""
        bias = None if self.bias is None else self.bias.data
        out, cache = linear_forward(x, self.weight.data, bias)
        self.push_cache(cache)
        return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, out_features) to (N, in_features), or to None."""
        grad_x, grad_weight, grad_bias = linear_backward(
            grad_output,
            self.pop_cache(),
            input_grad=input_grad,
            weight_grad=not modes.is_replaying(),
        )
        self.weight.accumulate(grad_weight)
        if self.bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
