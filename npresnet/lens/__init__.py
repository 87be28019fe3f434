"""Looking inside: instruments that leave a model as they found it.

Every instrument returns a `Result`: it prints as a table, draws itself with
``.plot()`` and goes to a file with ``.save(path)``. `Log` takes readings while a
model trains.

One folder for each: ``measure.py`` is the instrument, ``result.py`` what it returns,
``picture.py`` how that is drawn, ``command.py`` its place on the command line; in
``shared/`` stands what several of them use.
"""

from npresnet.lens import bugs
from npresnet.lens.activations import ActivationRow, Activations, activations
from npresnet.lens.cost import Cost, CostRow, cost
from npresnet.lens.degradation import (
    Curve,
    Degradation,
    DegradationRow,
    degradation,
)
from npresnet.lens.feature_maps import FeatureMaps, MapRow, feature_maps
from npresnet.lens.filters import FilterRow, Filters, filters
from npresnet.lens.grad_cam import GradCam, grad_cam
from npresnet.lens.landscape import Landscape, LandscapeRow, landscape
from npresnet.lens.ledger import Ledger, LedgerRow, ledger
from npresnet.lens.lesion import (
    DeletionRow,
    Lesions,
    RemovalRow,
    ReorderingRow,
    lesion,
)
from npresnet.lens.log import History, LedgerHistory, Log, SpectrumHistory
from npresnet.lens.program import Program, ProgramRow, program
from npresnet.lens.responses import ResponseRow, Responses, responses
from npresnet.lens.saliency import Saliency, saliency
from npresnet.lens.shared.looks import LookRow, Looks
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shared.result import Result
from npresnet.lens.shattered import Shattered, ShatteredRow, shattered
from npresnet.lens.spectrum import Spectrum, SpectrumRow, spectrum
from npresnet.lens.steps import Step, StepCheck, Steps, steps

__all__ = [
    "ActivationRow",
    "Activations",
    "Cost",
    "CostRow",
    "Curve",
    "Degradation",
    "DegradationRow",
    "DeletionRow",
    "FeatureMaps",
    "FilterRow",
    "Filters",
    "GradCam",
    "History",
    "Landscape",
    "LandscapeRow",
    "Ledger",
    "LedgerHistory",
    "LedgerRow",
    "Lesions",
    "Log",
    "LookRow",
    "Looks",
    "MapRow",
    "Program",
    "ProgramRow",
    "RemovalRow",
    "ReorderingRow",
    "ResponseRow",
    "Responses",
    "Result",
    "Saliency",
    "Shattered",
    "ShatteredRow",
    "Spectrum",
    "SpectrumHistory",
    "SpectrumRow",
    "Step",
    "StepCheck",
    "Steps",
    "activations",
    "bugs",
    "cost",
    "degradation",
    "feature_maps",
    "filters",
    "grad_cam",
    "landscape",
    "ledger",
    "lesion",
    "preserve_state",
    "program",
    "responses",
    "saliency",
    "shattered",
    "spectrum",
    "steps",
]
