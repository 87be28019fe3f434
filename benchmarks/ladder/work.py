"""The convolution of the ladder, and how a way to compute it is checked and timed."""

from __future__ import annotations

import math

import numpy as np

from npresnet.backend import reference
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels.channels_last import empty_images

Array = np.ndarray
Shape = tuple[int, int, int, int, int]  # N, C, K, H, W

SHAPES: dict[str, Shape] = {
    "64x56x56": (2, 64, 64, 56, 56),
    "16x32x32": (32, 16, 16, 32, 32),
}


class Work:
    """A convolution, its arguments, and what should come out."""

    def __init__(self, shape: Shape) -> None:
        N, C, K, H, W = shape
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((N, C, H, W), dtype=np.float32)
        self.x_channels_last = empty_images((N, C, H, W), np.float32)
        self.x_channels_last[:] = self.x
        self.weight = rng.standard_normal((K, C, 3, 3), dtype=np.float32)
        self.geometry = Geometry.of((H, W), 3, stride=1, padding=1)
        double = self.x.astype(np.float64), self.weight.astype(np.float64)
        self.truth = reference.conv2d(*double, self.geometry)

    def arguments(self, channels_last: bool) -> tuple[Array, Array, Geometry]:
        """Return what a rung takes; in a network, images come as they have to lie."""
        x = self.x_channels_last if channels_last else self.x
        return x, self.weight, self.geometry

    def operations(self, out: Array) -> int:
        """Count the operations of direct convolution that `out` stands for.

        Two (one multiplication, one addition) for each of N*K*OH*OW*C*KH*KW products.
        """
        return 2 * out.size * math.prod(self.weight.shape[1:])

    def error(self, out: Array) -> float:
        """Return the largest error over the largest output; `out` may be a corner."""
        truth = self.truth[tuple(map(slice, out.shape))]
        return float(np.abs(out - truth).max() / np.abs(truth).max())
