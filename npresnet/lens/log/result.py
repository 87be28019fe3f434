"""Ledgers and spectra over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.ledger.result import Ledger
from npresnet.lens.log.measure import Log, Reading
from npresnet.lens.shared.passes import batch_note
from npresnet.lens.shared.result import Result, Table
from npresnet.lens.spectrum.result import Spectrum

if TYPE_CHECKING:
    from npresnet.plots.style import Figure


@dataclass(frozen=True, repr=False)
class History(Result):
    """Readings of one instrument, moment by moment.

    Attributes
    ----------
    unit : str
        What moments count: ``"step"`` or ``"epoch"``.
    moments : tuple of int
        When the readings were taken.
    readings : tuple of Result
        What was read.
    """

    unit: str
    moments: tuple[int, ...]
    readings: tuple[Any, ...]

    @classmethod
    def of(cls, log: Log[Reading]) -> Self:
        """Make a history of what a log has read so far.

        Raises
        ------
        ValueError
            If it has read nothing yet.
        """
        if not log.moments:
            raise ValueError("log: expected at least one reading, got none")
        return cls(log.unit, tuple(log.moments), tuple(log.readings))

    def records(self) -> Table:
        """Return the rows of all readings, each with its moment."""
        tables = [Table.of(reading.rows) for reading in self.readings]
        values = [
            (moment, *row)
            for moment, table in zip(self.moments, tables, strict=True)
            for row in table.values
        ]
        first = tables[0]
        return Table(
            (self.unit, *first.names),
            (self.unit, *first.titles),
            ("", *first.forms),
            tuple(values),
        )

    def _table_of(self, *columns: tuple[str, str, str]) -> Table:
        """Make a table with a line per moment of fields: name, title and form."""
        names, titles, forms = zip(*columns, strict=True)
        values = [
            (moment, *(getattr(reading, name) for name in names))
            for moment, reading in zip(self.moments, self.readings, strict=True)
        ]
        return Table(
            (self.unit, *names), (self.unit, *titles), ("", *forms), tuple(values)
        )

    def _matrix(self, name: str) -> NDArray[np.float64]:
        """Collect a field of the rows: (rows, moments), NaN for None."""
        columns = [
            [getattr(row, name) for row in reading.rows] for reading in self.readings
        ]
        return np.array(columns, dtype=np.float64).T

    def _subject(self) -> str:
        first = self.readings[0]
        return f"{first.network}, {batch_note(first.images, first.training)}"


class LedgerHistory(History):
    """Ledgers over time: how the gradient's way through the blocks changes."""

    readings: tuple[Ledger, ...]

    def table(self) -> Table:
        """Return a line per moment: the loss, and the gradient's ends."""
        return self._table_of(
            ("loss", "loss", ".4f"),
            ("grad_logits_norm", "|grad_logits|", ".3e"),
            ("grad_images_norm", "|grad_images|", ".3e"),
        )

    def plot(self) -> Figure:
        """Draw the norm, what the ReLUs stop, and what takes the shortcut."""
        from npresnet.lens.log.picture import Panel, over_time

        # The last block on top, as in the river: gradients come from there.
        norms = self._matrix("grad_output_norm")[::-1]
        panels = [
            Panel("Norm that comes", norms, "norm of grad_output", "log"),
            Panel(
                "Stopped by the ReLU",
                100 * self._matrix("stopped_share")[::-1],
                "share of the norm (%)",
            ),
        ]
        shortcut = self._matrix("grad_shortcut_norm")[::-1] ** 2
        branch = self._matrix("grad_branch_norm")[::-1] ** 2
        if np.isfinite(shortcut).any():
            both = shortcut + branch
            share = np.divide(
                shortcut, both, out=np.full_like(both, np.nan), where=both > 0
            )
            unit = "share of the squared norms (%)"
            panels.append(Panel("Along the shortcut", 100 * share, unit))
        names = [row.name for row in reversed(self.readings[0].rows)]
        return over_time(panels, self.moments, self.unit, names, self._subject())


class SpectrumHistory(History):
    """Spectra over time: how long the paths are that the gradient takes."""

    readings: tuple[Spectrum, ...]

    def table(self) -> Table:
        """Return a line per moment: the loss, and the mean path length."""
        return self._table_of(
            ("loss", "loss", ".4f"),
            ("gradient_norm", "|gradient|", ".3e"),
            ("mean_branches", "branches crossed", ".2f"),
            ("shortcut_share", "shortcuts alone", "z.2%"),
            ("total_error", "sum is off by", ".1e"),
        )

    def plot(self) -> Figure:
        """Draw the share and the norm of every path length."""
        from npresnet.lens.log.picture import Panel, over_time

        share, norm = self._matrix("share"), self._matrix("norm")
        panels = [
            Panel("Share of the gradient", 100 * share, "share (%)"),
            Panel("Norm of the part", norm, "norm", "log"),
        ]
        names = [f"{row.branches}" for row in self.readings[0].rows]
        return over_time(
            panels,
            self.moments,
            self.unit,
            names,
            self._subject(),
            row_unit="residual branches crossed",
        )
