"""The stepper: a backward pass, one operation at a time."""

from npresnet.lens.steps.facts import StepRow
from npresnet.lens.steps.measure import steps
from npresnet.lens.steps.result import Steps
from npresnet.lens.steps.step import Step
from npresnet.lens.steps.verdict import StepCheck, StepChecks

__all__ = [
    "Step",
    "StepCheck",
    "StepChecks",
    "StepRow",
    "Steps",
    "steps",
]
