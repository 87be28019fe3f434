"""Training: recipes, the loop, evaluation, and the run folder that it fills."""

from npresnet.training import recipes
from npresnet.training.evaluation import Evaluation, evaluate
from npresnet.training.fit import fit
from npresnet.training.interruption import TrainingInterrupted
from npresnet.training.loop import Run
from npresnet.training.recipe import Recipe
from npresnet.training.report import write_report
from npresnet.training.run_folder import RunFolder

__all__ = [
    "Evaluation",
    "Recipe",
    "Run",
    "RunFolder",
    "TrainingInterrupted",
    "evaluate",
    "fit",
    "recipes",
    "write_report",
]
