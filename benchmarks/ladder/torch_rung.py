"""PyTorch's rungs, in a process of their own."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.asking import Ask, answer_all, answering
from benchmarks.ladder.work import Shape, Work
from benchmarks.timing import repeat


def installed() -> bool:
    """Whether there is a PyTorch to be asked."""
    return importlib.util.find_spec("torch") is not None


@contextmanager
def serving(shape: Shape, threads: int, channels_last: bool) -> Iterator[Ask]:
    """Start PyTorch: asked for ``error``, or for times during so many seconds."""
    layout = "last" if channels_last else "first"
    with answering("benchmarks.ladder.torch_rung", layout, threads, *shape) as ask:
        yield ask


def prepare(shape: Shape, threads: int, channels_last: bool) -> Ask:
    """Be PyTorch, in this process: what is returned answers those questions."""
    import torch

    torch.set_num_threads(threads)
    work = Work(shape)
    x, weight = torch.from_numpy(work.x), torch.from_numpy(work.weight)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
        weight = weight.contiguous(memory_format=torch.channels_last)

    def run() -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(x, weight, padding=1)

    def reply(question: object) -> Any:
        if question == "error":
            return work.error(run().numpy())
        return repeat(run, float(str(question)))

    return reply


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("channels", choices=("first", "last"))
    parser.add_argument("threads", type=int)
    parser.add_argument("shape", type=int, nargs=5)
    options = parser.parse_args()
    channels_last = options.channels == "last"
    answer_all(prepare(tuple(options.shape), options.threads, channels_last))


if __name__ == "__main__":
    main()
