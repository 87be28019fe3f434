"""Looking inside: instruments that leave a model as they found it."""

from npresnet.lens.cost import Cost, CostRow, cost

__all__ = ["Cost", "CostRow", "cost"]
