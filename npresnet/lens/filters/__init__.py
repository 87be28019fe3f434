"""The first layer's filters, which can be looked at: they are pictures themselves."""

from npresnet.lens.filters.measure import filters
from npresnet.lens.filters.result import FilterRow, Filters

__all__ = [
    "FilterRow",
    "Filters",
    "filters",
]
