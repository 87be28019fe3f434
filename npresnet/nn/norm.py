"""The batch norm layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet import _arguments
from npresnet.functional import batch_norm_backward, batch_norm_forward
from npresnet.functional.norm import Statistics
from npresnet.nn.module import Gradient, Module
from npresnet.nn.parameter import Parameter

Array = NDArray[np.floating[Any]]


class BatchNorm2d(Module):
    """Batch norm over (N, H, W); see `npresnet.functional.batch_norm_forward`.

    In training mode it normalises with the batch's statistics and moves the running
    ones on; in evaluation mode it is frozen and uses the running ones, if it has any.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the new value in the running statistics; None: of each batch the
        same, so that they are the plain average of all batches.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running statistics. Without them, evaluation mode uses the
        batch's own, too.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter of shape (num_features,) or None
        Scale (first 1) and shift (first 0).
    running_mean, running_var : ndarray of shape (num_features,) or None
        Running statistics, first 0 and 1.
    num_batches_tracked : ndarray of int64 of shape () or None
        Training batches seen.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Statistics
    running_var: Statistics
    num_batches_tracked: NDArray[np.int64] | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        C = self.num_features = _arguments.whole("num_features", num_features, 1)
        self.eps = _arguments.positive("eps", eps)
        self.momentum = momentum
        if momentum is not None:
            self.momentum = _arguments.share("momentum", momentum)
        self.affine = _arguments.truth("affine", affine)
        tracks = _arguments.truth("track_running_stats", track_running_stats)
        self.track_running_stats = tracks
        dtype = _arguments.floating("dtype", dtype)
        self.weight = Parameter(np.ones(C, dtype)) if affine else None
        self.bias = Parameter(np.zeros(C, dtype)) if affine else None
        count = np.array(0, np.int64)
        self.register_buffer("running_mean", np.zeros(C, dtype) if tracks else None)
        self.register_buffer("running_var", np.ones(C, dtype) if tracks else None)
        self.register_buffer("num_batches_tracked", count if tracks else None)

    def forward(self, x: Array) -> Array:
        """Normalise x (N, C, H, W)."""
        tracks = self.track_running_stats or not self.training
        out, cache, running_mean, running_var = batch_norm_forward(
            x,
            None if self.weight is None else self.weight.data,
            None if self.bias is None else self.bias.data,
            self.running_mean if tracks else None,
            self.running_var if tracks else None,
            training=self.training or self.running_mean is None,
            momentum=self.new_share(),
            eps=self.eps,
        )
        self.track(running_mean, running_var)
        self.push_cache(cache)
        return out

    def new_share(self) -> float:
        """Return how much of the next batch's statistics goes into the running ones."""
        if self.momentum is not None:
            return self.momentum
        seen = self.num_batches_tracked
        return 0.0 if seen is None else 1 / (int(seen) + 1)

    def track(self, running_mean: Statistics, running_var: Statistics) -> None:
        """Take the running statistics over that a forward pass has returned.

        In evaluation mode they are what they were: then nothing is written, which
        would undo what another thread has loaded meanwhile.
        """
        if not (self.training and self.track_running_stats):
            return
        self.running_mean, self.running_var = running_mean, running_var
        if self.num_batches_tracked is not None:
            self.num_batches_tracked = np.array(self.num_batches_tracked + 1)

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go backward from (N, C, H, W) to (N, C, H, W)."""
        grad_x, grad_weight, grad_bias = batch_norm_backward(
            grad_output, self.pop_cache()
        )
        if self.weight is not None:
            self.weight.accumulate(grad_weight)
        if self.bias is not None:
            self.bias.accumulate(grad_bias)
        return grad_x if input_grad else None

    def extra_repr(self) -> str:
        """Say what PyTorch says."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )
