"""Where results go: standard output, and files that were not there before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npresnet.cli import options

if TYPE_CHECKING:
    from npresnet.lens import Result
    from npresnet.plots.style import Figure

_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_options(command: _Command) -> _Command:
    """Add ``--out`` and ``--json``."""
    command = options.as_json(command)
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder for the results as JSON, CSV and a picture; nothing in it is "
        "overwritten.",
    )(command)


class Folder:
    """The folder that ``--out`` names, or nowhere.

    Parameters
    ----------
    path : Path or None
        The folder; made where it is missing.
    names : sequence of str
        The files that are going to be written.

    Raises
    ------
    FileExistsError
        If one of the files is there already: found out before the work begins.
    """

    def __init__(self, path: Path | None, names: Sequence[str]) -> None:
        self.path = path
        if path is None:
            return
        for name in names:
            if (path / name).exists():
                raise FileExistsError(
                    f"{path / name}: is there already; name another folder with --out"
                )
        path.mkdir(parents=True, exist_ok=True)

    def save(self, result: Result, *names: str) -> None:
        """Write a result to some of the files, and say so."""
        if self.path is None:
            return
        for name in names:
            result.save(self.path / name)
            click.echo(f"wrote {self.path / name}", err=True)

    def save_picture(self, draw: Callable[[], Figure], name: str) -> None:
        """Write what `draw` draws, and say so."""
        from npresnet.lens.result import save_figure

        if self.path is None:
            return
        save_figure(draw(), self.path / name)
        click.echo(f"wrote {self.path / name}", err=True)


class SeveralFiles:
    """The files for results on several networks: data for each, one picture for all.

    Parameters
    ----------
    instrument : str
        Begins every name.
    networks : sequence of str
        Short names of the networks; made to differ.
    """

    def __init__(self, instrument: str, networks: Sequence[str]) -> None:
        self.labels = labels(networks)
        self.picture = f"{instrument}-{'-'.join(self.labels)}.png"
        self.data = [
            (f"{instrument}-{label}.json", f"{instrument}-{label}.csv")
            for label in self.labels
        ]

    def all(self) -> list[str]:
        """List all names."""
        return [self.picture, *(file for pair in self.data for file in pair)]

    def save(
        self, folder: Folder, results: Sequence[Result], draw: Callable[[], Figure]
    ) -> None:
        """Write all files into a folder, and say so."""
        for result, names in zip(results, self.data, strict=True):
            folder.save(result, *names)
        folder.save_picture(draw, self.picture)


def labels(given: Sequence[str]) -> list[str]:
    """Make labels differ, so that file names do."""
    taken: list[str] = []
    for label in given:
        number, candidate = 1, label
        while candidate in taken:
            number += 1
            candidate = f"{label}-{number}"
        taken.append(candidate)
    return taken


def show(results: Sequence[tuple[dict[str, Any], Result]], as_json: bool) -> None:
    """Print results: tables, or one line of JSON.

    Parameters
    ----------
    results : sequence of (dict, Result)
        What was looked at, and what came out.
    as_json : bool
        One JSON object; a list under ``"results"`` where there are several.
    """
    if as_json:
        objects = [{**facts, **result.to_dict()} for facts, result in results]
        several = len(objects) > 1
        options.print_json({"results": objects} if several else objects[0])
        return
    for number, (_, result) in enumerate(results):
        if number:
            click.echo()
        click.echo(repr(result))
