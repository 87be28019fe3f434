"""``npresnet lens lesion``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, output_options
from npresnet.cli.lens.probe import batch_options_of, probe
from npresnet.cli.lens.side_by_side import look_at


@click.command("lesion", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options_of(images=None, mode=None, part="test")
@click.option(
    "--draws",
    type=click.IntRange(min=0),
    default=5,
    metavar="N",
    help="Random sets of blocks to remove for each number of them, and random orders "
    "for each number of swaps; 0 leaves both out.  [default: 5]",
)
@output_options
def command(
    networks: tuple[str, ...],
    draws: int,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Delete blocks, swap them, and see what the network still gets right.

    A deleted block keeps its shortcut and loses its branch; a plain one, which has no
    shortcut, becomes the identity, or zero padding where the shape changes. Each
    block is deleted on its own, each pair of equal shape is swapped, random orders
    are tried, and random sets of blocks are removed (Veit et al. 2016, arXiv
    1605.06431, section 4). Several networks are drawn side by side.

    Try:
      npresnet lens lesion runs/NAME
      npresnet lens lesion runs/RESIDUAL runs/PLAIN --out looks
      npresnet lens lesion runs/NAME --images 10000 --draws 10 --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    look_at(
        "lesion",
        [probe(what, part="test", **given) for what in networks],
        lambda one, progress: lens.lesion(
            one.model, one.x, one.y, draws=draws, seed=given["seed"], progress=progress
        ),
        out,
        as_json,
    )
