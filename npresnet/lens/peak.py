"""What the machine can do at best, to hold layers against: a product of matrices."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import DTypeLike

from npresnet.backend.threads import get_threads

_SIDE = 1024  # 2.1 G operations: long enough to occupy all threads
_PRODUCTS = 9


def measured_peak(dtype: DTypeLike) -> float:
    """Time NumPy's product of two square matrices of 1024 rows.

    NumPy leaves it to its BLAS, which gets as many threads as the layers have. The
    fastest of nine products counts, after one that warms up.

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
    seconds = []
    with threadpool_limits(limits=get_threads(), user_api="blas"):
        for _ in range(1 + _PRODUCTS):
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            seconds.append(time.perf_counter() - began)
    return 2 * _SIDE**3 / min(seconds[1:])
