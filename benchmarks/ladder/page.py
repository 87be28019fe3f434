"""The ladder's results: a table, a picture, and both in ``docs/ladder.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import document
from benchmarks.asking import ROOT
from benchmarks.ladder.rungs import CORNER

COMMAND = "python -m benchmarks.ladder"
PAGE = ROOT / "docs" / "ladder.md"
PICTURE = ROOT / "docs" / "pictures" / "ladder.png"


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


def footnote(result: dict[str, Any]) -> str:
    """Say how the figures came about."""
    channels, rows, columns = CORNER
    return (
        f"`{COMMAND}`, {result['threads']} threads, vectors of "
        f"{result['vector_bits']} bits. Best and median of many calls, all rungs in "
        "turn; shares and steps are those of the best. Operations are those of direct "
        "convolution, for Winograd as well. Plain Python computes a corner of "
        f"{channels} channels of {rows}x{columns} pixels on one thread, and its rate "
        "is that of the corner."
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the result into a file."""
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


def write(result: dict[str, Any]) -> None:
    """Put the table into the page, and draw its picture."""
    document.write(PAGE, COMMAND, f"{table(result)}\n\n{footnote(result)}")
    draw(result, PICTURE)
