"""``npresnet lens degradation``."""

from __future__ import annotations

from pathlib import Path

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command
from npresnet.cli.lens.output import Destination, Folder
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import shown_lines


@click.command("degradation", cls=Command)
@options.data
@click.option(
    "--depths",
    default="8,20,32,56",
    metavar="N,N,...",
    help="Layers with weights, each 6n+2.  [default: 8,20,32,56]",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Runs of every network, with seeds 0, 1, ...  [default: 1]",
)
@click.option(
    "--recipe",
    metavar="NAME",
    help="How all are trained; see: npresnet recipes.  [default: the data set's]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=8,
    metavar="N",
    help="Passes over the training set.  [default: 8]",
)
@options.threads
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/degradation"),
    metavar="DIR",
    help="Folder for the runs and the result; what is finished there is not done "
    "again.  [default: runs/degradation]",
)
@options.as_json
def command(
    dataset: str | None,
    data_dir: str | None,
    depths: str,
    seeds: int,
    recipe: str | None,
    epochs: int,
    threads: int | None,
    out: Path,
    as_json: bool,
) -> None:
    """Train plain and residual networks of several depths alike, and compare.

    That a deeper plain network has a higher training error than a shallower one is
    the degradation problem, for which shortcuts were invented (He et al. 2015, arXiv
    1512.03385, Figs. 1 and 6). On the digits it shows within minutes.

    Ctrl-C loses nothing: the same command goes on where it was. With more seeds or
    depths it adds the runs that are missing. The folder also gets degradation.json,
    .csv and .png, anew each time.

    Try:
      npresnet lens degradation
      npresnet lens degradation --seeds 3
      npresnet lens degradation --dataset cifar10 --data-dir data --epochs 4 --out DIR
    """
    from npresnet import lens
    from npresnet.cli.train import load_data
    from npresnet.training import recipes

    options.use_threads(threads)
    dataset = dataset or "digits"
    chosen = recipes.get(recipe) if recipe else recipes.default_for(dataset)
    train, test = load_data(dataset, data_dir)
    with busy("degradation") as progress:
        result = lens.degradation(
            train,
            test,
            depths=_numbers(depths),
            seeds=range(seeds),
            recipe=chosen,
            epochs=epochs,
            out=out,
            progress=progress,
        )
    # Its own folder, in which they are made anew each time.
    folder = Folder(Destination(out, force=True))
    folder.save(
        result, *(f"degradation{ending}" for ending in (".json", ".csv", ".png"))
    )
    if as_json:
        options.print_json({"folder": str(out), **result.to_dict()})
        return
    click.echo(shown_lines(repr(result)))
    click.echo(f"folder: {shown_path(out)}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--depths: expected whole numbers such as 8,20,56, got {text!r}"
        ) from None
