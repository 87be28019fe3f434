"""``npresnet lens program``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.probe import bare_network


@click.command("program", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=128,
    metavar="N",
    help="Images in a step.  [default: 128]",
)
@click.option(
    "--input",
    "input_text",
    metavar="C,H,W",
    help="Shape of one image.  [default: what the network was made for]",
)
@click.option("--dataset", metavar="NAME", help="What WEIGHTS were trained on.")
@options.network
@options.threads
@output_options
def command(
    network: str,
    batch: int,
    input_text: str | None,
    dataset: str | None,
    model: str | None,
    shortcut: str | None,
    threads: int | None,
    out: Destination,
    as_json: bool,
) -> None:
    """List a training step as the program that nr.compile makes of it.

    Nothing is computed. A row has the shapes of one image that a line reads and writes,
    where in the arena that lies, its size, what the line moves through memory, and its
    multiply-adds; one without a place writes a short vector, or a parameter's gradient.
    Then follow the sizes of the arena, of what is needed at once, and of what the
    layers need one by one. The picture shows which array lies where, and from which
    line to which. --json and CSV have all columns, in bytes.

    Try:
      npresnet lens program resnet20
      npresnet lens program resnet20 --out looks
      npresnet lens program resnet18 --batch 16 --json
    """
    from npresnet import lens
    from npresnet.cli.summary import parse_shape

    options.use_threads(threads)
    shape = None if input_text is None else parse_shape(input_text)
    one = bare_network(network, model, shortcut, dataset, shape)
    files = [f"program-{one.label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out)
    with busy("program"):
        result = lens.program(one.model, one.image_shape, batch=batch)
    show([({"model": one.name}, result)], as_json)
    folder.save(result, *files)
