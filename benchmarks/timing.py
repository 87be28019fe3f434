"""Timing calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def repeat(run: Callable[[], Any], seconds: float) -> list[float]:
    """Call `run` for so many seconds, once at least, and time every call.

    Without a pause: threads that have gone to sleep take longer to wake up than many a
    call takes, and no network lets them sleep.
    """
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken
