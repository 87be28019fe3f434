"""``npresnet lens filters``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.probe import network_of
from npresnet.cli.lens.view import fresh_options


@click.command("filters", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@fresh_options
@output_options
def command(
    network: str,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the filters of the first layer, as pictures.

    Each filter is drawn on a scale of its own. Those of networks for the digits, whose
    three channels hold the same image, are added up over the channels and drawn in
    grey.

    Try:
      npresnet lens filters runs/NAME --out looks
      npresnet lens filters resnet18 --dataset cifar10 --out looks
    """
    from npresnet import lens

    options.use_threads(threads)
    one = network_of(network, **given)
    files = [f"filters-{one.label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out)
    result = lens.filters(one.model, grey=one.dataset == "digits")
    show([({"model": one.name, "dataset": one.dataset}, result)], as_json)
    folder.save(result, *files)
