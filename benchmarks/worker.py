"""One side of a measurement, in a process of its own: it answers `compare`'s questions.

``time S`` repeats the work for S seconds, once at least, and tells every time taken.
``memory N`` does it N times, and tells the bytes held before and the most held since.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import memory
from benchmarks.asking import Ask, answer_all, answering
from benchmarks.timing import repeat
from benchmarks.works import SIDES, Work, prepare


@contextmanager
def working(
    side: str, work: Work, threads: int, environment: dict[str, str] | None = None
) -> Iterator[Ask]:
    """Start one side of a work."""
    arguments = side, threads, *work.to_arguments()
    with answering("benchmarks.worker", *arguments, environment=environment) as ask:
        yield ask


def hold(do: Callable[[], Any], times: int) -> dict[str, int]:
    """Do it so many times, and look at the memory that is held."""
    gc.collect()
    before = memory.resident()
    memory.forget_peak()
    for _ in range(times):
        do()
    return {"before": before, "peak": memory.peak()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("threads", type=int)
    parser.add_argument("work", nargs="+")
    options = parser.parse_args()
    do = prepare(options.side, Work.from_arguments(*options.work), options.threads)

    def reply(text: str) -> Any:
        question, number = text.split()
        if question == "memory":
            return hold(do, int(number))
        return repeat(do, float(number))

    answer_all(reply)


if __name__ == "__main__":
    main()
