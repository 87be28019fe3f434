"""``npresnet lens activations``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.view import view, view_options

_IMAGES = 256


@click.command("activations", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@view_options(_IMAGES)
@output_options
def command(
    network: str,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Show how large each layer's activations are, and which channels are dead.

    Per call of a layer: mean and standard deviation of what it gives; behind a ReLU
    also the share of zeros, and how many channels are zero at every pixel of every
    image.

    Try:
      npresnet lens activations runs/NAME --out looks
      npresnet lens activations plain20 --mode train
    """
    from npresnet import lens

    options.use_threads(threads)
    seen = view(network, default=_IMAGES, **given)
    label = seen.network.label
    files = [f"activations-{label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out)
    with busy("activations"):
        result = lens.activations(seen.network.model, seen.x)
    show([(seen.facts, result)], as_json)
    folder.save(result, *files)
