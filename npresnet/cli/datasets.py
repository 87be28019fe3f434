"""``npresnet datasets``."""

from __future__ import annotations

from typing import NamedTuple

import click

from npresnet.cli import options
from npresnet.cli.help import Command


class _Entry(NamedTuple):
    name: str
    train: int
    test: int
    image_shape: tuple[int, int, int]
    classes: int
    where: str
    source: str


_DATASETS = (
    _Entry(
        name="digits",
        train=1437,
        test=360,
        image_shape=(3, 8, 8),
        classes=10,
        where="inside the package; needs no network",
        source="Alpaydin and Kaynak 1998, doi:10.24432/C50P49, CC BY 4.0",
    ),
    _Entry(
        name="cifar10",
        train=50_000,
        test=10_000,
        image_shape=(3, 32, 32),
        classes=10,
        where="in --data-dir: cifar-10-batches-bin, cifar-10-batches-py, or an "
        "archive of one (.tar.gz, .tar, .zip), there or one folder deeper; train "
        "--download fetches it (162 MiB)",
        source="Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
    ),
)


@click.command(cls=Command)
@options.as_json
def datasets(as_json: bool) -> None:
    """List the data sets, their size, and where they come from."""
    if as_json:
        options.print_json({"datasets": [entry._asdict() for entry in _DATASETS]})
        return
    for number, entry in enumerate(_DATASETS):
        if number:
            click.echo()
        shape = "x".join(map(str, entry.image_shape))
        click.echo(
            f"{entry.name}: {entry.train:,} training and {entry.test:,} test images "
            f"of {shape}, {entry.classes} classes"
        )
        options.print_table(
            None, [("  where", entry.where), ("  source", entry.source)]
        )
