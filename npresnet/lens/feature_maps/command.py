"""``npresnet lens maps``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.view import view, view_options

_IMAGES = 1


@click.command("maps", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@click.option(
    "--layer",
    metavar="NAME",
    default="layer1",
    help="As in layer1, layer1.0.conv1 or, for the first of a block's ReLUs, "
    "layer1.0.relu#1.  [default: layer1]",
)
@view_options(_IMAGES)
@output_options
def command(
    network: str,
    layer: str,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the feature maps of a layer.

    Per channel, over all images: mean, standard deviation, smallest and largest
    number, share of zeros. The picture shows the channels of the first image, the
    JSON file holds all maps of all images.

    Try:
      npresnet lens maps runs/NAME --out looks
      npresnet lens maps runs/NAME --layer layer2.0.conv1 --image three.png --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    seen = view(network, default=_IMAGES, **given)
    stem = f"maps-{seen.network.label}-{layer.replace('#', '-')}"
    files = [f"{stem}{ending}" for ending in (".json", ".csv", ".png")]
    with busy("maps"):
        result = lens.feature_maps(seen.network.model, seen.x, layer)
    folder = Folder(out)
    show([(seen.facts, result)], as_json)
    folder.save(result, *files)
