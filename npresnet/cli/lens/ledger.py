"""``npresnet lens ledger``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import (
    Folder,
    SeveralFiles,
    output_options,
    progress_bar,
    show,
)
from npresnet.cli.lens.probe import batch_options, probe


@click.command(cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options
@click.option(
    "--scale",
    type=click.Choice(["linear", "log"]),
    help="Of the river's widths.  [default: linear, where it can be read]",
)
@output_options
def ledger(
    networks: tuple[str, ...],
    scale: Literal["linear", "log"] | None,
    threads: int | None,
    out: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Follow the gradient through every residual block.

    Per block: the norm of the gradient that comes, what share of it the ReLU after
    the addition stops, the norms behind the shortcut and behind the branch, the
    cosine of the angle between the two, and the norm that goes on. The picture is the
    gradient as a river; several networks are drawn side by side.

    Try:
      npresnet lens ledger resnet20 plain20 --out looks
      npresnet lens ledger runs/NAME --mode eval
      npresnet lens ledger resnet56 plain56 --dataset cifar10 --data-dir data
    """
    from npresnet import lens

    options.use_threads(threads)
    probes = [probe(what, **given) for what in networks]
    files = SeveralFiles("ledger", [one.label for one in probes])
    folder = Folder(out, files.all())
    results = []
    for one, label in zip(probes, files.labels, strict=True):
        with progress_bar(label) as progress:
            result = lens.ledger(one.model, one.x, one.y, progress=progress)
        results.append(({"model": one.name, "dataset": one.dataset}, result))
    show(results, as_json)
    first, *others = [result for _, result in results]
    files.save(folder, [first, *others], lambda: first.plot(beside=others, scale=scale))
