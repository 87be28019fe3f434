"""What the machine can do at best, to hold layers against: a product of matrices."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import DTypeLike

from npresnet.backend import get_threads

_SIDE = 1024  # 2.1 G operations: long enough to occupy all threads
_SECONDS = 0.3  # other programs may slow some of the products down


def measured_peak(dtype: DTypeLike) -> float:
    """Time NumPy's product of two square matrices of 1024 rows.

    NumPy leaves it to its BLAS, which gets as many threads as the layers have. Of the
    products of 0.3 s the fastest counts, after one that warms up.

    Parameters
    ----------
    dtype : dtype
        float32 or float64.

    Returns
    -------
    float
        Operations per second; a multiply-add is two.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((_SIDE, _SIDE)).astype(dtype) for _ in range(2))
    out = np.empty_like(left)
    best = float("inf")
    with threadpool_limits(limits=get_threads(), user_api="blas"):
        np.matmul(left, right, out=out)
        end = time.perf_counter() + _SECONDS
        while best == float("inf") or time.perf_counter() < end:
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            best = min(best, time.perf_counter() - began)
    return 2 * _SIDE**3 / best
