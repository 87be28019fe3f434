"""The numbers of a run: a row per epoch, in ``metrics.csv`` and read back from it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

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


def read_metrics(path: Path) -> list[Row]:
    """Read a run's ``metrics.csv``.

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
        If it has no epoch, or a value is not a number.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [
                {name: _number(text) for name, text in row.items()}
                for row in csv.DictReader(file, strict=True)
            ]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: not a table of numbers ({error})") from None
    if not rows or rows[0].get("epoch") is None:
        raise ValueError(f"{path}: expected a row per epoch, found none")
    return rows


def _number(text: str) -> float | None:
    if text == "":
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return int(value) if text.isdigit() else value
