"""``npresnet lens grad-cam``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.view import class_option, view, view_options

_IMAGES = 4


@click.command("grad-cam", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@click.option(
    "--layer",
    metavar="NAME",
    help="Layer whose feature maps are weighed, as in layer2 or layer2.0.conv1.  "
    "[default: the last stage]",
)
@class_option
@view_options(_IMAGES)
@output_options
def command(
    network: str,
    layer: str | None,
    target: str | None,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Show where a layer's feature maps speak for a class.

    Every feature map is weighed by the mean gradient of the class's score by it, and
    what speaks for the class is kept (Grad-CAM, Selvaraju et al. 2017, arXiv
    1610.02391). The map is enlarged bilinearly and drawn over the image.

    Try:
      npresnet lens grad-cam runs/NAME --out looks
      npresnet lens grad-cam runs/NAME --layer layer2 --index 7 --index 8
      npresnet lens grad-cam runs/NAME --image three.png --class 8 --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    seen = view(network, default=_IMAGES, **given)
    files = [
        f"grad-cam-{seen.network.label}{ending}" for ending in (".json", ".csv", ".png")
    ]
    folder = Folder(out)
    with busy("grad-cam"):
        result = lens.grad_cam(
            seen.network.model,
            seen.x,
            seen.target(target),
            layer=layer,
            classes=seen.network.classes,
            names=seen.sources,
            pictures=seen.pixels,
        )
    show([(seen.facts, result)], as_json)
    folder.save(result, *files)
