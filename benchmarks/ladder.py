"""One convolution, from seven loops to the limit: ``python -m benchmarks.ladder``.

Every rung computes the same thing, is checked against the reference first, and then
timed; ``docs/ladder.md`` tells what each rung changes and why that helps. Stride,
dilation and groups are 1, so that the teaching rungs stay short.

Operations are counted as those of direct convolution, two (one multiplication, one
addition) for each of N*K*OH*OW*C*KH*KW products, for Winograd's algorithm as well,
which needs fewer. The peak is that of the register tile on data that never leaves
the first-level cache, on all threads, measured in the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import npresnet as nr
from npresnet.backend import kernels, reference
from npresnet.backend.geometry import Geometry
from npresnet.backend.kernels import winograd
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.tile import product_tile, tile_shape
from npresnet.backend.threads import share_out

Array = np.ndarray
Shape = tuple[int, int, int, int, int]  # N, C, K, H, W

SHAPES: dict[str, Shape] = {
    "64x56x56": (2, 64, 64, 56, 56),
    "16x32x32": (32, 16, 16, 32, 32),
}
# Largest error over largest output, against the reference in float64.
TOLERANCE, WINOGRAD_TOLERANCE = 1e-5, 5e-5
ROUNDS = 5  # all rungs in turn, so that a machine that slows down slows all of them
PAUSE = 0.003  # seconds before each call: programs that wait for the cores go first
BLOCK_BYTES = 384 * 1024  # columns of a block: they stay in the second-level cache
CORNER = 4, 4, 16  # channels, rows and columns of the output that plain Python computes

# ------------------------------------------------- 1 and 2: seven loops


def seven_loops(out, padded, weight, first, last):
    """Compute images first ... last-1 as the formula says."""
    _, K, OH, OW = out.shape
    _, C, KH, KW = weight.shape
    for n in range(first, last):
        for k in range(K):
            for u in range(OH):
                for v in range(OW):
                    total = out.dtype.type(0)
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                x = padded[n, c, u + i, v + j]
                                total += weight[k, c, i, j] * x
                    out[n, k, u, v] = total


compiled_seven_loops = kernel(seven_loops)


def corner_in_python(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 1: a corner of the first image, in plain Python, on one thread."""
    padded = reference.pad(x[:1], geometry.padding)
    K, OH, OW = map(min, CORNER, (len(weight), *geometry.output_size))
    out = np.empty((1, K, OH, OW), x.dtype)
    seven_loops(out, padded, weight, 0, 1)
    return out


def loops_compiled(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 2: the same seven loops, compiled; every thread takes some images."""
    out = np.empty((len(x), len(weight), *geometry.output_size), x.dtype)
    padded = reference.pad(x, geometry.padding)
    share_out(compiled_seven_loops, len(x), out, padded, weight)
    return out


# ------------------------------------------- 4: long rows that vectorise


def columns_in_numba(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 4: the whole column matrix, and a product that goes along its rows."""
    N, K = len(x), len(weight)
    OH, OW = geometry.output_size
    padded = reference.pad(x, geometry.padding)
    kernels = weight.reshape(K, -1)  # (K, R), R = C*KH*KW
    columns = np.empty((N, kernels.shape[1], OH, OW), x.dtype)
    out = np.empty((N, K, OH, OW), x.dtype)
    share_out(_image_by_image, N, out, columns, padded, kernels, geometry)
    return out


@kernel
def _image_by_image(out, columns, padded, kernels, geometry, first, last):
    for n in range(first, last):
        _fill_columns(columns[n], padded[n], 0, geometry)
        _add_rows(
            out[n].reshape(len(kernels), -1),
            kernels,
            columns[n].reshape(kernels.shape[1], -1),
        )


@kernel
def _fill_columns(columns, padded, top, geometry):
    """Lay out what each tap sees from output row `top` on: (C*KH*KW, rows, OW)."""
    KH, KW = geometry.kernel_size
    _, rows, OW = columns.shape
    for c in range(len(padded)):
        for i in range(KH):
            for j in range(KW):
                tap = columns[(c * KH + i) * KW + j]
                for u in range(rows):
                    target = tap[u]
                    source = padded[c, top + u + i, j : j + OW]
                    for v in range(OW):
                        target[v] = source[v]


@kernel
def _add_rows(out, kernels, columns):
    """Multiply kernels (K, R) with columns (R, places), row by row."""
    for k in range(len(kernels)):
        sums = out[k]
        sums[:] = 0
        for r in range(len(columns)):
            factor = kernels[k, r]
            row = columns[r]
            for p in range(len(row)):
                sums[p] += factor * row[p]


# --------------------------------------------------- 5: a block at a time


def columns_in_blocks(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 5: the columns of a few output rows at a time; at least two channels out."""
    N, K = len(x), len(weight)
    OH, OW = geometry.output_size
    padded = reference.pad(x, geometry.padding)
    R = math.prod(weight.shape[1:])
    kernels = np.zeros((K, -(-R // 4) * 4), x.dtype)  # zeros fill the last four up
    kernels[:, :R] = weight.reshape(K, R)
    band = min(OH, max(1, BLOCK_BYTES // (R * OW * x.itemsize)))
    out = np.empty((N, K, OH, OW), x.dtype)
    blocks = N * -(-OH // band)
    share_out(_block_by_block, blocks, out, padded, kernels, band, geometry)
    return out


@kernel
def _block_by_block(out, padded, kernels, band, geometry, first, last):
    _, K, OH, OW = out.shape
    bands = -(-OH // band)
    columns = np.zeros((kernels.shape[1], band, OW), out.dtype)
    for block in range(first, last):
        n, top = block // bands, block % bands * band
        rows = min(band, OH - top)
        _fill_columns(columns[:, :rows], padded[n], top, geometry)
        flat = columns.reshape(len(columns), -1)  # (R, band*OW)
        for pair in range(0, K, 2):
            k = min(pair, K - 2)  # the last pair may overlap the one before
            _add_four_rows_to_two(
                out[n, k, top : top + rows].reshape(-1),
                out[n, k + 1, top : top + rows].reshape(-1),
                kernels[k],
                kernels[k + 1],
                flat,
            )


@kernel
def _add_four_rows_to_two(sums, others, kernel, other, columns):
    """Multiply two kernels (R,) with columns (R, places), four rows per pass."""
    sums[:] = 0
    others[:] = 0
    for r in range(0, len(kernel), 4):
        f0, f1, f2, f3 = kernel[r], kernel[r + 1], kernel[r + 2], kernel[r + 3]
        g0, g1, g2, g3 = other[r], other[r + 1], other[r + 2], other[r + 3]
        row0, row1 = columns[r], columns[r + 1]
        row2, row3 = columns[r + 2], columns[r + 3]
        for p in range(len(sums)):
            x0, x1, x2, x3 = row0[p], row1[p], row2[p], row3[p]
            sums[p] += f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3
            others[p] += g0 * x0 + g1 * x1 + g2 * x2 + g3 * x3


# ----------------------------------------------- 3, 6 and 7: the package's own


def register_tile(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 6: the package's kernel for any shape."""
    with nr.using_algorithm("direct"):
        return kernels.conv2d(x, weight, geometry)


def winograd_tile(x: Array, weight: Array, geometry: Geometry) -> Array:
    """Rung 7: the package's kernel, free to choose."""
    with nr.using_algorithm("auto"):
        return kernels.conv2d(x, weight, geometry)


class Rung(NamedTuple):
    """One way to compute the convolution; PyTorch's is in another process."""

    name: str
    whose: str  # "teaching", "package" or "torch"
    run: Callable[[Array, Array, Geometry], Array] | None
    tolerance: float = TOLERANCE


RUNGS = [
    Rung("seven loops, plain Python", "teaching", corner_in_python),
    Rung("seven loops, compiled", "teaching", loops_compiled),
    Rung("im2col by slices, NumPy product", "package", reference.conv2d),
    Rung("im2col in Numba, long rows", "teaching", columns_in_numba),
    Rung("im2col one block at a time", "teaching", columns_in_blocks),
    Rung("register tile, read in place", "package", register_tile),
    Rung("Winograd", "package", winograd_tile, WINOGRAD_TOLERANCE),
    Rung("PyTorch", "torch", None),
]

# ------------------------------------------------------------- the machine


class Peak:
    """The product tile again and again, on data in the first-level cache."""

    depth, tiles = 576, 2_000  # some milliseconds

    def __init__(self) -> None:
        self.shape = tile_shape(np.dtype(np.float32))
        places = self.shape.channels * self.shape.runs * self.shape.run
        self.operations = 2 * places * self.depth * self.tiles

    def run(self) -> None:
        """Compute `operations` operations on all threads."""
        share_out(_tile_alone, self.tiles, self.depth, self.shape)


@kernel
def _tile_alone(depth, shape, first, last):
    places = shape.runs * shape.run
    out = np.zeros(shape.channels * places, np.float32)
    weight = np.ones(depth * shape.channels, np.float32)
    rows = np.ones(32 * places, np.float32)  # the same 32 rows, again and again
    runs = np.arange(shape.runs) * shape.run
    offsets = np.arange(depth) % 32 * places
    for _ in range(first, last):
        product_tile(
            out,
            0,
            places,
            shape.channels,
            runs,
            weight,
            0,
            rows,
            0,
            runs,
            offsets,
            0,
        )


# ------------------------------------------------------------- measurement


class WrongResultError(Exception):
    """A rung that does not compute the convolution is not timed."""


class Work:
    """A convolution, its arguments, and what should come out."""

    def __init__(self, shape: Shape) -> None:
        N, C, K, H, W = shape
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal((N, C, H, W), dtype=np.float32)
        self.weight = rng.standard_normal((K, C, 3, 3), dtype=np.float32)
        self.geometry = Geometry.of((H, W), 3, stride=1, padding=1)
        double = self.x.astype(np.float64), self.weight.astype(np.float64)
        self.truth = reference.conv2d(*double, self.geometry)

    def operations(self, out: Array) -> int:
        """Count the operations of direct convolution that `out` stands for."""
        return 2 * out.size * math.prod(self.weight.shape[1:])

    def error(self, out: Array) -> float:
        """Return the largest error over the largest output; `out` may be a corner."""
        truth = self.truth[tuple(map(slice, out.shape))]
        return float(np.abs(out - truth).max() / np.abs(truth).max())


def times(run: Callable[[], Any], seconds: float) -> list[float]:
    """Call `run` for so many seconds, at least once, and time every call."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while not taken or time.perf_counter() < end:
        time.sleep(PAUSE)
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def serve_torch(shape: Shape, threads: int) -> None:
    """Print PyTorch's error; then for every line of input, seconds, its times."""
    import torch

    torch.set_num_threads(threads)
    work = Work(shape)
    x, weight = torch.from_numpy(work.x), torch.from_numpy(work.weight)

    def run() -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(x, weight, padding=1)

    print(json.dumps(work.error(run().numpy())), flush=True)
    for line in sys.stdin:
        print(json.dumps(times(run, float(line))), flush=True)


@contextmanager
def torch_server(shape: Shape, threads: int) -> Iterator[Callable[[str], Any]]:
    """Start PyTorch in a process of its own; the function asks it and waits."""
    command = [sys.executable, "-m", "benchmarks.ladder", "--threads", str(threads)]
    command += ["--serve-torch", *map(str, shape)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None and server.stdout is not None

        def ask(question: str) -> Any:
            server.stdin.write(question)
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield ask
        server.stdin.close()


def why_not(rung: Rung, shape: Shape, work: Work) -> str | None:
    """Say why a rung is left out, or None."""
    N, C, K, _, _ = shape
    if rung.run is None and importlib.util.find_spec("torch") is None:
        return "not installed"
    chosen = winograd.suits(work.geometry, N, C, K, work.x.dtype)
    if rung.run is winograd_tile and not chosen:
        return "not chosen for this shape"
    return None


def climb(shape: Shape, threads: int, seconds: float) -> dict[str, Any]:
    """Check and time all rungs, in turn, and the peak among them.

    Raises
    ------
    WrongResultError
        If a rung's error is larger than its tolerance.
    """
    threads = nr.set_threads(threads)
    work, peak = Work(shape), Peak()
    arguments = work.x, work.weight, work.geometry
    rows: list[dict[str, Any]] = []
    timers: dict[int, Callable[[float], list[float]]] = {}
    with torch_server_if_installed(shape, threads) as ask:
        for number, rung in enumerate(RUNGS):
            row = {"rung": number + 1, "name": rung.name, "whose": rung.whose}
            row |= {"seconds": [], "left_out": why_not(rung, shape, work)}
            rows.append(row)
            if row["left_out"]:
                continue
            if rung.run is None:
                row["error"], row["operations"] = ask(""), work.operations(work.truth)
                timers[number] = lambda s: ask(f"{s}\n")
            else:
                out = rung.run(*arguments)  # compiles, too
                row["error"], row["operations"] = work.error(out), work.operations(out)
                run = rung.run
                timers[number] = lambda s, run=run: times(lambda: run(*arguments), s)
            if not row["error"] <= rung.tolerance:
                raise WrongResultError(
                    f"rung {number + 1}, {rung.name}: error {row['error']:.1e} of the "
                    f"largest output, allowed are {rung.tolerance:.0e}"
                )
        peak.run()
        peak_times: list[float] = []
        for _ in range(ROUNDS):
            for number, timer in timers.items():
                peak_times += times(peak.run, seconds / ROUNDS / 5)
                rows[number]["seconds"] += timer(seconds / ROUNDS)

    limit = peak.operations / min(peak_times) / 1e9
    before = None
    for row in rows:
        if row["left_out"]:
            continue
        best, median = min(row["seconds"]), statistics.median(row["seconds"])
        row["gflops"] = row["operations"] / best / 1e9
        row["median_gflops"] = row["operations"] / median / 1e9
        row["share_of_peak"] = row["gflops"] / limit
        row["speed_up"] = row["gflops"] / before if before else None
        before = row["gflops"]
    median = statistics.median(peak_times)
    return {
        "shape": dict(zip("NCKHW", shape, strict=True)),
        "threads": threads,
        "vector_bits": peak.shape.lanes * 32,
        "peak_gflops": limit,
        "median_peak_gflops": peak.operations / median / 1e9,
        "rungs": rows,
    }


@contextmanager
def torch_server_if_installed(
    shape: Shape, threads: int
) -> Iterator[Callable[[str], Any]]:
    if importlib.util.find_spec("torch") is None:
        yield lambda question: None
        return
    with torch_server(shape, threads) as ask:
        yield ask


# ------------------------------------------------------------------ output


def percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def table(result: dict[str, Any]) -> str:
    """Write the result as a Markdown table."""
    lines = [
        "| rung | | GFLOP/s, best | median | share of peak | over the rung before |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rungs"]:
        start = f"| {row['rung']} | {row['name']} |"
        if row["left_out"]:
            lines.append(f"{start} {row['left_out']} | | | |")
            continue
        up = f"{row['speed_up']:.3g} x" if row["speed_up"] else ""
        lines.append(
            f"{start} {row['gflops']:.3g} | {row['median_gflops']:.3g} "
            f"| {percent(row['share_of_peak'])} | {up} |"
        )
    best, median = result["peak_gflops"], result["median_peak_gflops"]
    lines.append(f"| | peak: the tile alone | {best:.3g} | {median:.3g} | 100 % | |")
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    from npresnet.plots.ladder import ladder

    measured = [row for row in result["rungs"] if not row["left_out"]]
    N, C, K, H, W = result["shape"].values()
    ladder(
        [(f"{row['name']}  {row['rung']}", row["gflops"]) for row in measured],
        [row["whose"] for row in measured],
        result["peak_gflops"],
        f"3x3 convolution, {C} to {K} channels, {H}x{W} pixels, batch {N}, float32, "
        f"{result['threads']} threads",
        path,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="64x56x56")
    parser.add_argument("--threads", type=int, default=nr.get_threads())
    parser.add_argument("--seconds", type=float, default=5.0, help="for every rung")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--picture", type=Path, help="draw the result into this file")
    parser.add_argument(
        "--serve-torch", type=int, nargs=5, help=argparse.SUPPRESS, metavar="SIZE"
    )
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error(f"--threads must be at least 1, got {options.threads}")
    if not 0 <= options.seconds < math.inf:
        parser.error(f"--seconds must be 0 or more, got {options.seconds}")
    if options.serve_torch:
        serve_torch(tuple(options.serve_torch), options.threads)
        return 0
    try:
        result = climb(SHAPES[options.shape], options.threads, options.seconds)
    except WrongResultError as error:
        print(f"ladder: {error}", file=sys.stderr)
        return 1
    print(table(result))
    print(
        f"\n{result['threads']} threads, vectors of {result['vector_bits']} bits, best "
        "of several calls in several rounds; shares and steps are those of the best. "
        "Operations are those of direct convolution, for Winograd as well. Plain "
        f"Python computes a corner of {CORNER[0]} channels of {CORNER[1]}x{CORNER[2]} "
        "pixels on one thread, and its rate is that of the corner."
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.picture:
        draw(result, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
