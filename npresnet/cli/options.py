"""Options that several commands share, and what they print alike."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from npresnet._json import to_json
from npresnet._tables import columns

_Command = TypeVar("_Command", bound=Callable[..., Any])

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def as_json(command: _Command) -> _Command:
    """Add ``--json``."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON object as the last line of standard output.",
    )(command)


def threads(command: _Command) -> _Command:
    """Add ``--threads``."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads to compute with; the results do not depend on it.  "
        "[default: all processors]",
    )(command)


def data(command: _Command) -> _Command:
    """Add ``--dataset`` and ``--data-dir``."""
    command = click.option(
        "--data-dir",
        type=click.Path(),
        metavar="DIR",
        envvar="NPRESNET_DATA_DIR",
        help="Folder that holds the data set; the digits need none.  "
        "[env: NPRESNET_DATA_DIR]",
    )(command)
    return click.option(
        "--dataset",
        metavar="NAME",
        help="digits (inside the package) or cifar10 (in --data-dir).",
    )(command)


def network(command: _Command) -> _Command:
    """Add ``--model`` and ``--shortcut``."""
    command = click.option(
        "--shortcut",
        type=click.Choice(["A", "B", "C"]),
        help="Shortcuts of the CIFAR nets: A pads with zeros, B projects where the "
        "shape changes, C projects everywhere.",
    )(command)
    return click.option(
        "--model",
        metavar="NAME",
        help="Network, such as resnet8 or resnet20; see: npresnet models.",
    )(command)


def use_threads(count: int | None) -> None:
    """Set the number of threads, and say so where there are not so many."""
    if count is None:
        return
    import npresnet
    from npresnet.backend.threads import processors

    used = npresnet.set_threads(count)
    if used < count:
        source = processors.limit().source
        click.echo(f"--threads {count}: using {used}, the limit is {source}", err=True)


_FAILURES = "npresnet.failures"


def fail_later(text: str) -> None:
    """Let the command end with this error, but not before it has done the rest."""
    click.get_current_context().meta.setdefault(_FAILURES, []).append(text)


def failures(ctx: click.Context) -> list[str]:
    """Return what `fail_later` was told."""
    found: list[str] = ctx.meta.get(_FAILURES, [])
    return found


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; NaN and infinities become null."""
    click.echo(to_json(value))


def print_table(
    header: Sequence[str] | None,
    rows: Sequence[Sequence[Any]],
    *,
    least: Sequence[int] = (),
) -> None:
    """Print rows in columns: text to the left, numbers to the right.

    On a terminal that is too narrow, the widest column's texts go on below; files and
    pipes get whole lines. `least` is as `npresnet._tables.columns` takes it.
    """
    texts = [] if header is None else [list(header)]
    texts += [[_cell(value) for value in row] for row in rows]
    to_right = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        for i in range(len(texts[0]))
    ]
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    # The last place stays free: some consoles begin a new line when it is taken.
    width = shutil.get_terminal_size().columns - 1 if is_terminal else None
    click.echo(columns(texts, to_right, least=least, width=width))


def parse_normalization(
    text: str, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read ``cifar10``, ``imagenet``, or ``MEAN/STD`` such as ``0.5,0.5,0.5/1,1,1``.

    Raises
    ------
    ValueError
        If it is none of these, or has not one number per channel.
    """
    if text == "imagenet":
        return IMAGENET_MEAN, IMAGENET_STD
    if text == "cifar10":
        from npresnet.data.cifar10 import MEAN, STD

        return MEAN, STD
    mean, slash, std = text.partition("/")
    try:
        numbers = [tuple(float(v) for v in part.split(",")) for part in (mean, std)]
    except ValueError:
        numbers = []
    if not slash or [len(part) for part in numbers] != [channels, channels]:
        raise ValueError(
            f"--normalization: expected cifar10, imagenet, or {channels} means, a "
            f"slash and {channels} standard deviations such as "
            f"0.49,0.48,0.45/0.25,0.24,0.26; got {text!r}"
        )
    return numbers[0], numbers[1]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
