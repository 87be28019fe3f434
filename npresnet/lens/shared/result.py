"""What an instrument returns: numbers that print, draw and save themselves.

An instrument's result is a frozen dataclass that inherits from `Result`; if it has
rows, each is a frozen dataclass whose fields are declared with `column`. From those
declarations come the table in a terminal, the table in a notebook, ``.to_dict()``,
and the ``.json``, ``.csv`` and picture files of ``.save(path)``.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from npresnet._files import replacing
from npresnet._tables import columns

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

PICTURES = (".png", ".svg", ".pdf")


def column(title: str, form: str = "") -> Any:
    """Declare a field of a row: how its column is headed and its values written.

    Parameters
    ----------
    title : str
        Head of the column, with its unit if it has one.
    form : str
        Format specification, such as ``".1%"`` or ``",d"``; by default numbers have
        four digits, tuples are joined by ``x``, and None is left empty.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Row:
    ...     name: str = column("block")
    ...     stopped: float = column("stopped", ".1%")
    """
    return dataclasses.field(metadata={"title": title, "form": form})


class Result:
    """Base of all results; a subclass is a dataclass with ``frozen=True, repr=False``.

    A subclass with a field ``rows`` gets its table from it. One without overrides
    `table`. A subclass that can be drawn overrides `plot`, and one that has more to
    say than its rows overrides `summary`.
    """

    ENDINGS: ClassVar[tuple[str, ...]] = (".json", ".csv", *PICTURES)  # for `save`

    rows: Sequence[Any]

    def summary(self) -> str:
        """Say in a line or two what the rows come to."""
        return ""

    def plot(self) -> Figure:
        """Draw the result.

        Raises
        ------
        TypeError
            If there is no picture of it.
        """
        raise TypeError(f"there is no picture of a {type(self).__name__}")

    def table(self) -> Table:
        """Return the rows as a table."""
        return Table.of(self.rows)

    def records(self) -> Table:
        """Return what a ``.csv`` file gets: the table, unless there is more to say."""
        return self.table()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, ready for JSON.

        Numbers that are not finite become None, because JSON has none.
        """
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file, whole or not at all.

        Parameters
        ----------
        path : path
            Its ending decides: ``.json`` for everything, ``.csv`` for the records,
            ``.png``, ``.svg`` or ``.pdf`` for the picture. A file of that name is
            replaced once the new one is complete.

        Raises
        ------
        ValueError
            If the ending is another.
        FileNotFoundError
            If the folder does not exist.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in self.ENDINGS:
            raise ValueError(
                f"{target}: expected a name that ends in {', '.join(self.ENDINGS)}, "
                f"got {target.suffix!r}"
            )
        if not target.parent.is_dir():
            raise FileNotFoundError(f"{target.parent}: there is no such folder")
        content = self.content(suffix)
        with replacing(target) as file:
            file.write(content)

    def content(self, ending: str) -> bytes:
        """Return what `save` writes into a file whose name ends so."""
        if ending in PICTURES:
            return picture(self.plot(), ending)
        if ending == ".csv":
            return self.records().csv().encode()
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        return text.encode()

    def __repr__(self) -> str:
        parts = [str(self.table()), self.summary()]
        return "\n\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        lines = [f"<p>{html.escape(line)}</p>" for line in self.summary().splitlines()]
        return self.table().html() + "".join(lines)


@dataclass(frozen=True)
class Table:
    """Columns with a head, for a terminal, a notebook or a CSV file.

    Attributes
    ----------
    names : tuple of str
        One word per column, for the CSV file's header.
    titles : tuple of str
        Heads for people.
    forms : tuple of str
        Format specifications; see `column`.
    values : tuple of tuple
        The rows.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...]
    forms: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Table:
        """Make a table of dataclasses of one kind."""
        if not rows:
            return cls((), (), (), ())
        fields = dataclasses.fields(rows[0])
        names = tuple(field.name for field in fields)
        titles = [field.metadata.get("title", field.name) for field in fields]
        forms = [field.metadata.get("form", "") for field in fields]
        values = tuple(tuple(getattr(row, name) for name in names) for row in rows)
        return cls(names, tuple(titles), tuple(forms), values)

    def cells(self) -> list[list[str]]:
        """Return the rows as text."""
        return [
            [_cell(value, form) for value, form in zip(row, self.forms, strict=True)]
            for row in self.values
        ]

    def to_right(self) -> list[bool]:
        """Tell which columns hold numbers, which stand to the right."""
        return [
            all(_is_number(value) or value is None for value in values)
            for values in zip(*self.values, strict=True)
        ]

    def __str__(self) -> str:
        cells, to_right = self.cells(), self.to_right()
        if not cells:
            return ""
        return columns([self.titles, *cells], to_right)

    def html(self) -> str:
        """Write the table for a notebook."""
        sides = ["right" if right else "left" for right in self.to_right()]

        def line(texts: Sequence[str], tag: str) -> str:
            cells = "".join(
                f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'
                for text, side in zip(texts, sides, strict=True)
            )
            return f"<tr>{cells}</tr>"

        if not sides:
            return ""
        head = line(self.titles, "th")
        body = "".join(line(texts, "td") for texts in self.cells())
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"

    def csv(self) -> str:
        """Write the table as CSV: all digits of every number, empty for None."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.names)
        for row in self.values:
            writer.writerow([_csv(value) for value in row])
        return text.getvalue()


def picture(figure: Figure, ending: str) -> bytes:
    """Return a picture as a file holds it; the ending decides the format."""
    from npresnet.plots import style

    file = io.BytesIO()
    style.save(figure, file, format=ending.removeprefix("."))
    return file.getvalue()


def plain(value: Any) -> Any:
    """Turn dataclasses, arrays and NumPy's scalars into what JSON knows.

    Examples
    --------
    >>> plain({"norms": np.array([1.5, np.inf]), "shape": (3, 32, 32)})
    {'norms': [1.5, None], 'shape': [3, 32, 32]}
    """
    if isinstance(value, Result):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"expected plain data, arrays or dataclasses, got {type(value)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _cell(value: Any, form: str) -> str:
    if value is None:
        return ""
    if form:
        return format(value, form)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _csv(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return value.item() if isinstance(value, np.generic) else value
