"""Launches that have been recorded, done in order by one call of compiled code."""

from __future__ import annotations

import numpy as np

from npresnet.backend.recording import Launch
from npresnet.backend.threads.pool import job_of, run_table


class Jobs:
    """Launches, laid out in memory for compiled code to do in order.

    Parameters
    ----------
    launches : list of Launch
        As recorded. Their arrays stay where they are for as long as this lives.
    """

    def __init__(self, launches: list[Launch]) -> None:
        self._launches = launches  # keeps the arrays
        jobs = [job_of(launch.kernel, launch.arguments) for launch in launches]
        ends = np.cumsum([0, *(-(-job.size // 64) * 64 for job in jobs)])
        self._memory = np.zeros(int(ends[-1]) + 64, np.uint8)
        begin = -self._memory.ctypes.data % 64
        for job, end in zip(jobs, ends[:-1], strict=True):
            self._memory[begin + end : begin + end + job.size] = job
        self._table = np.zeros((len(jobs), 3), np.int64)
        self._table[:, 0] = self._memory.ctypes.data + begin + ends[:-1]
        self._table[:, 1] = [launch.iterations for launch in launches]

    def __len__(self) -> int:
        return len(self._launches)

    def run(self) -> None:
        """Do all of them, on as many threads as are set."""
        failed = run_table(self._table)
        if failed >= 0:
            name = self._launches[failed].kernel.__name__
            raise MemoryError(f"{name}: no memory for the work of a thread")
