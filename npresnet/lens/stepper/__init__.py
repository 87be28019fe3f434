"""The stepper: a backward pass, one operation at a time."""

from npresnet.lens.stepper.step import Step, StepRow
from npresnet.lens.stepper.steps import Steps, steps
from npresnet.lens.stepper.verdict import StepCheck, StepChecks

__all__ = ["Step", "StepCheck", "StepChecks", "StepRow", "Steps", "steps"]
