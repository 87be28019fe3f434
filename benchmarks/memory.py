"""Memory of this process: how much it holds, and the most that it has held.

Linux tells, and only Linux forgets an older peak (proc(5), ``/proc/pid/clear_refs``): a
peak that counts from the start also counts what an import took and gave back.
"""

from __future__ import annotations

import os
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measurable() -> bool:
    """Whether this system tells."""
    return _STATUS.exists() and os.access(_FORGET, os.W_OK)


def _read(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removesuffix(" kB")) * 1024
    raise KeyError(name)


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return _read("VmRSS")


def forget_peak() -> None:
    """Let `peak` count from now on."""
    _FORGET.write_text("5")


def peak() -> int:
    """Most bytes that this process has held at a time.

    ``ru_maxrss`` of getrusage(2) says the same, but for what the process that started
    this one had held by then: where that is more, it says that.
    """
    return _read("VmHWM")
