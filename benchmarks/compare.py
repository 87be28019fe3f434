"""Hold npresnet against PyTorch and others, and against what is asked of it.

``python -m benchmarks.compare`` measures every row but those against torch.compile and
inference engines, which ``--engines`` adds; leave the machine alone meanwhile. Each
side runs in a process of its own, and all are asked in turn, some rounds: a round's
ratio is our time over the best of the others' in the same round. The table has the
median over the rounds, and the range. Rows that share a work are measured together.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a file: its folder is on the path, not the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import npresnet
from benchmarks import document, options, pages
from benchmarks.asking import CannotRun, MeasurementError
from benchmarks.measurement import Effort, Source, Tell
from benchmarks.pages import COMMAND
from benchmarks.rows import ROWS, Row
from benchmarks.sides import SIDES
from benchmarks.table import Measured, Outcome, summary, table
from npresnet.backend import available_threads

_PACKAGES = "torch", "openvino", "onnxruntime", "onnx", "numpy", "numba"
_NAMED = {"torch": "PyTorch", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


class _Options(NamedTuple):
    rows: list[Row]
    effort: Effort
    where: Path
    pages: list[Path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit status."""
    chosen, effort, where, places = _read(arguments)
    print(f"results go to {where}", file=sys.stderr)
    outcomes: dict[str, Outcome] = {}
    start = time.perf_counter()
    status = 0
    groups = _by_source(chosen)
    for number, (source, rows) in enumerate(groups.items(), start=1):
        _tell(f"[{number}/{len(groups)}] {source.label}:")
        try:
            outcomes |= _measure(source, rows, effort, lambda text: _tell(f" {text}"))
        except MeasurementError as error:
            _tell(f" {error}\n")
            status = 1
            continue
        except KeyboardInterrupt:
            _tell(" stopped\n")
            status = 130
            break
        _tell("\n")
        for row in rows:
            _tell(f"    {row.name}: {summary(row, outcomes[row.name])}\n")
        # At once: whatever happens next, nothing measured is lost.
        plain = _as_plain(_in_order(chosen, outcomes), effort)
        where.write_text(json.dumps(plain, indent=2) + "\n")
    _tell(f"{time.perf_counter() - start:.0f} s in all\n")
    measured = _in_order(chosen, outcomes)
    if measured:
        print(table(measured))
        print(f"\n{_footnote(effort)}")
    for page in [] if status else places:
        try:
            pages.write(page, measured, _footnote(effort))
        except ValueError as error:
            _tell(f"{page} stays as it is: {error}\n")
            status = 1
    return status


def _by_source(rows: Sequence[Row]) -> dict[Source, list[Row]]:
    groups: dict[Source, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    return groups


def _measure(
    source: Source, rows: Sequence[Row], effort: Effort, tell: Tell
) -> dict[str, Outcome]:
    wanted = {side for row in rows for side in row.sides}
    taken = source.measure([side for side in SIDES if side in wanted], effort, tell)
    outcomes: dict[str, Outcome] = {}
    for row in rows:
        try:
            outcomes[row.name] = row.judge(taken)
        except CannotRun as reason:
            outcomes[row.name] = str(reason)
    return outcomes


def _in_order(rows: Sequence[Row], outcomes: dict[str, Outcome]) -> Measured:
    return [(row, outcomes[row.name]) for row in rows if row.name in outcomes]


def _read(arguments: Sequence[str] | None) -> _Options:
    by_name = {row.name: row for row in ROWS}
    parser = options.Parser(
        prog="compare",
        description=__doc__,
        epilog="rows:\n" + "\n".join(f"  {r.name:<30} {r.label}" for r in ROWS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rows", nargs="*", help="which to measure; those of an ordinary run if none"
    )
    parser.add_argument(
        "--engines",
        action="store_true",
        help="torch.compile, OpenVINO and ONNX Runtime, too, where they are installed",
    )
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
        help="of every side (every processor)",
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
        action="append",
        default=[],
        help="put the table into README.md (four rows) or docs/speed.md (all of them, "
        "in the place of this host's); may be given twice",
    )
    read = parser.parse_args(arguments)
    if unknown := [name for name in read.rows if name not in by_name]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(by_name)}")
    chosen = [by_name[name] for name in dict.fromkeys(read.rows)]
    if not chosen:
        chosen = [row for row in ROWS if read.engines or not row.optional]
    for page in read.write:
        try:
            pages.check(page, {row.name for row in chosen})
        except (OSError, document.NoPlaceError, ValueError) as error:
            parser.error(f"argument --write: {error}")
    if read.threads > available_threads():
        read.threads = available_threads()
        print(f"only {read.threads} threads can run at a time here", file=sys.stderr)
    effort = Effort(read.rounds, read.seconds, read.threads)
    return _Options(chosen, effort, read.json or _new_file(), read.write)


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


def _as_plain(measured: Measured, effort: Effort) -> dict[str, Any]:
    rows = [
        {"name": row.name, "label": row.label, "bar": row.bar, "goal": row.goal}
        | ({"why_not": result} if isinstance(result, str) else result.to_dict())
        for row, result in measured
    ]
    return {
        "npresnet": npresnet.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": pages.host(),
        "packages": {package: _version(package) for package in _PACKAGES},
        **effort._asdict(),
        "rows": rows,
    }


def _footnote(effort: Effort) -> str:
    versions = [
        f"{name} {version}"
        for package, name in _NAMED.items()
        if (version := _version(package))
    ]
    return (
        f"`{COMMAND}`, {', '.join([f'{effort.threads} threads', *versions])}, float32. "
        "Our training steps are those of `nr.compile`, our inference that of "
        "`nr.inference`. Each side in a process of its own, in turn; medians over the "
        "runs. A ratio is ours over the best of the others in the same run."
    )


if __name__ == "__main__":
    sys.exit(main())
