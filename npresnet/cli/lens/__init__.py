"""``npresnet lens``: the instruments. Each one's command stands beside it.

It is loaded when it is asked for: that of `npresnet.lens.ledger`, for instance, from
``npresnet/lens/ledger/command.py``. Here is what the commands share.
"""

from __future__ import annotations

import importlib

import click

from npresnet.cli.help import Group

# Each command's name, and the folder of its instrument.
_FOLDERS = {
    "activations": "activations",
    "cost": "cost",
    "degradation": "degradation",
    "filters": "filters",
    "grad-cam": "grad_cam",
    "landscape": "landscape",
    "ledger": "ledger",
    "lesion": "lesion",
    "maps": "feature_maps",
    "program": "program",
    "responses": "responses",
    "saliency": "saliency",
    "shattered": "shattered",
    "spectrum": "spectrum",
    "steps": "steps",
}


class _Instruments(Group):
    """A group whose commands are loaded one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all instruments."""
        return list(_FOLDERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load an instrument's command."""
        folder = _FOLDERS.get(cmd_name)
        if folder is None:
            return None
        module = importlib.import_module(f"npresnet.lens.{folder}.command")
        command: click.Command = module.command
        return command


@click.group(cls=_Instruments, invoke_without_command=True)
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
      npresnet lens program resnet20 --out looks
      npresnet lens grad-cam runs/NAME --out looks
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
