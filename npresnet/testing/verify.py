"""Is everything right? Finite differences over all operations, layers, blocks, nets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npresnet._tables import columns
from npresnet.backend import using_backend
from npresnet.testing.cases import CASES, Case
from npresnet.testing.form import GradientError
from npresnet.testing.gradients import Measurement, measure, require

Progress = Callable[[int, int, str], None]

# Relative to the largest value of an array: both backends add up in float64, each in
# an order of its own.
_AGREEMENT = 1e-9

_HEADS = ("cases", "gradients", "worst error", "backends differ by", "seconds")
_EXPLANATION = """\
Each gradient of a backward pass, in float64, against a difference of forward passes:
  sum(grad * v)  and  (f(t + h*v) - f(t - h*v)) / (2*h)   along a random direction v\
"""


@dataclass
class VerifyRow:
    """What was found about one operation, layer, block or network.

    Attributes
    ----------
    kind, name : str
        See `npresnet.testing.cases.Case`.
    cases, checks : int
        How many cases there were, and how many gradients in them, in all backends.
    worst_error : float
        Largest relative error of a gradient, rounding included; NaN where a
        gradient was.
    worst_case : str
        Where that was.
    difference : float
        Largest distance of the backends' outputs and gradients, relative to the
        largest value of the array.
    seconds : float
        How long it took, compilation included.
    failures : list of str
        What is wrong, one text per case and backend.
    """

    kind: str
    name: str
    cases: int = 0
    checks: int = 0
    worst_error: float = 0.0
    worst_case: str = ""
    difference: float = 0.0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON takes it; what is not finite becomes None."""
        values = {**vars(self), "ok": self.ok}
        return {
            name: None if isinstance(v, float) and not math.isfinite(v) else v
            for name, v in values.items()
        }


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found; print it to see a table.

    Attributes
    ----------
    rows : list of VerifyRow
        One per operation, layer, block and network.
    backends : tuple of str
        What computed.
    seconds : float
        How long it took.
    """

    rows: list[VerifyRow]
    backends: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every gradient is right and the backends agree."""
        return all(row.ok for row in self.rows)

    @property
    def checks(self) -> int:
        """How many gradients were checked."""
        return sum(row.checks for row in self.rows)

    @property
    def worst(self) -> VerifyRow:
        """The row with the largest error."""
        return max(self.rows, key=lambda row: _rank(row.worst_error))

    @property
    def failures(self) -> list[str]:
        """What is wrong, one text per case and backend."""
        return [failure for row in self.rows for failure in row.failures]

    def summary(self) -> str:
        """Say in one line how much was checked and how well it went."""
        worst = self.worst
        where = f" ({worst.worst_case})" if worst.worst_case else ""
        wrong = [row.name for row in self.rows if not row.ok]
        verdict = f"FAILED: {', '.join(wrong)}; " if wrong else ""
        return (
            f"{verdict}{self.checks:,} gradients checked, worst relative error "
            f"{_short(worst.worst_error)}{where}, {self.seconds:.0f} s"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        worst = self.worst.to_dict()
        return {
            "ok": self.ok,
            "checks": self.checks,
            "worst_error": worst["worst_error"],
            "worst_case": worst["worst_case"],
            "seconds": self.seconds,
            "backends": list(self.backends),
            "rows": [row.to_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = []
        kind = ""
        for row in self.rows:
            if row.kind != kind:
                kind = row.kind
                lines += [("",) * (len(_HEADS) + 2), (kind, *_HEADS, "")]
            lines.append(
                (
                    row.name,
                    str(row.cases),
                    str(row.checks),
                    _short(row.worst_error),
                    _short(row.difference) if len(self.backends) > 1 else "-",
                    f"{row.seconds:.1f}",
                    "ok" if row.ok else "FAILED",
                )
            )
        table = columns(lines, (False, *(True for _ in _HEADS), False))
        failures = ["", *self.failures] if self.failures else []
        return "\n".join([_EXPLANATION, table, *failures, "", self.summary()])


def verify(
    backends: Sequence[str] = ("reference", "numba"),
    progress: Progress | None = None,
    *,
    cases: Sequence[Case] | None = None,
) -> VerifyReport:
    """Check every gradient of npresnet, in every backend, without any framework.

    Parameters
    ----------
    backends : sequence of str
        What computes; more than one are also compared with each other.
    progress : callable, optional
        Called before each case as ``progress(done, total, what)``.
    cases : sequence of Case, optional
        What to check; by default `npresnet.testing.cases.CASES`.

    Returns
    -------
    VerifyReport
        ``.ok`` is the answer, ``print(report)`` the table.

    Raises
    ------
    ValueError
        If a backend is unknown, or there is nothing to check.

    Notes
    -----
    It takes seconds once the kernels are compiled. See `check_gradients` for the
    method and `npresnet.testing.cases` for what is checked.

    Examples
    --------
    >>> import npresnet as nr
    >>> from npresnet.testing.cases import select
    >>> nr.testing.verify(["reference"], cases=select(["linear"])).ok
    True
    """
    cases = CASES if cases is None else cases
    if not backends or not cases:
        raise ValueError("verify needs at least one backend and one case")
    for backend in backends:
        with using_backend(backend):
            pass  # an unknown one is refused before anything runs
    rows: dict[tuple[str, str], VerifyRow] = {}
    began = time.perf_counter()
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done, len(cases), str(case))
        row = rows.setdefault((case.kind, case.name), VerifyRow(case.kind, case.name))
        start = time.perf_counter()
        _run(case, backends, row)
        row.seconds += time.perf_counter() - start
    return VerifyReport(
        list(rows.values()), tuple(backends), time.perf_counter() - began
    )


def _run(case: Case, backends: Sequence[str], row: VerifyRow) -> None:
    """Check a case in every backend and add what is found to its row."""
    row.cases += 1
    found: list[Measurement] = []
    for backend in backends:
        where = f"{case}, {backend}"
        try:
            with using_backend(backend):
                target, inputs = case.build()
                measurement = measure(target, inputs, rtol=case.rtol)
            found.append(measurement)
            for check in measurement.checks:
                row.checks += 1
                if _rank(check.raw_error) > _rank(row.worst_error):
                    row.worst_error, row.worst_case = check.raw_error, where
            require(measurement.checks, case.rtol)
        except GradientError as error:
            row.failures.append(f"FAILED {where}: {error}")
        except MemoryError:
            raise
        except Exception as error:  # whatever a broken operation raises: it failed
            row.failures.append(f"FAILED {where}: {type(error).__name__}: {error}")
    for other in found[1:]:
        _compare(case, found[0], other, row)


def _compare(case: Case, one: Measurement, other: Measurement, row: VerifyRow) -> None:
    """Compare what two backends computed for a case."""
    for name, expected in one.arrays.items():
        actual = other.arrays[name]
        if actual.shape != expected.shape:
            apart = math.inf
        else:
            scale = float(np.abs(expected).max()) or 1.0
            apart = float(np.abs(actual - expected).max()) / scale
        if _rank(apart) > _rank(row.difference):
            row.difference = apart
        if not apart <= _AGREEMENT:
            row.failures.append(
                f"FAILED {case}: the backends differ by {_short(apart)} in {name}"
            )


def _rank(error: float) -> float:
    """Order errors: NaN is the worst."""
    return math.inf if math.isnan(error) else error


def _short(error: float) -> str:
    """Write 3e-9 for 3e-09."""
    if not error or not math.isfinite(error):
        return f"{error:g}"
    mantissa, exponent = f"{error:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
