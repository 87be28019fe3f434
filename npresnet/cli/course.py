"""``npresnet course``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from npresnet.cli.help import Command


@click.command(cls=Command)
@click.argument(
    "folder",
    metavar="[DIR]",
    default="npresnet-course",
    type=click.Path(file_okay=False, path_type=Path),
)
@click.option(
    "--no-browser",
    is_flag=True,
    help="Print the address instead of opening a browser.",
)
def course(folder: Path, no_browser: bool) -> None:
    """Copy the course's notebooks to DIR and open the first in JupyterLab.

    The notebooks lead from convolution to trained networks, one idea each, with
    exercises that check themselves. DIR is npresnet-course unless you name another.
    Write in the copies as you like: a notebook that you changed is never overwritten,
    the others are brought up to date. Ctrl-C ends JupyterLab.

    Try:
      npresnet course
      npresnet course ~/course --no-browser
    """
    from npresnet.course import handing_out, jupyter

    copies = handing_out.hand_out(folder)
    _say(f"{folder}: new", copies.new)
    _say(f"{folder}: brought up to date", copies.updated)
    _say(f"{folder}: yours, left as they are", copies.kept)
    if not jupyter.installed():
        raise click.ClickException(
            f"JupyterLab is not installed; install it with: {jupyter.install_command()}"
            f" (the notebooks are in {folder} already)"
        )
    lab = jupyter.JupyterLab(copies.first, browser=not no_browser)
    click.echo(f"JupyterLab is at {lab.address}")
    click.echo("Ctrl-C ends it.")
    status = lab.wait()
    if status > 0:
        raise click.ClickException(f"JupyterLab ended with status {status}")


def _say(what: str, names: Sequence[str]) -> None:
    if names:
        click.echo(f"{what}: {', '.join(names)}")
