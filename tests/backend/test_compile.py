"""Where compiled code is kept, and that two processes can write there at once."""

import itertools
import os
import subprocess
import sys

import pytest

from npresnet.backend.kernels.compile import _Files


def test_writers_at_the_same_time_never_mix_their_codes_up(tmp_path):
    """Each of two writers reads the index before the other has written to it; their
    writes then come in every order."""

    class Writer(_Files):
        def __init__(self):
            super().__init__(str(tmp_path), "kernel-1.py", "stamp")
            self.writes = []

        def _load_index(self):
            return {}

        def _save_index(self, index):
            self.writes.append(lambda: _Files._save_index(self, index))

        def _save_data(self, name, data):
            self.writes.append(lambda: _Files._save_data(self, name, data))

    keys = ("float32[:]", "host"), ("float64[:]", "host")
    codes = b"for float32", b"for float64"
    reader = _Files(str(tmp_path), "kernel-1.py", "stamp")
    found = 0
    for order in set(itertools.permutations([0, 0, 1, 1])):
        reader.flush()
        writers = Writer(), Writer()
        for writer, key, code in zip(writers, keys, codes, strict=True):
            writer.save(key, code)
        queues = [iter(writer.writes) for writer in writers]
        for number in order:
            next(queues[number])()
        for key, code in zip(keys, codes, strict=True):
            assert reader.load(key) in (code, None)
            found += reader.load(key) is not None
    assert found >= 6  # in every order, what was entered last


CONVOLVE = """
import numpy as np, npresnet as nr
x, weight = np.ones((2, 16, 9, 9), np.float32), np.ones((16, 16, 3, 3), np.float32)
out, cache = nr.functional.conv2d_forward(x, weight, padding=1)
grads = nr.functional.conv2d_backward(out, cache)
print(float(out.sum()), *(float(grad.sum()) for grad in grads[:2]))
"""


@pytest.mark.slow
def test_processes_that_compile_at_once_from_nothing_agree(tmp_path):
    environment = {**os.environ, "NPRESNET_CACHE_DIR": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONVOLVE],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    one, other = (process.communicate()[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert one == other
    # What they have kept serves a third one.
    code = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc"))
    third = subprocess.run(
        [sys.executable, "-c", CONVOLVE], env=environment, stdout=subprocess.PIPE
    )
    assert third.stdout.decode() == one
    assert len(code) > 3
    assert code == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc"))
