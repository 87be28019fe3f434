"""``npresnet lens steps``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder, output_options, show
from npresnet.cli.lens.probe import batch_options, probe

if TYPE_CHECKING:
    from npresnet.lens import Steps

# What terminals send: the arrows of Unix, and those of Windows.
_NEXT = ("n", " ", "\r", "\n", "\x1b[C", "\x1bOC", "\xe0M", "\x00M")
_BACK = ("b", "p", "\x7f", "\x08", "\x1b[D", "\x1bOD", "\xe0K", "\x00K")
_QUIT = ("q", "\x1b", "\x03", "\x04")
_KEYS = "n or → next, b or ← back, j jump, c check, q quit"


@click.command("steps", cls=Command)
@click.argument("network", metavar="WEIGHTS_OR_MODEL")
@batch_options
@click.option(
    "--within",
    metavar="PATH",
    help="Only the steps inside this module, such as layer2.0.",
)
@output_options
def command(
    network: str,
    within: str | None,
    threads: int | None,
    out: Destination,
    as_json: bool,
    **given: Any,
) -> None:
    """Go through the backward pass, one operation at a time.

    On a terminal, one step is shown and a key is waited for: n or the right arrow for
    the next step, b or the left arrow for the one before, j to jump to a number or a
    module, c to check the step by finite differences, q to quit. Elsewhere all steps
    are printed. --out also writes a page with slider and pictures, which needs no
    network and no program but a browser.

    Try:
      npresnet lens steps resnet20
      npresnet lens steps runs/NAME --out looks
      npresnet lens steps resnet50 --images 2 --within layer3.0
    """
    from npresnet import lens

    options.use_threads(threads)
    one = probe(network, **given)
    endings = (".json", ".csv", ".png", ".html")
    files = [f"steps-{one.label}{ending}" for ending in endings]
    folder = Folder(out)
    try:
        with busy("steps"):
            result = lens.steps(one.model, one.x, one.y, within=within)
    except ValueError as error:
        if not str(error).startswith("within:"):
            raise
        raise ValueError(f"--{error}") from None
    folder.save(result, *files)
    if as_json:
        show([({"model": one.name, "dataset": one.dataset}, result)], as_json)
    elif sys.stdin.isatty() and sys.stdout.isatty():
        walk(result)
    else:
        for step in result:
            click.echo(f"{step}\n")
        click.echo(result.summary())


def walk(steps: Steps) -> None:
    """Show one step at a time, and do what the keys say."""
    place = 0
    click.echo(f"{steps.summary()}\n\n{steps[place]}")
    while True:
        click.secho(f"[{place + 1} of {len(steps)}] {_KEYS} ", dim=True, nl=False)
        key = click.getchar()
        click.echo()
        if key in _QUIT:
            return
        if key == "c":
            click.echo(repr(steps[place].check()))
            continue
        if key == "j":
            before, place = place, _jump(steps, place)
            if before == place:
                continue
        elif key in _NEXT or key in _BACK:
            target = place + (1 if key in _NEXT else -1)
            if not 0 <= target < len(steps):
                end = "first step" if target < 0 else "last step"
                click.echo(f"this is the {end}")
                continue
            place = target
        else:
            click.echo(f"keys: {_KEYS}")
            continue
        click.echo(f"\n{steps[place]}")


def _jump(steps: Steps, place: int) -> int:
    """Ask where to, and return the place; where there is none, say so and stay."""
    numbers = {step.number: i for i, step in enumerate(steps)}
    answer = click.prompt("number or module", default="", show_default=False).strip()
    if not answer:
        return place
    if answer.isdecimal():
        if int(answer) not in numbers:
            click.echo(f"there are steps {min(numbers)} to {max(numbers)}")
        return numbers.get(int(answer), place)
    try:
        return numbers[steps.find(answer).number]
    except KeyError as error:
        click.echo(error.args[0])
        return place
