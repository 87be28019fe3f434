"""Checking and timing the rungs, in turn, and the peak among them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import npresnet as nr
from benchmarks.ladder import torch_rung
from benchmarks.ladder.peak import Peak
from benchmarks.ladder.rungs import RUNGS, Rung, winograd_tile
from benchmarks.ladder.work import Shape, Work
from benchmarks.timing import repeat
from npresnet.backend.kernels import winograd

ROUNDS = 5  # all rungs in turn, so that a machine that slows down slows all of them
_PEAK_SHARE = 0.2  # of a rung's time, before each of them

Timer = Callable[[float], list[float]]  # seconds of several calls, within some seconds


class WrongResultError(Exception):
    """A rung that does not compute the convolution is not timed."""


def climb(
    shape: Shape,
    threads: int,
    seconds: float,
    tell: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Check all rungs, and time each for so many seconds; `tell` hears how far it is.

    Raises
    ------
    WrongResultError
        If a rung's error is larger than its tolerance.
    """
    threads = nr.set_threads(threads)
    work, peak = Work(shape), Peak()
    rows: list[dict[str, Any]] = []
    timers: dict[int, Timer] = {}
    with ExitStack() as stack:
        for number, rung in enumerate(RUNGS):
            row = {"rung": number + 1, "name": rung.name, "whose": rung.whose}
            row |= {"seconds": [], "left_out": why_not(rung, shape, work)}
            rows.append(row)
            if row["left_out"]:
                continue
            tell(f"checking rung {number + 1}, {rung.name}")
            if rung.run is None:
                server = torch_rung.serving(shape, threads, rung.channels_last)
                ask = stack.enter_context(server)
                row["error"] = ask("error")
                row["operations"] = work.operations(work.truth)
                timers[number] = ask
            else:
                run = partial(rung.run, *work.arguments(rung.channels_last))
                out = run()  # compiles, too
                row["error"], row["operations"] = work.error(out), work.operations(out)
                timers[number] = partial(repeat, run)
            if not row["error"] <= rung.tolerance:
                raise WrongResultError(
                    f"rung {number + 1}, {rung.name}: error {row['error']:.1e} of the "
                    f"largest output, allowed are {rung.tolerance:.0e}"
                )
        peak.run()
        peak_times: list[float] = []
        for turn in range(ROUNDS):
            tell(f"timing, round {turn + 1} of {ROUNDS}")
            for number, timer in timers.items():
                peak_times += repeat(peak.run, _PEAK_SHARE * seconds / ROUNDS)
                rows[number]["seconds"] += timer(seconds / ROUNDS)
    return relate(rows, peak, peak_times) | {
        "shape": dict(zip("NCKHW", shape, strict=True)),
        "threads": threads,
        "vector_bits": peak.shape.lanes * 32,
    }


def why_not(rung: Rung, shape: Shape, work: Work) -> str | None:
    """Say why a rung is left out, or None."""
    N, C, K, _, _ = shape
    if rung.run is None and not torch_rung.installed():
        return "not installed"
    chosen = winograd.suits(work.geometry, N, C, K, work.x.dtype)
    if rung.run is winograd_tile and not chosen:
        return "not chosen for this shape"
    return None


def relate(
    rows: list[dict[str, Any]], peak: Peak, peak_times: list[float]
) -> dict[str, Any]:
    """Work out speeds, and what share of the peak they are."""
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
    return {
        "peak_gflops": limit,
        "median_peak_gflops": peak.operations / statistics.median(peak_times) / 1e9,
        "rungs": rows,
    }
