"""``npresnet lens responses``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, output_options
from npresnet.cli.lens.probe import batch_options_of, probe
from npresnet.cli.lens.side_by_side import look_at


@click.command("responses", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options_of(images=None, mode=None, part="test")
@output_options
def command(
    networks: tuple[str, ...],
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure how strongly each 3x3 layer responds.

    Per layer: the standard deviation of the output of the batch norm behind it,
    before the ReLU and the addition, in the layers' order and ranked (He et al. 2015,
    arXiv 1512.03385, Fig. 7). Several networks are drawn side by side.

    Try:
      npresnet lens responses runs/NAME
      npresnet lens responses runs/RESIDUAL runs/PLAIN --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    look_at(
        "responses",
        [probe(what, part="test", **given) for what in networks],
        lambda one, progress: lens.responses(one.model, one.x, progress=progress),
        out,
        as_json,
    )
