"""``npresnet verify``."""

from __future__ import annotations

import sys

import click

from npresnet.cli import options
from npresnet.cli.help import Command


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--quiet", is_flag=True, help="No table and no progress; only the last line."
)
@options.as_json
@click.pass_context
def verify(
    ctx: click.Context, names: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Check the gradients of every operation, layer, block, and of small networks.

    Each is compared with finite differences of the forward pass, in float64, on
    awkward shapes, in both backends; outputs and gradients of the two backends are
    compared as well. Needs no PyTorch and takes less than a minute, most of it
    compiling kernels the first time. A NAME, such as conv2d or Bottleneck, restricts
    it to that one.

    Exit status 0 if every gradient is right, 1 if not.

    Try:
      npresnet verify
      npresnet verify conv2d BasicBlock
      npresnet verify --json
    """
    from npresnet import testing
    from npresnet.testing.cases import select

    cases = select(names)
    live = sys.stdout.isatty() and not (quiet or as_json)
    try:
        report = testing.verify(progress=_show if live else None, cases=cases)
    finally:
        if live:
            click.echo("\r\x1b[K", nl=False)
    if as_json:
        options.print_json(report.to_dict())
    elif quiet:
        click.echo("\n".join([*report.failures, report.summary()]))
    else:
        click.echo(str(report))
    if not report.ok:
        ctx.exit(1)


def _show(done: int, total: int, what: str) -> None:
    """Write where we are over the line that says where we were."""
    text = f"{done}/{total}  {what}"
    click.echo(f"\r\x1b[K{text[:78]}", nl=False)
