"""Looking inside: instruments that leave a model as they found it.

Every instrument returns a `Result`: it prints as a table, draws itself with
``.plot()`` and goes to a file with ``.save(path)``.
"""

from npresnet.lens import bugs
from npresnet.lens.cost import Cost, CostRow, cost
from npresnet.lens.result import Result
from npresnet.lens.untouched import untouched

__all__ = ["Cost", "CostRow", "Result", "bugs", "cost", "untouched"]
