"""Looking inside: instruments that leave a model as they found it."""

from npresnet.lens import bugs
from npresnet.lens.cost import Cost, CostRow, cost

__all__ = ["Cost", "CostRow", "bugs", "cost"]
