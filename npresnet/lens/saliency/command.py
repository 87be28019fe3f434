"""``npresnet lens saliency``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.view import class_option, view, view_options

_IMAGES = 4


@click.command("saliency", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@class_option
@view_options(_IMAGES)
@output_options
def command(
    network: str,
    target: str | None,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Show which pixels a class's score depends on most.

    The gradient of the score with respect to the image, for the class that is predicted
    or any other (Simonyan et al. 2013, arXiv 1312.6034). Per image: the class, its
    score and probability, where the map has its peak, and on how few pixels half of it
    lies.

    Try:
      npresnet lens saliency runs/NAME --out looks
      npresnet lens saliency runs/NAME --image three.png --class 8
      npresnet lens saliency runs/NAME --index 7 --index 8 --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    seen = view(network, default=_IMAGES, **given)
    files = [
        f"saliency-{seen.network.label}{ending}" for ending in (".json", ".csv", ".png")
    ]
    folder = Folder(out)
    with busy("saliency"):
        result = lens.saliency(
            seen.network.model,
            seen.x,
            seen.target(target),
            grey=seen.grey,
            classes=seen.network.classes,
            names=seen.sources,
            pictures=seen.pixels,
        )
    show([(seen.facts, result)], as_json)
    folder.save(result, *files)
