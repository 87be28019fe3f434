"""Looking inside: instruments that leave a model as they found it.

Every instrument returns a `Result`: it prints as a table, draws itself with
``.plot()`` and goes to a file with ``.save(path)``. `Log` takes readings while a
model trains.
"""

from npresnet.lens import bugs
from npresnet.lens.cost import Cost, CostRow, cost
from npresnet.lens.history import History, LedgerHistory, SpectrumHistory
from npresnet.lens.ledger import Ledger, LedgerRow, ledger
from npresnet.lens.log import Log
from npresnet.lens.result import Result
from npresnet.lens.spectrum import Spectrum, SpectrumRow, spectrum
from npresnet.lens.stepper import Step, StepCheck, Steps, steps
from npresnet.lens.untouched import untouched

__all__ = [
    "Cost",
    "CostRow",
    "History",
    "Ledger",
    "LedgerHistory",
    "LedgerRow",
    "Log",
    "Result",
    "Spectrum",
    "SpectrumHistory",
    "SpectrumRow",
    "Step",
    "StepCheck",
    "Steps",
    "bugs",
    "cost",
    "ledger",
    "spectrum",
    "steps",
    "untouched",
]
