"""No kernel reads or writes beside its arrays.

What lies there is mostly another array, so that a step too far does no harm, until
one day there is nothing. Here there never is anything. See `guarded`.
"""

import faulthandler
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from npresnet.backend import kernels, using_algorithm
from npresnet.backend.kernels import memory, vectors
from tests.backend.families import FAMILIES, arguments
from tests.backend.guarded import guarded, guarded_empty
from tests.functional import test_conv
from tests.oracle.compare import normal

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="asks Linux for the guard pages"
)
# The last block of these has fewer outputs than a tile has rows, 14 or 6.
SHORT_LAST_BLOCK = (
    test_conv.Case((1, 1024, 14, 14), (16, 1024, 1, 1), stride=2),
    test_conv.Case((33, 300, 1, 1), (17, 300, 1, 1)),
    test_conv.Case((81, 40, 2, 2), (7, 40, 1, 1), bias=True),
    test_conv.Case((49, 16, 1, 1), (16, 16, 3, 3), padding=1),
)


def run_guarded(family, setting, at, dtype):
    """Run a family, arguments and what `memory.empty` makes beside guard pages."""
    rng = np.random.default_rng(0)
    memory.empty = lambda shape, dtype: guarded_empty(shape, dtype, at=at)
    for name in family.names:
        values = [
            guarded(value, at=at) if isinstance(value, np.ndarray) else value
            for value in arguments(name, setting, rng, normal, dtype)
        ]
        print(name, np.dtype(dtype), at, setting, flush=True)
        for algorithm in ("auto", "direct"):
            with using_algorithm(algorithm):
                getattr(kernels, name)(*values)


def run_family(family, dtype, examples):
    def run(setting):
        for at in ("begin", "end"):
            run_guarded(family, setting, at, dtype)

    hard = (*family.hard, family.large)
    for setting in (*hard, *SHORT_LAST_BLOCK) if "conv2d" in family.names else hard:
        run(setting)
    some = settings(deadline=None, derandomize=True, max_examples=examples)
    some(given(family.settings)(run))()


def main(*, all_operations, examples):
    faulthandler.enable()
    for family in FAMILIES:
        if all_operations:
            run_family(family, np.float32, examples)
            run_family(family, np.float64, examples)
        elif {"conv2d", "linear"} & set(family.names):
            run_family(family, np.float32, examples)


# Decides on the vectors' width as if the host had these features, after Numba has read
# those that it has: wider vectors are then split into narrower ones, which is slow, but
# the same elements are read and written.
AS_ANOTHER_HOST = """\
import numba
numba.njit(lambda: 0)()
numba.config.CPU_FEATURES = {features!r}
"""
PROGRAM = """\
from tests.backend import test_bounds
print(test_bounds.vectors.vector_bits())
test_bounds.main(all_operations={all_operations}, examples={examples})
"""


def assert_all_stay_inside(program, **environment):
    """Run the program; return the width of the vectors that it used."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"in {lines[-1:]}:\n{done.stderr[-4000:]}"
    assert len(lines) > 100 * 6
    return int(lines[0])


@linux
@pytest.mark.parametrize(
    "examples",
    [10, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_no_kernel_leaves_its_arrays(examples):
    program = PROGRAM.format(all_operations=True, examples=examples)
    assert assert_all_stay_inside(program) == vectors.vector_bits()


@linux
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("bits", "features"), [(512, "+avx512f"), (128, "")])
def test_no_kernel_of_another_host_does_either(bits, features):
    # What is made of tiles, whose sizes follow the host; the rest is plain loops.
    program = AS_ANOTHER_HOST.format(features=features)
    program += PROGRAM.format(all_operations=False, examples=25)
    kept = Path(os.environ["NPRESNET_CACHE_DIR"]) / f"as-if-{bits}-bits"
    used = assert_all_stay_inside(program, NPRESNET_CACHE_DIR=str(kept))
    assert used == bits


@linux
def test_a_guard_page_ends_the_process():
    program = (
        "from tests.backend.guarded import guarded_empty\n"
        "import ctypes\n"
        "array = guarded_empty((5,), 'f4', at={!r})\n"
        "ctypes.string_at(array.ctypes.data + {}, 1)\n"
    )
    for at, step, crashes in [
        ("begin", -1, True),
        ("begin", 0, False),
        ("end", 19, False),
        ("end", 20, True),
    ]:
        done = subprocess.run(
            [sys.executable, "-c", program.format(at, step)], check=False
        )
        assert (done.returncode < 0) == crashes
