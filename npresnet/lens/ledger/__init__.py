"""The gradient ledger: what comes into every block, where it goes, what comes out."""

from npresnet.lens.ledger.measure import ledger
from npresnet.lens.ledger.result import Ledger, LedgerRow

__all__ = [
    "Ledger",
    "LedgerRow",
    "ledger",
]
