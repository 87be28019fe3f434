"""One side of a measurement, in a process of its own: it answers `compare`'s questions.

``time S`` repeats the work for S seconds, once at least, and tells every time taken.
``memory N`` does it N times, and tells the bytes held before and the most held since.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
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


def hold(
    do: Callable[[], Any], times: int, warm_up: Callable[[], Any]
) -> dict[str, int]:
    """Do it so many times, and look at the memory that is held.

    Code that is loaded or made when it is first needed is no memory of the work's: it
    is there before anything counts, on every side.
    """
    warm_up()
    gc.collect()
    before = memory.resident()
    memory.forget_peak()
    for _ in range(times):
        do()
    return {"before": before, "peak": memory.peak()}


def replying(side: str, work: Work, threads: int) -> Ask:
    """Be one side of a work, in this process: what is returned answers questions."""
    do = prepare(side, work, threads)

    def reply(text: object) -> Any:
        question, number = str(text).split()
        if question == "memory":
            small = prepare(side, replace(work, batch=2), threads)
            return hold(do, int(number), small)
        return repeat(do, float(number))

    return reply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("threads", type=int)
    parser.add_argument("work", nargs="+")
    options = parser.parse_args()
    work = Work.from_arguments(*options.work)
    answer_all(replying(options.side, work, options.threads))


if __name__ == "__main__":
    main()
