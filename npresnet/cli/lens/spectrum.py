"""``npresnet lens spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Folder, output_options, progress_bar, show
from npresnet.cli.lens.probe import batch_options, probe


@click.command(cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@batch_options
@output_options
def spectrum(
    network: str,
    threads: int | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Split the gradient by how many residual branches it crossed.

    A network of L blocks has 2**L paths; at each block the gradient takes the
    shortcut or crosses the branch. Per number of branches: how many paths there are,
    the norm of the gradient's part, and its share in the whole. Exact, in L*(L+1)/2
    passes through a branch (Veit et al. 2016, arXiv 1605.06431, sampled it).

    Try:
      npresnet lens spectrum resnet20
      npresnet lens spectrum runs/NAME --out looks
      npresnet lens spectrum resnet110 --dataset cifar10 --data-dir data
    """
    from npresnet import lens

    options.use_threads(threads)
    one = probe(network, **given)
    files = [f"spectrum-{one.label}{ending}" for ending in (".json", ".csv", ".png")]
    folder = Folder(out, files)
    with progress_bar(one.label) as progress:
        result = lens.spectrum(one.model, one.x, one.y, progress=progress)
    show([({"model": one.name, "dataset": one.dataset}, result)], as_json)
    folder.save(result, *files)
