"""Readings of an instrument while a model trains, and their history."""

from npresnet.lens.log.measure import Log
from npresnet.lens.log.result import History, LedgerHistory, SpectrumHistory

__all__ = [
    "History",
    "LedgerHistory",
    "Log",
    "SpectrumHistory",
]
