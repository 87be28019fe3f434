"""Time npresnet against PyTorch on the same cores: ``python -m benchmarks.compare``.

Each side runs in a process of its own, in turn, several rounds. A round's ratio is
the median time of one side over that of the other in the same round, so that a
machine that slows down slows both; the table gives the median ratio and its range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.works import SIDES, WORKS

DEFAULT_WORKS = ["resnet20-training"]


def run(side: str, work: str, threads: int, seconds: float) -> dict[str, Any]:
    """Measure one side in a new process."""
    command = [sys.executable, "-m", "benchmarks.worker", side, work]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(work: str, threads: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure all sides of one work, in turn, and relate them."""
    run("npresnet", work, threads, 0)  # compiles what is not yet compiled
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            results[side].append(run(side, work, threads, seconds))
    times = {
        side: [statistics.median(result["seconds"]) for result in of_side]
        for side, of_side in results.items()
    }
    best_torch = [
        min(pair) for pair in zip(*(times[s] for s in SIDES[1:]), strict=True)
    ]
    ratios = [a / b for a, b in zip(times["npresnet"], best_torch, strict=True)]
    memory = {
        side: statistics.median(result["memory"] for result in of_side)
        for side, of_side in results.items()
    }
    return {
        "work": work,
        "threads": threads,
        "rounds": rounds,
        "seconds": {
            side: statistics.median(of_side) for side, of_side in times.items()
        },
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "memory_bytes": memory,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Write the results as a Markdown table."""
    lines = [
        "| work | npresnet | PyTorch | channels_last | time ratio (range) | memory |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours, eager, last = (1000 * row["seconds"][side] for side in SIDES)
        low, high = row["ratio_range"]
        memory = row["memory_bytes"]
        lines.append(
            f"| {row['work']} | {ours:.1f} ms | {eager:.1f} ms | {last:.1f} ms "
            f"| {row['ratio']:.2f} ({low:.2f} to {high:.2f}) "
            f"| {memory['npresnet'] / memory['torch']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", default=DEFAULT_WORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="per side and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.works) - set(WORKS)
    if unknown:
        parser.error(f"no work is named {sorted(unknown)}; there are {sorted(WORKS)}")

    rows = [
        compare(work, arguments.threads, arguments.seconds, arguments.rounds)
        for work in arguments.works
    ]
    print(table(rows))
    print(
        f"{arguments.threads} threads, {arguments.rounds} rounds; the ratio is to the "
        "better of PyTorch's two memory formats in each round, memory is the peak "
        "above the prepared process, over PyTorch's"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
