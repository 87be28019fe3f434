"""Learning-rate schedules: pure functions of the step number.

A schedule is called with the number of optimiser steps taken so far (0 for the
first) and returns the learning rate of the next one. It remembers nothing, so a
run that is continued at step k needs no more than k.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from npresnet import _arguments

# step number (0, 1, ...) -> learning rate
Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step.

    Parameters
    ----------
    lr : float
        The learning rate.
    """

    lr: float

    def __post_init__(self) -> None:
        _arguments.not_negative("lr", self.lr)

    def __call__(self, step: int) -> float:
        """Return the learning rate of step `step`."""
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """Multiply the learning rate by `gamma` at each milestone.

    Parameters
    ----------
    lr : float
        Learning rate of the first step.
    milestones : tuple of int
        Step numbers from which on the learning rate is lower, ascending.
    gamma : float, default 0.1
        The factor.

    Notes
    -----
    ``lr * gamma ** (number of milestones <= step)``, ``torch``'s ``MultiStepLR``
    counted in steps. He et al. 2016 (arXiv 1512.03385, section 4.2): lr 0.1, a
    tenth of it from step 32,000 and again from 48,000, stop at 64,000.

    Examples
    --------
    >>> paper = StepDecay(0.1, milestones=(32_000, 48_000))
    >>> [round(paper(step), 6) for step in (0, 31_999, 32_000, 48_000)]
    [0.1, 0.1, 0.01, 0.001]
    """

    lr: float
    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _arguments.not_negative("lr", self.lr)
        _arguments.not_negative("gamma", self.gamma)
        if not isinstance(self.milestones, tuple | list):
            raise TypeError(
                "milestones must be ascending step numbers, got "
                f"{_arguments.shown(self.milestones)}"
            )
        for milestone in self.milestones:
            _arguments.whole("milestones", milestone, 0)
        if list(self.milestones) != sorted(self.milestones):
            raise ValueError(
                f"milestones must be ascending step numbers, got {self.milestones}"
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of step `step`."""
        passed = sum(milestone <= step for milestone in self.milestones)
        return self.lr * self.gamma**passed


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `lr` down to `final_lr`, after a linear warm-up.

    Parameters
    ----------
    lr : float
        The highest learning rate.
    total_steps : int
        Number of steps; at ``step == total_steps`` the cosine has ended.
    warmup_steps : int, default 0
        The first steps rise in a straight line: step s has
        ``lr * (s + 1) / (warmup_steps + 1)``.
    final_lr : float, default 0.0
        Where the cosine ends.

    Notes
    -----
    With w warm-up steps out of T and t = (step - w) / (T - w)::

        final_lr + (lr - final_lr) * (1 + cos(pi * t)) / 2

    References
    ----------
    Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts;
    warm-up: Goyal et al. 2017, arXiv 1706.02677, section 2.2.
    """

    lr: float
    total_steps: int
    _: KW_ONLY
    warmup_steps: int = 0
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        _arguments.not_negative("lr", self.lr)
        _arguments.not_negative("final_lr", self.final_lr)
        _arguments.whole("total_steps", self.total_steps, 1)
        _arguments.whole("warmup_steps", self.warmup_steps, 0)
        if not 0 <= self.warmup_steps < self.total_steps:
            raise ValueError(
                "warmup_steps: expected 0 or more and fewer than total_steps, "
                f"{self.total_steps}; got {self.warmup_steps}"
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of step `step`."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / (self.warmup_steps + 1)
        length = self.total_steps - self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / length)
        return (
            self.final_lr
            + (self.lr - self.final_lr) * (1 + math.cos(math.pi * done)) / 2
        )


@dataclass(frozen=True)
class OneCycle:
    """Rise in a straight line to `lr`, then fall in a straight line.

    Parameters
    ----------
    lr : float
        The highest learning rate, the peak.
    total_steps : int
        Number of steps, at least 2; the last is ``total_steps - 1``.
    peak_at : float, default 0.3
        Share of the steps spent rising, in (0, 1).
    start_lr : float, optional
        Learning rate of the first step; `lr` / 25 where not given.
    final_lr : float, default 0.0
        Learning rate of the last step.

    Notes
    -----
    Equal to ``torch.optim.lr_scheduler.OneCycleLR`` with
    ``anneal_strategy="linear"``, ``pct_start=peak_at``,
    ``div_factor=lr / start_lr`` and ``final_div_factor=start_lr / final_lr``,
    except that the momentum stays as it is (PyTorch's ``cycle_momentum=False``).
    Smith and Topin rise and fall over equal times between two bounds, let the
    momentum run the opposite way, and then fall by some orders of magnitude in
    the last few steps; here the fall is one line.

    References
    ----------
    Smith and Topin 2017, arXiv 1708.07120, section 3.
    """

    lr: float
    total_steps: int
    _: KW_ONLY
    peak_at: float = 0.3
    start_lr: float | None = None
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        _arguments.not_negative("lr", self.lr)
        _arguments.whole("total_steps", self.total_steps, 2)
        _arguments.number(
            "peak_at", self.peak_at, "a share in (0, 1)", lambda x: 0 < x < 1
        )
        if self.start_lr is not None:
            _arguments.not_negative("start_lr", self.start_lr)
        _arguments.not_negative("final_lr", self.final_lr)

    def __call__(self, step: int) -> float:
        """Return the learning rate of step `step`."""
        start = self.lr / 25 if self.start_lr is None else self.start_lr
        last = self.total_steps - 1
        # In a run of few steps the rise may have no room: the peak comes first.
        peak = max(0.0, self.peak_at * self.total_steps - 1)
        if step < peak:
            return start + (self.lr - start) * step / peak
        done = min(1.0, (step - peak) / (last - peak))
        return self.lr + (self.final_lr - self.lr) * done
