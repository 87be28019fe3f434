"""Where results go: standard output, and files that nothing else is lost for."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from npresnet._notices import reason
from npresnet.cli import options
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import shown_lines

if TYPE_CHECKING:
    from npresnet._files import OpenFolder
    from npresnet.lens import Result
    from npresnet.plots.style import Figure

_PICTURES = (".png", ".svg", ".pdf", ".html")

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Destination:
    """What ``--out`` and ``--force`` say: a folder, or none."""

    path: Path | None
    force: bool = False


def output_options(command: _Command) -> _Command:
    """Add ``--out`` and ``--force``, as one argument `out`, and ``--json``."""

    @functools.wraps(command)
    def with_destination(
        *given: Any, out: Path | None, force: bool, **named: Any
    ) -> Any:
        if force and out is None:
            raise ValueError("--force: there is nothing to replace without --out DIR")
        return command(*given, out=Destination(out, force), **named)

    decorated: Any = options.as_json(with_destination)
    decorated = click.option(
        "--force", is_flag=True, help="Replace results in DIR that are others."
    )(decorated)
    decorated = click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder for the results as JSON, CSV and a picture; other results in it "
        "are not overwritten.",
    )(decorated)
    result: _Command = decorated
    return result


class Folder:
    """The folder that ``--out`` names, or nowhere.

    Parameters
    ----------
    out : Destination
        The folder; made where it is missing.
    """

    def __init__(self, out: Destination) -> None:
        self.path, self.force = out.path, out.force
        self.complete = True  # False once a picture is missing
        if self.path is not None:
            self.path.mkdir(parents=True, exist_ok=True)

    def save(self, result: Result, *names: str) -> None:
        """Write a result to some files; see `write`."""
        self.write({name: partial(result.content, Path(name).suffix) for name in names})

    def write(self, contents: Mapping[str, Callable[[], bytes]]) -> None:
        """Write files, and say so; a file that is there with this content is left.

        What goes wrong with a picture is told at the end of the program, with exit
        status 2: the numbers are there, and the other files.

        Parameters
        ----------
        contents : dict of str to callable
            What makes the content of a file, by its name.

        Raises
        ------
        FileExistsError
            If one of them is there with another content, and is not to be replaced;
            none is written then.
        """
        from npresnet._files import OpenFolder

        if self.path is None:
            return
        made = {
            name: content
            for name, make in contents.items()
            if (content := self._made(name, make)) is not None
        }
        with OpenFolder(self.path) as folder:
            there = {name for name in made if folder.exists(name)}
            same = {name for name in there if _content(folder, name) == made[name]}
            if (others := sorted(there - same)) and not self.force:
                raise FileExistsError(
                    f"{self.path / others[0]}: is there already with another result; "
                    "replace it with --force, or name another folder with --out"
                )
            for name, content in made.items():
                if name in same:
                    click.echo(
                        f"{shown_path(self.path / name)}: the same already", err=True
                    )
                    continue
                with folder.replacing(name) as file:
                    file.write(content)
                click.echo(f"wrote {shown_path(self.path / name)}", err=True)
            folder.check_place()

    def _made(self, name: str, make: Callable[[], bytes]) -> bytes | None:
        try:
            return make()
        except Exception as error:
            if Path(name).suffix not in _PICTURES:
                raise
            self.complete = False
            assert self.path is not None
            where = shown_path(self.path / name)
            options.fail_later(f"{where}: no picture ({reason(error)})")
            return None


def _content(folder: OpenFolder, name: str) -> bytes:
    with os.fdopen(folder.open(name, os.O_RDONLY), "rb") as file:
        return file.read()


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

    def save(
        self, folder: Folder, results: Sequence[Result], draw: Callable[[], Figure]
    ) -> None:
        """Write all files into a folder, and say so."""
        from npresnet.lens.shared.result import picture

        contents: dict[str, Callable[[], bytes]] = {
            name: partial(result.content, Path(name).suffix)
            for result, names in zip(results, self.data, strict=True)
            for name in names
        }
        contents[self.picture] = lambda: picture(draw(), Path(self.picture).suffix)
        folder.write(contents)


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
        click.echo(shown_lines(repr(result)))
