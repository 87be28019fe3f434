"""No kernel reads or writes beside its arrays.

What lies there is mostly another array, so that a step too far does no harm, until
one day there is nothing. Here there never is anything. See `guarded`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npresnet.backend.kernels import vectors
from tests.backend.families import OPERATIONS, family_of

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="asks Linux for the guard pages"
)


class Guarded:
    """The test's side of `bounds`; a process that has died is replaced by another."""

    def __init__(self, *options, **environment):
        self.options, self.environment = options, environment
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process is not None:
            self.process.communicate(timeout=60)

    def _start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.backend.bounds", *self.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | self.environment,
        )
        self.bits = int(self.process.stdout.readline())

    def assert_stays_inside(self, name, dtype, examples):
        if self.process is None:
            self._start()
        task = {"name": name, "dtype": dtype, "examples": examples}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        calls = self.process.stdout.readline()
        if not calls:
            ended, self.process = self.process.wait(), None
            pytest.fail(f"{name} ended the process: {ended}; see what it ran last")
        assert int(calls) > 2 * examples


@pytest.fixture(scope="module")
def guarded():
    with Guarded() as process:
        yield process


@linux
@pytest.mark.parametrize(
    "examples",
    [10, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_kernel_leaves_its_arrays(name, examples, dtype, guarded):
    guarded.assert_stays_inside(name, np.dtype(dtype).name, examples)
    assert guarded.bits == vectors.vector_bits()


@linux
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("bits", "features"), [(512, "+avx512f"), (128, "")])
def test_no_kernel_of_another_host_does_either(bits, features):
    # What is made of tiles, whose sizes follow the host; the rest is plain loops.
    made_of_tiles = [*family_of("conv2d").names, *family_of("linear").names]
    kept = Path(os.environ["NPRESNET_CACHE_DIR"]) / f"as-if-{bits}-bits"
    with Guarded(features, NPRESNET_CACHE_DIR=str(kept)) as process:
        for name in made_of_tiles:
            process.assert_stays_inside(name, "float32", examples=25)
        assert process.bits == bits


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
