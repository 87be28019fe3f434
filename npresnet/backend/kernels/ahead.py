"""A second process compiles from the other end.

Numba compiles one kernel at a time in a process, so that on a machine where nothing is
compiled yet one processor works and the others look on. What is needed last is compiled
meanwhile by a process of its own; both keep what they compile in the same folder, where
each finds what the other has done.

Who records a program knows all kernels that it needs (`share`). Who goes through a
network layer by layer does not: there the second process compiles what the way back of
a training step needs (`start_if_cold`).
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from npresnet.backend.algorithm import get_algorithm, set_algorithm
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernel_cache import cache_folder, keeps_code
from npresnet.backend.recording import here
from npresnet.backend.threads import get_threads

_CODE = "import sys; sys.path[:] = {path!r}; from {module} import {work}"
_LEAST_SHARED = 8  # kernels: a process takes a second to start
Task = tuple[Any, tuple[Any, ...]]  # a kernel, and the types of its arguments


def start_if_cold() -> None:
    """Have the way back compiled, if nothing is yet, and if that can help.

    Whoever records knows better what is needed.
    """
    folder = cache_folder()
    if here.recording is None and (folder is None or not keeps_code(folder)):
        _start(f"work; work({get_algorithm()!r})")


def share(tasks: Sequence[Task]) -> None:
    """Have kernels compiled from the last to the first, if that can help."""
    if len(tasks) >= _LEAST_SHARED:
        names = [(kernel.__module__, kernel.__name__, kinds) for kernel, kinds in tasks]
        _start("compile_tasks; compile_tasks()", pickle.dumps(names[::-1]))


def _start(work: str, tasks: bytes = b"") -> None:
    """Start the second process, if it can help.

    It ends when it has done its work, or with this process.
    """
    if (
        cache_folder() is None  # nothing could be handed over
        or get_threads() == 1
        or numba.config.DISABLE_JIT
        # A program that has Python inside is no interpreter to start.
        or not Path(sys.executable or "").name.lower().startswith("python")
    ):
        return
    code = _CODE.format(path=sys.path, module=__name__, work=work)
    try:
        helper = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "NPRESNET_NUM_THREADS": str(get_threads())},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert helper.stdin is not None
        helper.stdin.write(len(tasks).to_bytes(8, "little") + tasks)
        helper.stdin.flush()
    except OSError:  # no memory for another process, or no leave to start one
        return
    # Waited for, so that it does not stay among the system's processes once it is done.
    threading.Thread(target=helper.wait, name="npresnet-ahead", daemon=True).start()
    atexit.register(_end, helper, os.getpid())


def _end(helper: subprocess.Popen[bytes], parent: int) -> None:
    if os.getpid() == parent:  # and not in a forked child of it
        helper.kill()
        helper.wait()


def _read_tasks() -> bytes:
    """Read what there is to do, and then wait for the end of the other process."""
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    tasks = sys.stdin.buffer.read(size)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    return tasks


def work(algorithm: str) -> None:
    """Compile, until done or until the process that has asked for it is gone."""
    _read_tasks()
    set_algorithm(algorithm)
    compile_way_back()


def compile_tasks() -> None:
    """Compile what the other process has named, unless it was quicker."""
    for module, name, kinds in pickle.loads(_read_tasks()):
        getattr(importlib.import_module(module), name).compile(kinds)


def _die_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when nobody is there any more to write
    os._exit(0)


def compile_way_back() -> None:
    """Run, on small arrays, what a training step does after its way forward.

    Last things first: the other process comes from the other end. What takes long comes
    before what takes little all the same, so that where the two meet, they do not both
    compile something long. Left out is what only some networks need, and what the way
    forward compiles: the gradient with respect to a convolution's input is one.
    """
    from npresnet.backend import kernels

    def images(C: int, size: int) -> NDArray[np.float32]:
        return np.zeros((16, C, size, size), np.float32)

    data, grad, velocity = np.zeros((3, 1 << 12), np.float32)
    kernels.sgd_update(data, grad, velocity, 0.1, 0.9, 1.0, 1e-4, False)

    near, wide = Geometry.of((16, 16), 3, 1, 1), Geometry.of((16, 16), 3, 2, 1)
    few, x = images(16, 16), images(64, 16)
    kernels.conv2d_grad_weight(few, few, near)
    kernels.zero_pad_shortcut_grad(images(64, 8), (16, 32, 16, 16), 16, 2)
    kernels.conv2d_grad_weight(x, x, near)
    kernels.conv2d_grad_weight(images(64, 8), x, wide)

    mean, inverse_std, weight, *mean_grads = np.zeros((5, 64), np.float32)
    statistics = mean, inverse_std
    kernels.batch_norm_grad_input(x, x, *statistics, weight, *mean_grads)
    kernels.batch_norm_grad_sums(x, x, *statistics)
    kernels.relu_grad(x, np.zeros(x.size // 8, np.uint8))
    kernels.adaptive_avg_pool2d_grad(images(64, 1), (8, 8))
