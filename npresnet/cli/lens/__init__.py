"""``npresnet lens``: the instruments, one file each.

A new one is a command in a file of its own, added to the list below.
"""

from __future__ import annotations

import click

from npresnet.cli.help import Group
from npresnet.cli.lens.cost import cost
from npresnet.cli.lens.ledger import ledger
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
      npresnet lens steps resnet20
      npresnet lens cost resnet50
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (ledger, spectrum, steps, cost):
    lens.add_command(_command)
