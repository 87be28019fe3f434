"""The batch norm layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.functional import batch_norm_backward, batch_norm_forward
from npresnet.nn.module import Gradient, Module
from npresnet.nn.parameter import Parameter

Array = NDArray[np.floating[Any]]


class BatchNorm2d(Module):
    """Batch norm over (N, H, W); see `npresnet.functional.batch_norm_forward`.

    In training mode it normalises with the batch's statistics and moves the running
    ones on; in evaluation mode it is frozen and uses the running ones.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the new value in the running statistics.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter of shape (num_features,)
        Scale (first 1) and shift (first 0).
    running_mean, running_var : ndarray of shape (num_features,)
        Running statistics, first 0 and 1.
    num_batches_tracked : ndarray of int64 of shape ()
        Training batches seen.
    """

    running_mean: Array
    running_var: Array
    num_batches_tracked: NDArray[np.int64]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype))
        self.bias = Parameter(np.zeros(num_features, dtype))
        self.register_buffer("running_mean", np.zeros(num_features, dtype))
        self.register_buffer("running_var", np.ones(num_features, dtype))
        self.register_buffer("num_batches_tracked", np.array(0, np.int64))

    def forward(self, x: Array) -> Array:
        """Normalise x (N, C, H, W)."""
        out, cache, running_mean, running_var = batch_norm_forward(
            x,
            self.weight.data,
            self.bias.data,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )
        self.track(running_mean, running_var)
        self.keep(cache)
        return out

    def track(self, running_mean: Array, running_var: Array) -> None:
        """Take the running statistics over that a forward pass has returned.

        In evaluation mode they are what they were: then nothing is written, which
        would undo what another thread has loaded meanwhile.
        """
        if self.training:
            self.running_mean, self.running_var = running_mean, running_var
            self.num_batches_tracked = np.array(self.num_batches_tracked + 1)

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, H, W) to (N, C, H, W)."""
        grad_x, grad_weight, grad_bias = batch_norm_backward(grad_output, self.take())
        self.weight.accumulate(grad_weight)
        self.bias.accumulate(grad_bias)
        return grad_x if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            "affine=True, track_running_stats=True"
        )
