"""``npresnet lens spectrum``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, output_options
from npresnet.cli.lens.probe import batch_options, probe
from npresnet.cli.lens.side_by_side import look_at


@click.command("spectrum", cls=Command)
@click.argument("networks", nargs=-1, required=True, metavar="WEIGHTS_OR_MODEL...")
@batch_options
@output_options
def command(
    networks: tuple[str, ...],
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Split the gradient by how many residual branches it crossed.

    A network of L blocks has 2**L paths; at each block the gradient takes the
    shortcut or crosses the branch. Per number of branches: how many paths there are,
    the norm of the gradient's part, and its share in the whole. Exact, in L*(L+1)/2
    passes through a branch (Veit et al. 2016, arXiv 1605.06431, sampled it). Several
    networks are drawn side by side.

    Try:
      npresnet lens spectrum resnet20
      npresnet lens spectrum runs/NAME --out looks
      npresnet lens spectrum resnet56 runs/resnet56 --out looks
      npresnet lens spectrum resnet110 --dataset cifar10 --data-dir data
    """
    from npresnet import lens
    from npresnet.models import names

    options.use_threads(threads)
    probes = [probe(what, **given) for what in networks]
    fresh = names()
    titles = [
        f"{one.label}, {'fresh' if what in fresh else 'trained'}"
        for what, one in zip(networks, probes, strict=True)
    ]
    look_at(
        "spectrum",
        probes,
        lambda one, progress: lens.spectrum(one.model, one.x, one.y, progress=progress),
        out,
        as_json,
        lambda first, others: first.plot(beside=others, names=titles),
    )
