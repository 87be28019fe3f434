"""Loops over neighbours in memory.

NumPy would say ``target[:] = source``. Numba takes seconds to compile that, for the
message of the error that different lengths would be.
"""

from __future__ import annotations

from npresnet.backend.kernels.compile import kernel


@kernel
def copy(target, source):
    """Copy as many elements as `target` has."""
    for i in range(len(target)):
        target[i] = source[i]


@kernel
def add_to(total, row):
    """Add a row to another one, element by element."""
    for i in range(len(total)):
        total[i] += row[i]
