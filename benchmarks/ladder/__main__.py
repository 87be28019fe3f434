"""One convolution, from seven loops to the limit: ``python -m benchmarks.ladder``.

Every rung computes the same thing, is checked against the reference first, and then
timed; ``docs/ladder.md`` tells what each rung changes and why that helps. The peak is
that of the register tile on data that never leaves the first-level cache, on all
threads, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks import document, options
from benchmarks.asking import MeasurementError
from benchmarks.ladder import page
from benchmarks.ladder.climb import WrongResultError, climb
from benchmarks.ladder.work import SHAPES
from npresnet.backend import available_threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit status."""
    parser = options.Parser(
        prog="ladder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="64x56x56")
    parser.add_argument(
        "--threads",
        type=options.at_least(1),
        default=available_threads(),
        help="every processor by default",
    )
    parser.add_argument(
        "--seconds", type=options.seconds, default=5.0, help="for every rung (5)"
    )
    parser.add_argument(
        "--json",
        type=options.output_file,
        metavar="FILE",
        help="write the result to this file",
    )
    parser.add_argument(
        "--picture",
        type=options.output_file,
        metavar="FILE",
        help="draw the result into this file",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="put table and picture into docs/ladder.md",
    )
    chosen = parser.parse_args(arguments)
    if chosen.write:
        try:
            document.check_place(page.PAGE, page.COMMAND)
        except (OSError, document.NoPlaceError) as error:
            parser.error(str(error))

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        result = climb(SHAPES[chosen.shape], chosen.threads, chosen.seconds, tell)
    except (WrongResultError, MeasurementError) as error:
        print(f"ladder: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ladder: stopped", file=sys.stderr)
        return 130
    print(f"{page.table(result)}\n\n{page.footnote(result)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=2) + "\n")
    if chosen.picture:
        page.draw(result, chosen.picture)
    if chosen.write:
        page.write(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
