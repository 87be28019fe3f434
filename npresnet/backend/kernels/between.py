"""What stands between kernels in NumPy, compiled: for programs, which have no Python.

Each does what some lines of `npresnet.functional` or `npresnet.nn` do, in the same
order and precision, so that it leaves the same bits. Vectors are short: one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]


def inverse_std(variance: Array, eps: float) -> Array:
    """Return 1 / sqrt(variance + eps), of the variance's precision throughout."""
    out = np.empty_like(variance)
    parallel_for(_inverse_std, 1, out, dense(variance), eps)
    return out


def batch_norm_grad_factors(
    weight: Array, inverse_std: Array, total: Array, total_x_hat: Array, count: int
) -> tuple[Array, Array, Array]:
    """Return weight * inverse_std, total / count and total_x_hat / count."""
    scale, mean_grad, mean_grad_x_hat = (np.empty_like(total) for _ in range(3))
    outs = scale, mean_grad, mean_grad_x_hat
    ins = dense(weight), inverse_std, total, total_x_hat
    parallel_for(_batch_norm_grad_factors, 1, *outs, *ins, float(count))
    return outs


def move_running_statistics(
    running_mean: Array,
    running_var: Array,
    tracked: NDArray[np.int64],
    mean: Array,
    variance: Array,
    count: int,
    share: float | None,
) -> None:
    """Move running statistics on, in place, and count the batch.

    `share` is the weight of the new ones; None: as much as each batch before had.
    """
    running = dense(running_mean), dense(running_var), tracked.reshape(1)
    weight = -1.0 if share is None else float(share)
    parallel_for(_move_running_statistics, 1, *running, mean, variance, count, weight)


def add_row(x: Array, row: Array) -> None:
    """Add a vector (O,) to every row of x (N, O), in place."""
    parallel_for(_add_row, 1, dense(x), dense(row))


def sum_rows(x: Array) -> Array:
    """Add the rows of x (N, O) up, one after the other: (O,)."""
    out = np.empty(x.shape[1], x.dtype)
    parallel_for(_sum_rows, 1, out, dense(x))
    return out


@kernel
def _inverse_std(out, variance, eps, first, last):
    one = variance.dtype.type
    for c in range(len(out)):
        out[c] = one(1) / np.sqrt(variance[c] + one(eps))


@kernel
def _batch_norm_grad_factors(
    scale,
    mean_grad,
    mean_grad_x_hat,
    weight,
    inverse_std,
    total,
    total_x_hat,
    count,
    first,
    last,
):
    m = total.dtype.type(count)
    for c in range(len(total)):
        scale[c] = weight[c] * inverse_std[c]
        mean_grad[c] = total[c] / m
        mean_grad_x_hat[c] = total_x_hat[c] / m


@kernel
def _move_running_statistics(
    running_mean,
    running_var,
    tracked,
    mean,
    variance,
    count,
    share,
    first,
    last,
):
    one = mean.dtype.type
    if share < 0:
        share = 1 / (tracked[0] + 1)
    new, old = one(share), one(1 - share)
    unbiased = one(count / (count - 1))
    for c in range(len(mean)):
        running_mean[c] = old * running_mean[c] + new * mean[c]
        running_var[c] = old * running_var[c] + new * (variance[c] * unbiased)
    tracked[0] += 1


@kernel
def _add_row(x, row, first, last):
    for n in range(len(x)):
        for o in range(len(row)):
            x[n, o] += row[o]


@kernel
def _sum_rows(out, x, first, last):
    out[:] = x[0]
    for n in range(1, len(x)):
        for o in range(len(out)):
            out[o] += x[n, o]
