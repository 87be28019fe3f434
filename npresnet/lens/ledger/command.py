"""``npresnet lens ledger``."""

from __future__ import annotations

from typing import Any, Literal

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, output_options
from npresnet.cli.lens.probe import batch_options, probe
from npresnet.cli.lens.side_by_side import look_at


@click.command("ledger", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options
@click.option(
    "--scale",
    type=click.Choice(["linear", "log"]),
    help="Of the river's widths.  [default: linear, where it can be read]",
)
@output_options
def command(
    networks: tuple[str, ...],
    scale: Literal["linear", "log"] | None,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Follow the gradient through every residual block.

    Per block: the norm of the gradient that comes, what share of it the ReLU after
    the addition stops, the norms behind the shortcut and behind the branch, the
    cosine of the angle between the two, and the norm that goes on. The picture is the
    gradient as a river; several networks are drawn side by side.

    Try:
      npresnet lens ledger resnet20 plain20 --out looks
      npresnet lens ledger runs/NAME --mode eval
      npresnet lens ledger resnet56 plain56 --dataset cifar10 --data-dir data
    """
    from npresnet import lens

    options.use_threads(threads)
    look_at(
        "ledger",
        [probe(what, **given) for what in networks],
        lambda one, progress: lens.ledger(one.model, one.x, one.y, progress=progress),
        out,
        as_json,
        lambda first, others: first.plot(beside=others, scale=scale),
    )
