"""How many threads are used: by kernels, and by NumPy's matrix products."""

from __future__ import annotations

import os

from npresnet._notices import notice
from npresnet.backend.threads import processors

_threads: int | None = None  # None: not decided yet


def available_threads() -> int:
    """Count the processors that this process may use."""
    return processors.limit().processors


def get_threads() -> int:
    """Return the number of threads that operations use.

    The default is every processor that the process may use, or what the environment
    variable ``NPRESNET_NUM_THREADS`` says; more than there are is cut down to them,
    with a warning.
    """
    global _threads
    if _threads is None:
        _threads = _from_environment()
    return _threads


def _from_environment() -> int:
    text = os.environ.get("NPRESNET_NUM_THREADS", "").strip()
    if text and (not text.isdecimal() or int(text) < 1):
        raise ValueError(
            f"NPRESNET_NUM_THREADS must be a whole number of at least 1, got {text!r}"
        )
    most, source = processors.limit()
    if most < (os.cpu_count() or 1):
        _hold_back_blas(most)
    wanted = int(text) if text else most
    if wanted > most:
        notice(f"NPRESNET_NUM_THREADS={text}: using {most}, the limit is {source}")
    return min(wanted, most)


def _hold_back_blas(most: int) -> None:
    """Let NumPy's matrix products use no more threads than that; it sees no quota."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    del np  # loaded, or there is nothing to be held back
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        if library.num_threads > most:
            library.set_num_threads(most)


def set_threads(count: int) -> int:
    """Choose the number of threads, for NumPy's matrix products as well.

    Parameters
    ----------
    count : int
        At least 1; more than the host offers is cut down to what it offers.

    Returns
    -------
    int
        The number that is used from now on.

    Raises
    ------
    ValueError
        If `count` is not a whole number of at least 1.

    Notes
    -----
    The number changes the speed and nothing else: results are the same to the bit.
    """
    global _threads
    if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
        raise ValueError(f"count must be a whole number of at least 1, got {count!r}")
    _threads = min(int(count), available_threads())

    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=_threads, user_api="blas")
    return _threads
