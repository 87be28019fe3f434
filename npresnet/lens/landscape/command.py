"""``npresnet lens landscape``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import (
    Destination,
    Folder,
    SeveralFiles,
    output_options,
    show,
)
from npresnet.cli.lens.probe import batch_options_of, probe

_DIMENSIONS: dict[str, Literal[1, 2]] = {"1": 1, "2": 2}


@click.command("landscape", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options_of(
    images=256,
    mode=None,
    seed_decides="fresh weights, which images are taken, and the directions",
)
@click.option(
    "--dimensions",
    type=click.Choice(["1", "2"]),
    default="2",
    help="A curve, or a map.  [default: 2]",
)
@click.option(
    "--points",
    "--grid",
    type=click.IntRange(min=3),
    default=21,
    metavar="N",
    help="Points along each direction, an odd number.  [default: 21]",
)
@click.option(
    "--radius",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="R",
    help="How far to go; at 1 a step is as long as the weights.  [default: 1]",
)
@output_options
def command(
    networks: tuple[str, ...],
    dimensions: str,
    points: int,
    radius: float,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure the loss around the weights, in random directions.

    Each direction is noise in which every filter has the length of the network's own
    (Li et al. 2018, arXiv 1712.09913). The picture has contour lines and the curves
    along both directions; several networks are drawn side by side, on one scale.

    With --out, finished points are kept in DIR/landscape-NAME.points.json until the
    results are written: the same command, given again, goes on where it was stopped
    and ends with the same bits.

    Try:
      npresnet lens landscape runs/NAME --out looks
      npresnet lens landscape runs/RESIDUAL runs/PLAIN --out looks
      npresnet lens landscape runs/NAME --dimensions 1 --points 51 --out looks
    """
    from npresnet import lens

    if points % 2 == 0:
        raise ValueError(
            f"--points {points}: expected an odd number, so that one is the network"
        )
    if not math.isfinite(radius):
        raise ValueError(f"--radius {radius}: expected a number above 0")
    options.use_threads(threads)
    probes = [probe(what, **given) for what in networks]
    files = SeveralFiles("landscape", [one.label for one in probes])
    kept = [
        None if out.path is None else out.path / f"landscape-{label}.points.json"
        for label in files.labels
    ]
    folder = Folder(out)
    results = []
    with _alone(out.path), _consoling(out.path):
        for one, label, keep in zip(probes, files.labels, kept, strict=True):
            with busy(label) as progress:
                result = lens.landscape(
                    one.model,
                    one.x,
                    one.y,
                    dimensions=_DIMENSIONS[dimensions],
                    points=points,
                    radius=radius,
                    seed=given["seed"],
                    keep=keep,
                    progress=progress,
                )
            results.append(({"model": one.name, "dataset": one.dataset}, result))
        show(results, as_json)
        first, *others = [result for _, result in results]
        files.save(folder, [first, *others], lambda: first.plot(beside=others))
        if folder.complete:  # else: the same command draws it, from the points
            _remove(kept)


@contextmanager
def _alone(out: Path | None) -> Iterator[None]:
    """Keep a second call out of the folder: it would write the same files."""
    from npresnet.training.lock import locked, refuse_foreign

    with ExitStack() as stack:
        if out is not None:
            refuse_foreign(out)
            stack.enter_context(locked(out))
        yield


@contextmanager
def _consoling(out: Path | None) -> Iterator[None]:
    """Say, when the work is stopped, that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        if out is None:
            raise
        raise KeyboardInterrupt(
            f"stopped by Ctrl-C; finished points are kept in {out}, and the same "
            "command goes on from there"
        ) from None


def _remove(kept: Sequence[Path | None]) -> None:
    for path in kept:
        if path is not None:
            path.unlink(missing_ok=True)
