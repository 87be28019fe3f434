"""What the machine can do at best: the register tile alone.

The same numbers again and again, so few that they never leave the first-level cache, on
all threads.
"""

from __future__ import annotations

import numpy as np

from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.micro_kernels import tile_shape, wide_conv
from npresnet.backend.threads import parallel_for


class Peak:
    """The product tile on its own; `run` computes `operations` operations."""

    # Deep enough that beginning and end hardly count, and 25 kB of weights at most.
    depth, tiles = 192, 20_000

    def __init__(self) -> None:
        self.shape = tile_shape(np.dtype(np.float32))
        sums = self.shape.rows * 2 * self.shape.lanes
        self.operations = 2 * sums * self.depth * self.tiles

    def run(self) -> None:
        """Compute on all threads."""
        parallel_for(_tile_alone, self.tiles, self.depth, self.shape)


@kernel
def _tile_alone(depth, shape, first, last):
    width = 2 * shape.lanes
    numbers = np.ones(depth, np.float32)
    weights = np.ones(depth * width, np.float32)
    out = np.zeros(shape.rows * width, np.float32)
    zeros = np.zeros(width, np.float32)
    reads = np.zeros(shape.rows, np.int64)  # all places read the same numbers
    writes = np.arange(shape.rows) * width
    segments = np.zeros(1, np.int64)
    for _ in range(first, last):
        wide_conv(
            out,
            0,
            writes,
            numbers,
            0,
            reads,
            0,
            segments,
            depth,
            weights,
            0,
            zeros,
            0,
            zeros,
            False,
            np.float32(-np.inf),
        )
