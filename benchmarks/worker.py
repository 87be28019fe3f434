"""One side of one measurement, in a process of its own; prints one JSON line."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

from benchmarks.works import SIDES, WORKS, prepare


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("work", choices=sorted(WORKS))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="time to repeat")
    arguments = parser.parse_args()

    do = prepare(arguments.side, WORKS[arguments.work], arguments.threads)
    idle = peak_memory()
    start = time.perf_counter()
    do()
    first = time.perf_counter() - start
    do()  # memory pools and caches settle
    seconds: list[float] = []
    end = time.perf_counter() + arguments.seconds
    while len(seconds) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - start)
    result = {"first": first, "seconds": seconds, "memory": peak_memory() - idle}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
