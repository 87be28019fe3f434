"""Work for a pool of threads, small enough to be watched."""

import time

import numpy as np

from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for
from npresnet.backend.threads.jobs import _atomic_load


@kernel
def count_up(done, first, last):
    for i in range(first, last):
        done[i] += 1


@kernel
def wait_for_each_other(begun, met, first, last):
    """Note for either of two iterations whether both are under way, waiting a while."""
    for i in range(first, last):
        begun[i] = 1
        for _ in range(1 << 24):
            if _atomic_load(begun, 0) + _atomic_load(begun, 1) == 2:
                met[i] = True
                break


def somebody_comes_to_help():
    """Tell whether two threads ever work at the same time."""
    deadline = time.monotonic() + 120  # a worker that sleeps may come too late
    while time.monotonic() < deadline:
        begun, met = np.zeros(2, np.int64), np.zeros(2, np.bool_)
        parallel_for(wait_for_each_other, 2, begun, met)
        if met.all():
            return True
    return False
