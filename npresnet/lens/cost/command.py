"""``npresnet lens cost``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.probe import bare_network


@click.command("cost", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@click.option(
    "--input",
    "input_text",
    metavar="C,H,W",
    help="Shape of one image.  [default: what the network was made for]",
)
@click.option("--dataset", metavar="NAME", help="What WEIGHTS were trained on.")
@options.network
@click.option(
    "--repeats",
    type=click.IntRange(min=0),
    default=9,
    metavar="N",
    help="Passes to time, both ways; 0 measures no times.  [default: 9]",
)
@options.threads
@output_options
def command(
    network: str,
    input_text: str | None,
    dataset: str | None,
    model: str | None,
    shortcut: str | None,
    repeats: int,
    threads: int | None,
    out: Destination,
    as_json: bool,
) -> None:
    """Show what each layer costs: parameters, MACs, bytes, time, share of the peak.

    For one image, in evaluation mode. MACs are multiply-adds of convolutions and
    linear layers, forward. Kept bytes are those that caches hold for the backward pass
    in training mode, layer by layer, shared arrays where they first appear; im2col
    bytes are those of the columns that are not written down here. A layer's times,
    forward and backward, are medians over the passes; the peak is the speed of NumPy's
    matrix product, and Winograd's convolutions may exceed it. --json and CSV have all
    columns.

    Try:
      npresnet lens cost resnet50
      npresnet lens cost runs/NAME --out looks
      npresnet lens cost resnet50 --input 3,160,160 --json
    """
    from npresnet import lens
    from npresnet.cli.summary import parse_shape

    options.use_threads(threads)
    shape = None if input_text is None else parse_shape(input_text)
    one = bare_network(network, model, shortcut, dataset, shape)
    files = [f"cost-{one.label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out)
    with busy("cost"):
        result = lens.cost(one.model, one.image_shape, repeats=repeats)
    show([({"model": one.name}, result)], as_json)
    folder.save(result, *files)
