"""What the check of a step comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from npresnet.lens.shared.result import Result, column, plain


@dataclass(frozen=True)
class StepCheckRow:
    """One thing about a step that was compared.

    Attributes
    ----------
    name : str
        ``"input"``, or a parameter; ``"output"`` for the forward pass repeated, and
        ``"arrival"`` for the gradient that came.
    compared : str
        How much of it.
    error : float
        Largest error. Of an entry, in units of the gradient's largest magnitude; of a
        direction, in units of the gradient's norm.
    backward, differences : float or None
        The worst of the derivatives that were compared, both ways.
    """

    name: str = column("compared")
    compared: str = column("how much")
    error: float = column("error", ".1e")
    backward: float | None = column("backward", ".6g")
    differences: float | None = column("differences", ".6g")


@dataclass(frozen=True, repr=False)
class StepCheck(Result):
    """Whether a step is right, by central differences.

    Attributes
    ----------
    number, path, operation
        Of the step.
    rows : tuple of StepCheckRow
        For the input and every parameter; see there.
    tolerance : float
        Largest error allowed: 1e-6 where the network computes in float64, 1e-3 in
        float32.
    """

    number: int
    path: str
    operation: str
    rows: tuple[StepCheckRow, ...]
    tolerance: float

    @property
    def max_error(self) -> float:
        """Largest error of all rows; NaN where there is one."""
        errors = [row.error for row in self.rows]
        return math.nan if any(map(math.isnan, errors)) else max(errors)

    @property
    def passed(self) -> bool:
        """Whether every error is within the tolerance."""
        return bool(self.max_error <= self.tolerance)

    def __bool__(self) -> bool:
        return self.passed

    def summary(self) -> str:
        """Say in a line whether the step is right, and how far off it is."""
        if self.passed:
            verdict = "passed"
        else:
            wrong = [row for row in self.rows if not row.error <= self.tolerance]
            verdict = f"FAILED for {', '.join(row.name for row in wrong)}"
        tried = ", ".join(f"{row.name} ({row.compared})" for row in self.rows)
        return (
            f"step {self.number}, {self.path}, {self.operation}: {verdict}; largest "
            f"error {self.max_error:.1e}, allowed {self.tolerance:.0e}; {tried}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        verdict = {"max_error": plain(self.max_error), "passed": self.passed}
        return {**super().to_dict(), **verdict}

    def __repr__(self) -> str:
        return self.summary()


@dataclass(frozen=True)
class _CheckedStep:
    number: int = column("step")
    path: str = column("path")
    operation: str = column("operation")
    max_error: float = column("largest error", ".1e")
    tolerance: float = column("allowed", ".0e")
    passed: bool = column("passed")


@dataclass(frozen=True, repr=False)
class StepChecks(Result):
    """Whether steps are right, one row each.

    Attributes
    ----------
    checks : tuple of StepCheck
        In the order of the steps.
    """

    checks: tuple[StepCheck, ...]

    @property
    def rows(self) -> tuple[_CheckedStep, ...]:  # type: ignore[override]
        """A row per step."""
        return tuple(
            _CheckedStep(
                one.number,
                one.path,
                one.operation,
                one.max_error,
                one.tolerance,
                one.passed,
            )
            for one in self.checks
        )

    @property
    def failed(self) -> tuple[StepCheck, ...]:
        """The checks that were not passed."""
        return tuple(one for one in self.checks if not one.passed)

    @property
    def passed(self) -> bool:
        """Whether all were."""
        return not self.failed

    def __bool__(self) -> bool:
        return self.passed

    def summary(self) -> str:
        """Say how many steps are right, and what is wrong with the others."""
        right = len(self.checks) - len(self.failed)
        lines = [f"{right} of {len(self.checks)} steps passed"]
        return "\n".join([*lines, *(one.summary() for one in self.failed)])
