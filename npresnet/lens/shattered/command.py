"""``npresnet lens shattered``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, output_options
from npresnet.cli.lens.probe import batch_options_of, probe
from npresnet.cli.lens.side_by_side import look_at


@click.command("shattered", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options_of(mode=None)
@click.option(
    "--lines",
    type=click.IntRange(min=1),
    default=8,
    metavar="N",
    help="Pairs of images to join by a line.  [default: 8]",
)
@click.option(
    "--points",
    type=click.IntRange(min=8),
    default=256,
    metavar="N",
    help="Images on each line.  [default: 256]",
)
@click.option(
    "--lags",
    type=click.IntRange(min=1),
    default=32,
    metavar="N",
    help="The largest distance, in steps along the line.  [default: 32]",
)
@click.option(
    "--output",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="The logit whose gradient is looked at.  [default: 0]",
)
@output_options
def command(
    networks: tuple[str, ...],
    lines: int,
    points: int,
    lags: int,
    output: int,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Ask whether the gradient at one image is like that at the image next to it.

    Measures the autocorrelation of the input gradient along lines between images,
    beside that of white noise and of Brownian motion (Balduzzi et al. 2017, arXiv
    1702.08591). Several networks are drawn together, and over their depth. In
    training mode, batch norm's statistics are those of the batch, frozen.

    Try:
      npresnet lens shattered resnet56 plain56 --out looks
      npresnet lens shattered resnet{8,20,56,110} plain{8,20,56,110} --out looks
    """
    from npresnet import lens

    if lags >= points:
        raise ValueError(f"--lags {lags}: expected less than --points {points}")
    if 2 * lines > given["images"]:
        raise ValueError(
            f"--lines {lines}: expected at most half of --images {given['images']}"
        )
    options.use_threads(threads)
    look_at(
        "shattered",
        [probe(what, **given) for what in networks],
        lambda one, progress: lens.shattered(
            one.model,
            one.x,
            lines=lines,
            points=points,
            lags=lags,
            output=output,
            progress=progress,
        ),
        out,
        as_json,
    )
