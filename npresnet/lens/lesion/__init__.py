"""Lesions: what a trained network still knows with blocks deleted or swapped."""

from npresnet.lens.lesion.measure import lesion
from npresnet.lens.lesion.result import DeletionRow, Lesions, RemovalRow, ReorderingRow

__all__ = [
    "DeletionRow",
    "Lesions",
    "RemovalRow",
    "ReorderingRow",
    "lesion",
]
