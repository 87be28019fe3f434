"""``npresnet lens cost``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.probe import label_of, weights_file

if TYPE_CHECKING:
    from npresnet.nn import Module


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
    name, label, shape, built = _build(network, model, shortcut, dataset, shape)
    files = [f"cost-{label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out)
    with busy("cost"):
        result = lens.cost(built, shape, repeats=repeats)
    show([({"model": name}, result)], as_json)
    folder.save(result, *files)


def _build(
    what: str,
    model: str | None,
    shortcut: str | None,
    dataset: str | None,
    shape: tuple[int, int, int] | None,
) -> tuple[str, str, tuple[int, int, int], Module]:
    """Return a network's name, a label for files, the image's shape, the network."""
    from npresnet.cli.subject import identify
    from npresnet.cli.summary import default_classes
    from npresnet.cli.train import build_model
    from npresnet.models import input_shape, names

    if what in names():
        designed = input_shape(what)
        shape = shape or designed
        classes = default_classes(designed)
        built = build_model(what, shortcut, classes, in_channels=shape[0])
        return what, what, shape, built
    path = weights_file(what)
    subject = identify(str(path), model, shortcut, dataset)
    return subject.model, label_of(path), shape or subject.image_shape, subject.build()
