"""What a run was computed with: processor, threads, versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """Return what the processor calls itself."""
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe() -> dict[str, Any]:
    """Collect what ``config.json`` says of the machine and of this process."""
    from llvmlite import binding

    import npresnet

    return {
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
        "platform": platform.platform(),
        # As the compiler names it: that decides the instructions.
        "processor": binding.get_host_cpu_name(),
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "threads": npresnet.get_threads(),
        "command": sys.argv,
    }
