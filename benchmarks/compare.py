"""Hold npresnet against PyTorch, and against what is asked of it.

``python -m benchmarks.compare`` measures everything in some minutes; leave the machine
alone meanwhile. Each side runs in a process of its own, and all are asked in turn, some
rounds: a round's ratio is our time over the better of PyTorch's two in the same round.
The table has the median over the rounds, and the range.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: its folder is on the path, not the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import npresnet
from benchmarks import document, options
from benchmarks.asking import MeasurementError
from benchmarks.measurement import Effort, Measurement
from benchmarks.rows import ROWS, Row
from benchmarks.table import summary, table
from npresnet.backend import available_threads

COMMAND = "python -m benchmarks.compare"
_PACKAGES = "torch", "numpy", "numba"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit status."""
    chosen, effort, where, page = _read(arguments)
    print(f"results go to {where}", file=sys.stderr)
    measured: list[tuple[Row, Measurement]] = []
    start = time.perf_counter()
    status = 0
    for number, row in enumerate(chosen, start=1):
        _tell(f"[{number}/{len(chosen)}] {row.label}:")
        try:
            result = row.measure(effort, lambda text: _tell(f" {text}"))
        except MeasurementError as error:
            _tell(f" {error}\n")
            status = 1
            continue
        except KeyboardInterrupt:
            _tell(" stopped\n")
            status = 130
            break
        measured.append((row, result))
        _tell(f": {summary(row, result)}\n")
        # At once: whatever happens next, nothing measured is lost.
        where.write_text(json.dumps(_as_plain(measured, effort), indent=2) + "\n")
    _tell(f"{time.perf_counter() - start:.0f} s in all\n")
    if measured:
        print(table(measured))
        print(f"\n{_footnote(effort)}")
    if measured and page and not status:
        document.write(page, COMMAND, f"{table(measured)}\n\n{_footnote(effort)}")
    return status


def _read(
    arguments: Sequence[str] | None,
) -> tuple[list[Row], Effort, Path, Path | None]:
    by_name = {row.name: row for row in ROWS}
    parser = options.Parser(
        prog="compare",
        description=__doc__,
        epilog="rows:\n" + "\n".join(f"  {r.name:<22} {r.label}" for r in ROWS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", help="which to measure; all of them if none")
    parser.add_argument(
        "--rounds",
        type=options.at_least(1),
        default=5,
        help="of each row; two at most of what takes long (5)",
    )
    parser.add_argument(
        "--seconds",
        type=options.seconds,
        default=0.8,
        help="for every side in every round; each does its work once at least (0.8)",
    )
    parser.add_argument(
        "--threads",
        type=options.at_least(1),
        default=available_threads(),
        help="of either side (every processor)",
    )
    parser.add_argument(
        "--json",
        type=options.output_file,
        metavar="FILE",
        help="where results go (a new file in runs/)",
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help=f"put the table into a page, between the marks of {COMMAND}",
    )
    read = parser.parse_args(arguments)
    if unknown := [name for name in read.rows if name not in by_name]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in dict.fromkeys(read.rows)] or ROWS
    if importlib.util.find_spec("torch") is None and any(r.needs_torch for r in chosen):
        parser.error("PyTorch is not installed: python -m pip install '.[test]'")
    if read.write:
        try:
            document.check_place(read.write, COMMAND)
        except (OSError, document.NoPlaceError) as error:
            parser.error(f"argument --write: {error}")
    if read.threads > available_threads():
        read.threads = available_threads()
        print(f"only {read.threads} threads can run at a time here", file=sys.stderr)
    effort = Effort(read.rounds, read.seconds, read.threads)
    return chosen, effort, read.json or _new_file(), read.write


def _new_file() -> Path:
    folder = Path("runs")
    folder.mkdir(exist_ok=True)
    return folder / f"compare-{time.strftime('%Y%m%d-%H%M%S')}.json"


def _tell(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _as_plain(
    measured: Sequence[tuple[Row, Measurement]], effort: Effort
) -> dict[str, Any]:
    rows = [
        {"name": row.name, "label": row.label, "bar": row.bar, "goal": row.goal}
        | result.to_dict()
        for row, result in measured
    ]
    return {
        "npresnet": npresnet.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {package: _version(package) for package in _PACKAGES},
        **effort._asdict(),
        "rows": rows,
    }


def _footnote(effort: Effort) -> str:
    return (
        f"`{COMMAND}`, {effort.threads} threads, PyTorch {_version('torch')}. "
        "Each side in a process of its own, in turn; medians over the runs. A ratio is "
        "ours over the better of PyTorch's two in the same run. Peak memory is that of "
        "three training steps, less what the prepared process held before. Multiply-"
        "adds are those of the way forward, results the largest time per multiply-add "
        "over the smallest, which are chosen by their medians."
    )


if __name__ == "__main__":
    sys.exit(main())
