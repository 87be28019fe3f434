"""Our thread pool beside Numba's threading layers: ``python -m benchmarks.threads``.

The same loops, once as kernels for `parallel_for`, once as Numba's ``parallel=True``
with each of its layers that this machine has. Every figure is taken in a process of its
own, the ways in turn, several times. In microseconds or milliseconds: the smallest, and
the median.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from benchmarks.asking import ROOT
from npresnet.backend import get_threads, set_threads
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for

OURS = "parallel_for"
LAYERS = {"omp": "omppool", "workqueue": "workqueue", "tbb": "tbbpool"}
FIGURES = {
    "launch": "us, a kernel of 4096 additions, one call after the other",
    "pause": "us, the same after 200 us of other work",
    "compile": "ms, until a convolution's first result, nothing kept",
    "load": "ms, the same in the next process, which finds it kept",
}
FACTS = {
    "fork": "a forked child computes after its parent did",
    "callers": "two Python threads compute at the same time",
    "bits": "a convolution has the same bits with one thread and with all",
    "reduction": "so has a sum: of fixed blocks (ours), or as prange has it",
    "library": "libraries of OpenMP or TBB in the process",
}


# Numba's prange is an ordinary range where parallel=True is not asked for.


def add_one(out, x, first, last):
    """Add one to every number."""
    for i in numba.prange(first, last):
        out[i] = x[i] + 1


def convolve(out, padded, taps, first, last):
    """Convolve rows of pixels (N*H, W, C) with taps (KH, KW, C, K)."""
    _, OH, OW, _ = out.shape
    KH, KW, C, _ = taps.shape
    for row in numba.prange(first, last):
        n, u = row // OH, row % OH
        for v in range(OW):
            sums = out[n, u, v]
            sums[:] = 0
            for i in range(KH):
                for j in range(KW):
                    for c in range(C):
                        x = padded[n, u + i, v + j, c]
                        weights = taps[i, j, c]
                        for k in range(len(weights)):
                            sums[k] += x * weights[k]


def block_sums(out, x, first, last):
    """Sum each of some blocks; the caller adds their sums in order."""
    length = len(x) // len(out)
    for block in numba.prange(first, last):
        total = x.dtype.type(0)
        for value in x[block * length : (block + 1) * length]:
            total += value
        out[block] = total


def whole_sum(out, x, first, last):
    """Sum all, as prange has it: a sum per thread, and then their sum."""
    total = x.dtype.type(0)
    for i in numba.prange(first, last):
        total += x[i]
    out[0] = total


def runner(way: str) -> Callable[..., Callable[..., None]]:
    """Return what turns a loop into ``run(iterations, *arguments)``."""
    if way == OURS:

        def ours(function: Callable[..., None]) -> Callable[..., None]:
            compiled = kernel(function)
            return lambda n, *arguments: parallel_for(compiled, n, *arguments)

        return ours

    def numbas(function: Callable[..., None]) -> Callable[..., None]:
        options = {"parallel": True, "nogil": True, "error_model": "numpy"}
        compiled = numba.njit(cache=True, **options)(function)
        return lambda n, *arguments: compiled(*arguments, 0, n)

    return numbas


def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    padded = rng.standard_normal((4, 18, 18, 32), np.float32)
    taps = rng.standard_normal((3, 3, 32, 32), np.float32)
    return np.empty((4, 16, 16, 32), np.float32), padded, taps


# ------------------------------------------------------ within a process


def launches(make: Any, pause: float) -> list[float]:
    """Time calls of a small kernel, in microseconds."""
    run, x = make(add_one), np.zeros(4096, np.float32)
    out, times = np.empty_like(x), []
    for _ in range(3000):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass
        began = time.perf_counter()
        run(len(x), out, x)
        times.append(1e6 * (time.perf_counter() - began))
    return times[500:]


def first_result(make: Any) -> float:
    """Time a first call, the compiler and the threads being at work already."""
    x = np.zeros(8, np.float32)
    make(add_one)(8, x.copy(), x)
    run, (out, padded, taps) = make(convolve), images()
    began = time.perf_counter()
    run(4 * 16, out, padded, taps)
    return 1e3 * (time.perf_counter() - began)


def fork(make: Any) -> str:
    """Compute, fork, and compute in the child; tell how that ended."""
    run, x = make(add_one), np.zeros(4096, np.float32)
    run(len(x), np.empty_like(x), x)
    child = os.fork()
    if child == 0:
        out = np.empty_like(x)
        run(len(x), out, x)
        os._exit(0 if (out == 1).all() else 1)
    return ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def callers(make: Any) -> bool:
    """Compute in two threads at once; tell whether the results were right."""
    run, x = make(add_one), np.zeros(1 << 16, np.float32)
    right = []

    def call() -> None:
        out = np.zeros_like(x)
        for _ in range(300):
            run(len(x), out, x)
        right.append((out == 1).all())

    run(len(x), np.empty_like(x), x)
    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(right) == 2 and all(right)


def same_bits(way: str, function: Any, iterations: int, *arguments: Any) -> bool:
    """Compute with one thread and with all."""
    run, digests = runner(way)(function), set()
    everybody = get_threads()
    for count in (1, everybody):
        (set_threads if way == OURS else numba.set_num_threads)(count)
        run(iterations, *arguments)
        digests.add(hashlib.sha256(arguments[0].tobytes()).hexdigest())
    return len(digests) == 1


def reduction(way: str) -> bool:
    x = np.random.default_rng(0).standard_normal(1 << 16, np.float32)
    if way == OURS:
        return same_bits(way, block_sums, 16, np.empty(16, np.float32), x)
    return same_bits(way, whole_sum, len(x), np.empty(1, np.float32), x)


def libraries(make: Any) -> str:
    """Name what is loaded once a kernel has run on all threads."""
    x = np.zeros(4096, np.float32)
    make(add_one)(len(x), np.empty_like(x), x)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        names = {line.split("/")[-1].strip() for line in maps if "/" in line}
    kinds = "gomp", "iomp", "libomp", "tbb"
    return " ".join(sorted(n for n in names if any(k in n for k in kinds))) or "none"


def measure(way: str, what: str) -> object:
    make = runner(way)
    if what in ("launch", "pause"):
        times = launches(make, 200e-6 if what == "pause" else 0)
        return [min(times), statistics.median(times)]
    if what in ("compile", "load"):
        return [first_result(make)] * 2
    if what == "bits":
        return same_bits(way, convolve, 4 * 16, *images())
    if what == "reduction":
        return reduction(way)
    return {"fork": fork, "callers": callers, "library": libraries}[what](make)


# ------------------------------------------------------------- from above


def ways() -> list[str]:
    """List ours, and Numba's layers that can be loaded here."""
    found = [OURS]
    for layer, module in LAYERS.items():
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            continue
        found.append(layer)
    return found


def ended(code: int) -> str:
    """Say how a process ended."""
    if code == 0:
        return "yes"
    return (
        f"no: {signal.Signals(-code).name}" if code < 0 else f"no: exit status {code}"
    )


def ask(way: str, what: str, cache: str, threads: int) -> Any:
    """Measure one thing in a process of its own; return it, or how that ended."""
    environment = {
        **os.environ,
        "NPRESNET_CACHE_DIR": cache,
        "NUMBA_CACHE_DIR": f"{cache}/numba",
        "NPRESNET_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
    }
    if way != OURS:
        environment["NUMBA_THREADING_LAYER"] = way
    command = [sys.executable, "-m", "benchmarks.threads", "--measure", way, what]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no: it hangs"
    if done.returncode:
        return ended(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str] | None = None) -> None:
    """Print a table of figures and one of facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "WHAT"))
    options = parser.parse_args(argv)
    if options.measure:
        print(json.dumps(measure(*options.measure), default=bool))
        return

    figures: dict[tuple[str, str], list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for what in ("compile", "load", "launch", "pause"):
                for way in ways():
                    # Each round compiles anew; the others find what it has kept.
                    found = ask(way, what, f"{folder}/{way}{number}", options.threads)
                    figures.setdefault((what, way), []).append(found)
        print(f"{options.rounds} rounds, {options.threads} threads")
        print("| | " + " | ".join(ways()) + " |")
        print("|---|" + "---|" * len(ways()))
        for what, about in FIGURES.items():
            cells = []
            for way in ways():
                taken = figures[what, way]
                low = min(one[0] for one in taken)
                middle = statistics.median(one[1] for one in taken)
                cells.append(f"{low:.1f}, {middle:.1f}")
            print(f"| {what}: {about} | " + " | ".join(cells) + " |")
        for what, about in FACTS.items():
            told = []
            for way in ways():
                fact = ask(way, what, f"{folder}/{way}0", options.threads)
                told.append({True: "yes", False: "no"}.get(fact, str(fact)))
            print(f"| {about} | " + " | ".join(told) + " |")


if __name__ == "__main__":
    main()
