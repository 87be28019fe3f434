"""How long a user waits for the first result: import, first training step."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

from benchmarks.asking import ROOT
from benchmarks.measurement import Effort, Measurement, Tell, plain
from benchmarks.worker import working
from benchmarks.works import OURS, Work

_IMPORT = """
import time
start = time.perf_counter()
import npresnet
print(time.perf_counter() - start)
"""


def import_time(effort: Effort, tell: Tell) -> Measurement:
    """Time ``import npresnet`` in new processes, but for one that reads the files."""
    command = [sys.executable, "-c", _IMPORT]
    seconds = []
    for _ in range(effort.rounds + 1):
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=ROOT
        )
        seconds.append(float(done.stdout))
    tell(f"{effort.rounds}")
    return plain(seconds[1:])


def first_step_cold(work: Work, effort: Effort, tell: Tell) -> Measurement:
    """Time a process that finds no compiled kernels, until its first step is done."""
    seconds = []
    for run in range(effort.few):
        with tempfile.TemporaryDirectory() as cache:
            seconds.append(_first_step(work, effort.threads, cache))
        tell(f"{run + 1}")
    return plain(seconds)


def first_step_warm(work: Work, effort: Effort, tell: Tell) -> Measurement:
    """Time processes that find the kernels of an earlier one."""
    with tempfile.TemporaryDirectory() as cache:
        _first_step(work, effort.threads, cache)
        seconds = []
        for run in range(effort.rounds):
            seconds.append(_first_step(work, effort.threads, cache))
            tell(f"{run + 1}")
    return plain(seconds)


def _first_step(work: Work, threads: int, cache: str) -> float:
    start = time.perf_counter()
    environment = {"NPRESNET_CACHE_DIR": cache}
    with working(OURS, work, threads, environment) as ask:
        ask("time 0")
        return time.perf_counter() - start
