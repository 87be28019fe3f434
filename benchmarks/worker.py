"""One side of a measurement, in a process of its own: it answers `compare`'s questions.

``time S`` repeats the work for S seconds, once at least, and tells every time taken.
``answer`` does it once, and tells what came out.
``step-memory N`` does it N times, and tells the most bytes held meanwhile, above what
the prepared process holds. ``process-memory N`` does it N times, and tells the most
bytes that the process has ever held.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import memory
from benchmarks.asking import Ask, CannotRun, answer_all, answering, say_why_not
from benchmarks.sides import SIDES, prepare
from benchmarks.timing import repeat
from benchmarks.works import Work

# Images of the batch that loads code and is not counted: with fewer, ResNet-20 goes
# without Winograd's algorithm.
_SMALL = 8


@contextmanager
def working(
    side: str, work: Work, threads: int, environment: dict[str, str] | None = None
) -> Iterator[Ask]:
    """Start one side of a work."""
    arguments = side, threads, *work.to_arguments()
    with answering("benchmarks.worker", *arguments, environment=environment) as ask:
        yield ask


def hold(do: Callable[[], Any], times: int, warm_up: Callable[[], Any]) -> int:
    """Do it so many times, and look at the memory that is held for it.

    Code that is loaded or made when it is first needed is no memory of the work's: it
    is there before anything counts, on every side. What `warm_up` holds it goes on
    holding: given back, it could be had again without being counted.
    """
    warm_up()
    gc.collect()
    before = memory.resident()
    memory.forget_peak()
    for _ in range(times):
        do()
    return memory.peak() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("threads", type=int)
    parser.add_argument("work", nargs="+")
    options = parser.parse_args()
    work = Work.from_arguments(*options.work)
    try:
        do = prepare(options.side, work, options.threads)
    except CannotRun as reason:
        say_why_not(reason)
        return

    def reply(text: str) -> Any:
        question, *numbers = text.split()
        if question == "answer":
            return np.asarray(do()).tolist()
        (number,) = numbers
        if question == "time":
            return repeat(do, float(number))
        if question == "step-memory":
            small = replace(work, batch=_SMALL)
            return hold(do, int(number), prepare(options.side, small, options.threads))
        if question == "process-memory":
            for _ in range(int(number)):
                do()
            return memory.peak()
        raise ValueError(f"no such question: {text!r}")

    answer_all(reply)


if __name__ == "__main__":
    main()
