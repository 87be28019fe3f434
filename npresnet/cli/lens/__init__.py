"""``npresnet lens``: the instruments, one file each.

A new one is a command in a file of its own, added to the list below.
"""

from __future__ import annotations

import click

from npresnet.cli.help import Group
from npresnet.cli.lens.activations import activations
from npresnet.cli.lens.cost import cost
from npresnet.cli.lens.degradation import degradation
from npresnet.cli.lens.filters import filters
from npresnet.cli.lens.grad_cam import grad_cam
from npresnet.cli.lens.landscape import landscape
from npresnet.cli.lens.ledger import ledger
from npresnet.cli.lens.lesion import lesion
from npresnet.cli.lens.maps import maps
from npresnet.cli.lens.responses import responses
from npresnet.cli.lens.saliency import saliency
from npresnet.cli.lens.shattered import shattered
from npresnet.cli.lens.spectrum import spectrum
from npresnet.cli.lens.steps import steps


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def lens(ctx: click.Context) -> None:
    """Look inside a network, fresh or trained.

    A network is named (resnet20: fresh weights) or given as a run folder or a file of
    weights. Results are printed; --out DIR also writes them as JSON, CSV and a
    picture.

    Try:
      npresnet lens ledger resnet20 plain20 --out looks
      npresnet lens spectrum runs/NAME
      npresnet lens lesion runs/RESIDUAL runs/PLAIN
      npresnet lens landscape runs/NAME --out looks
      npresnet lens steps resnet20
      npresnet lens cost resnet50
      npresnet lens grad-cam runs/NAME --out looks
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    ledger,
    spectrum,
    steps,
    lesion,
    responses,
    degradation,
    shattered,
    landscape,
    cost,
    saliency,
    grad_cam,
    filters,
    maps,
    activations,
):
    lens.add_command(_command)
