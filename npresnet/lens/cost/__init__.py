"""What a network costs: parameters, multiplications, bytes and time, layer by layer."""

from npresnet.lens.cost.measure import cost
from npresnet.lens.cost.result import Cost, CostRow

__all__ = [
    "Cost",
    "CostRow",
    "cost",
]
