"""``npresnet course``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from npresnet.cli.help import Command
from npresnet.untrusted.files import shown_path


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
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="N",
    help="Where JupyterLab listens.  [default: 8888, or the next that is free]",
)
@click.option(
    "--allow-root", is_flag=True, help="Let the superuser run it, as in a container."
)
def course(folder: Path, no_browser: bool, port: int | None, allow_root: bool) -> None:
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
    _say(folder, copies.new, "new")
    _say(folder, copies.updated, "brought up to date")
    _say(folder, copies.kept, "changed by you, left as they are")
    if not jupyter.installed():
        raise click.ClickException(
            f"JupyterLab is not installed; install it with: {jupyter.install_command()}"
            f" (the notebooks are in {folder} already)"
        )
    with jupyter.JupyterLab(
        copies.first, browser=not no_browser, port=port, allow_root=allow_root
    ) as lab:
        click.echo(f"JupyterLab is at {lab.address}")
        click.echo("Ctrl-C ends it.")
        if lab.wait() > 0:
            raise click.ClickException(f"JupyterLab ended: {lab.last_words()}")


def _say(folder: Path, names: Sequence[str], what: str) -> None:
    if names:
        click.echo(f"{shown_path(folder)}: {what}: {', '.join(names)}")
