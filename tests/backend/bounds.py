"""A process that runs operations beside guard pages: a step too far is the end of it.

``python -m tests.backend.bounds [FEATURES]`` says on a first line how wide its vectors
are. Then it reads a task per line from standard input, runs that operation, and answers
with how many calls of it that were. What is run is told on standard error.
"""

import faulthandler
import functools
import json
import sys

import numba
import numpy as np
from hypothesis import given, settings

from npresnet.backend import using_algorithm
from tests.backend.families import arguments, family_of
from tests.backend.guarded import guarded, guarded_empty
from tests.functional import test_conv
from tests.oracle.compare import normal

# The last block of these has fewer outputs than a tile has rows, 14 or 6.
SHORT_LAST_BLOCK = (
    test_conv.Case((1, 1024, 14, 14), (16, 1024, 1, 1), stride=2),
    test_conv.Case((33, 300, 1, 1), (17, 300, 1, 1)),
    test_conv.Case((81, 40, 2, 2), (7, 40, 1, 1), bias=True),
    test_conv.Case((49, 16, 1, 1), (16, 16, 3, 3), padding=1),
)


def run_operation(name, dtype, examples):
    """Run an operation with awkward settings and some random ones; count the calls."""
    # Not before `main` has said what the host is to be taken for.
    from npresnet.backend import kernels
    from npresnet.backend.kernels import memory

    family = family_of(name)
    convolves = "conv2d" in family.names
    # Nothing else has a choice of algorithms.
    algorithms = ("auto", "direct") if convolves else ("auto",)
    calls = 0

    def run(setting):
        nonlocal calls
        values = arguments(name, setting, np.random.default_rng(0), normal, dtype)
        for at in ("begin", "end"):
            memory.empty = functools.partial(guarded_empty, at=at)
            beside = [
                guarded(value, at=at) if isinstance(value, np.ndarray) else value
                for value in values
            ]
            print(name, dtype, at, setting, file=sys.stderr, flush=True)
            for algorithm in algorithms:
                with using_algorithm(algorithm):
                    getattr(kernels, name)(*beside)
                calls += 1

    hard = (*family.hard, family.large, *(SHORT_LAST_BLOCK if convolves else ()))
    for setting in hard:
        run(setting)
    some = settings(deadline=None, derandomize=True, max_examples=examples)
    some(given(family.settings)(run))()
    return calls


def main(features=None):
    faulthandler.enable()
    if features is not None:
        # Decides on the vectors' width as if the host had these features, after Numba
        # has read those that it has: wider vectors are then split into narrower ones,
        # which is slow, but the same elements are read and written.
        numba.njit(lambda: 0)()
        numba.config.CPU_FEATURES = features
    from npresnet.backend.kernels import vectors

    print(vectors.vector_bits(), flush=True)
    for line in sys.stdin:
        print(run_operation(**json.loads(line)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
