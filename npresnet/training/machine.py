"""What a run was computed with: processor, threads, versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_CPU_INFO = Path("/proc/cpuinfo")
# What the environment may say of the code that is compiled, or chosen, and thereby of
# the last bits.
_SETTINGS = (
    "NUMBA_BOUNDSCHECK",
    "NUMBA_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_DISABLE_JIT",
    "NUMBA_ENABLE_AVX",
    "NUMBA_LOOP_VECTORIZE",
    "NUMBA_OPT",
    "NUMBA_SLP_VECTORIZE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)


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


def compiled_for() -> tuple[str, list[str]]:
    """Return the processor, and its features, that kernels are compiled for.

    They are those of this machine, unless ``NUMBA_CPU_NAME`` or ``NUMBA_CPU_FEATURES``
    says otherwise.
    """
    from llvmlite import binding

    named = os.environ.get("NUMBA_CPU_NAME", "").strip()
    if "NUMBA_CPU_FEATURES" in os.environ:
        words = os.environ["NUMBA_CPU_FEATURES"].replace(",", " ").split()
        features = {word[1:] for word in words if word.startswith("+")}
    elif named.lower() == "generic":
        features = set()
    else:
        host = binding.get_host_cpu_features()
        features = {name for name, there in host.items() if there}
    return named or binding.get_host_cpu_name(), sorted(features)


def describe() -> dict[str, Any]:
    """Collect what ``config.json`` says of the machine and of this process."""
    import npresnet

    name, features = compiled_for()
    return {
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
        "platform": platform.platform(),
        "llvmlite": metadata.version("llvmlite"),
        # As the compiler names it: that decides the instructions.
        "processor": name,
        "features": " ".join(features),
        "settings": {
            setting: os.environ[setting]
            for setting in _SETTINGS
            if os.environ.get(setting)
        },
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "threads": npresnet.get_threads(),
        "command": sys.argv,
    }
