"""The numbers of a run: a row per epoch, in ``metrics.csv`` and read back from it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from npresnet.untrusted.files import read_bytes, shown_path
from npresnet.untrusted.text import abridged

_MOST_BYTES = 16 << 20  # an epoch takes about a hundred

# A row of metrics.csv. None: not measured in that epoch.
Row = dict[str, float | None]


def measured(row: Mapping[str, float | None], name: str) -> float:
    """Return a value of a row.

    Raises
    ------
    ValueError
        If it was not measured in that epoch.
    """
    value = row.get(name)
    if value is None:
        raise ValueError(f"epoch {row.get('epoch')}: expected a {name}, found none")
    return value


def total(history: Iterable[Mapping[str, float | None]], name: str) -> float:
    """Add a value up over all epochs, such as ``seconds``."""
    return sum(measured(row, name) for row in history)


def read_metrics(path: Path, needed: Iterable[str] = ()) -> list[Row]:
    """Read a run's ``metrics.csv``.

    Parameters
    ----------
    path : Path
        The file.
    needed : iterable of str
        What every row has to have.

    Returns
    -------
    list of dict
        One row per epoch, as ``Run.history`` has them, rounded to the digits of the
        file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has no epoch, a value is not a number, or one of `needed` is missing.
    """
    name = shown_path(path)
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not a table of numbers ({error})") from None
    try:
        head, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(f"{name}: not a table of numbers ({error})") from None
    except ValueError:  # not even a head
        head, lines = [], []
    if not lines or "epoch" not in head or len(set(head)) < len(head):
        raise ValueError(f"{name}: expected a row per epoch, found none")
    rows = []
    for epoch, cells in enumerate(lines, 1):
        try:
            row = _row(head, cells, epoch, needed)
        except ValueError as error:
            raise ValueError(
                f"{name}: row {epoch}: not a table of numbers ({error})"
            ) from None
        rows.append(row)
    return rows


def _row(head: list[str], cells: list[str], epoch: int, needed: Iterable[str]) -> Row:
    if len(cells) != len(head):
        raise ValueError(f"expected {len(head)} values, found {len(cells)}")
    row: Row = {}
    for name, text in zip(head, cells, strict=True):
        try:
            row[name] = _number(text)
        except ValueError:
            raise ValueError(
                f"{abridged(name)}: {abridged(text)} is none, or not finite"
            ) from None
    if row["epoch"] != epoch:
        raise ValueError(f"'epoch': expected {epoch}, found {row['epoch']}")
    for name in needed:
        if row.get(name) is None:
            raise ValueError(f"expected a value for {name!r}, found none")
    for name, value in row.items():
        most = 1.0 if name.endswith("_accuracy") else math.inf
        if value is not None and not 0 <= value <= most:
            wanted = "from 0 to 1" if most == 1 else "of at least 0"
            raise ValueError(f"{abridged(name)}: expected a number {wanted}")
    return row


def _number(text: str) -> float | None:
    if text == "":
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(text) if text.isascii() and text.isdigit() else value
