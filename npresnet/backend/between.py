"""What stands between kernels in NumPy, for programs that leave no Python between them.

Layers do these in plain lines of `npresnet.functional`, `npresnet.nn` and
`npresnet.optim`; here they are kernels, of the same arithmetic in the same order.
"""

from __future__ import annotations

from npresnet.backend.kernels.between import (
    add_row,
    batch_norm_grad_factors,
    inverse_std,
    move_running_statistics,
    sum_rows,
)
from npresnet.backend.kernels.channels_last import empty_images, interleave
from npresnet.backend.kernels.memory import empty
from npresnet.backend.kernels.optim import sgd_update_by

__all__ = [
    "add_row",
    "batch_norm_grad_factors",
    "empty",
    "empty_images",
    "interleave",
    "inverse_std",
    "move_running_statistics",
    "sgd_update_by",
    "sum_rows",
]
