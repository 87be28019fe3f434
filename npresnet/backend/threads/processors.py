"""How many processors this process may use, and what says so.

A container often sees all processors of its machine and may use two of them: the system
stops its threads for the rest of every tenth of a second once their time is used up.
Threads that wait by looking again and again then use up the time of those that work.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Limit(NamedTuple):
    """A number of processors, and what it comes from."""

    processors: int
    source: str


def limit(root: str | os.PathLike[str] = "/") -> Limit:
    """Return the smallest of all limits that are known.

    Parameters
    ----------
    root : path, default "/"
        Below it lie the system's files, ``proc/self/cgroup`` and those that it leads
        to.
    """
    return min(_limits(Path(root)), key=lambda one: one.processors)


def _limits(root: Path) -> Iterator[Limit]:
    yield Limit(os.cpu_count() or 1, "the processors of this machine")
    if hasattr(os, "sched_getaffinity"):
        yield Limit(
            len(os.sched_getaffinity(0)),
            "the affinity of this process (taskset, cpuset)",
        )
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        yield Limit(os.process_cpu_count() or 1, "PYTHON_CPU_COUNT or -X cpu_count")
    for share, file in _quotas(root):
        # Half a processor more is worth a thread; half a one less is not.
        count = max(1, math.floor(share + 0.5))
        yield Limit(count, f"a quota of {share:g} processors ({file})")


def _quotas(root: Path) -> Iterator[tuple[float, str]]:
    """List the quotas of this process's control groups, and of those around them.

    References
    ----------
    Linux, Documentation/admin-guide/cgroup-v2.rst ("cpu.max") and
    Documentation/scheduler/sched-bwc.rst ("cpu.cfs_quota_us"); proc(5), cgroups(7).
    """
    groups = dict(_groups(root))
    for version, inside, mounted in _mounts(root):
        if version not in groups:
            continue
        top = Path(root, *mounted.parts[1:])
        # Within a container the group may be named as the machine outside sees it.
        below = _below(groups[version], inside)
        for group in (below, *below.parents):
            folder = top / group
            if (share := _QUOTAS[version](folder)) is not None:
                yield share, f"{mounted / group / _FILES[version]}"


def _groups(root: Path) -> Iterator[tuple[int, PurePosixPath]]:
    """Name this process's group of either version, from ``/proc/self/cgroup``."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield 2, PurePosixPath(path)
        elif "cpu" in controllers.split(","):
            yield 1, PurePosixPath(path)


def _mounts(root: Path) -> Iterator[tuple[int, PurePosixPath, PurePosixPath]]:
    """List where groups are shown: version, the group that is on top, and the place."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        places, kind = before.split(" "), after.split(" ")
        if len(places) < 5 or len(kind) < 3:
            continue
        inside, mounted = (PurePosixPath(_unescaped(place)) for place in places[3:5])
        if kind[0] == "cgroup2":
            yield 2, inside, mounted
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield 1, inside, mounted


def _below(group: PurePosixPath, top: PurePosixPath) -> PurePosixPath:
    """Return where a group lies below the one on top; on top itself if not there."""
    below = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
    return PurePosixPath() if ".." in below.parts else below


def _quota_of_version_1(folder: Path) -> float | None:
    quota = _numbers(folder / "cpu.cfs_quota_us")
    period = _numbers(folder / "cpu.cfs_period_us")
    return _share([*quota[:1], *period[:1]])


def _quota_of_version_2(folder: Path) -> float | None:
    return _share(_numbers(folder / "cpu.max"))  # "max" is no number: no limit


_QUOTAS = {1: _quota_of_version_1, 2: _quota_of_version_2}
_FILES = {1: "cpu.cfs_quota_us", 2: "cpu.max"}


def _share(numbers: list[int]) -> float | None:
    if len(numbers) != 2 or min(numbers) <= 0:
        return None
    return numbers[0] / numbers[1]


def _numbers(file: Path) -> list[int]:
    words = " ".join(_lines(file)).split()
    return [int(word) for word in words if re.fullmatch(r"-?[0-9]{1,18}", word)]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    """Undo how a file of mounts writes spaces and their like: as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
