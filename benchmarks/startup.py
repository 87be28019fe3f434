"""How long a user waits for the first result: import, first training step."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.asking import ROOT
from benchmarks.measurement import Effort, Taken, Tell
from benchmarks.sides import OURS
from benchmarks.worker import working
from benchmarks.works import Work

_IMPORT = """
import time
start = time.perf_counter()
import npresnet
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Import:
    """``import npresnet`` in new processes."""

    label = "`import npresnet`"  # what it is, in words

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Time it; not in the first process, which reads the files."""
        command = [sys.executable, "-c", _IMPORT]
        seconds = []
        for _ in range(effort.rounds + 1):
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=ROOT
            )
            seconds.append(float(done.stdout))
        tell(f"{effort.rounds}")
        return Taken({OURS: seconds[1:]}, "s")


@dataclass(frozen=True)
class FirstStep:
    """A process of ours from its start until its first step is done."""

    work: Work
    compiled_before: bool  # whether it finds the kernels of an earlier process

    @property
    def label(self) -> str:
        """What it is, in words."""
        before = (
            "kernels compiled before" if self.compiled_before else "nothing compiled"
        )
        return f"{self.work.label}: the first of a process, {before}"

    def measure(self, sides: Sequence[str], effort: Effort, tell: Tell) -> Taken:
        """Time new processes."""
        seconds = []
        with tempfile.TemporaryDirectory() as parent:
            cache = tempfile.mkdtemp(dir=parent)
            if self.compiled_before:
                self._take(effort.threads, cache)
            for run in range(effort.rounds if self.compiled_before else effort.few):
                if not self.compiled_before:
                    cache = tempfile.mkdtemp(dir=parent)
                seconds.append(self._take(effort.threads, cache))
                tell(f"{run + 1}")
        return Taken({OURS: seconds}, "s")

    def _take(self, threads: int, cache: str) -> float:
        start = time.perf_counter()
        environment = {"NPRESNET_CACHE_DIR": cache}
        with working(OURS, self.work, threads, environment) as ask:
            ask("time 0")
            return time.perf_counter() - start
