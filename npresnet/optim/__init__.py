"""Optimisers and learning-rate schedules: what turns gradients into steps.

Optimisers change ``param.data`` in place. Schedules are pure functions of the
step number: they keep no state, so a run continues from any step.
"""

from npresnet.optim.adamw import AdamW
from npresnet.optim.groups import parameter_groups
from npresnet.optim.optimizer import Optimizer
from npresnet.optim.schedules import Constant, Cosine, OneCycle, Schedule, StepDecay
from npresnet.optim.sgd import SGD

__all__ = [
    "SGD",
    "AdamW",
    "Constant",
    "Cosine",
    "OneCycle",
    "Optimizer",
    "Schedule",
    "StepDecay",
    "parameter_groups",
]
