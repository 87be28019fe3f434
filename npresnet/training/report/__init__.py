"""``report.html``: what came of a run, on one page that needs no other file."""

from npresnet.training.report.page import write_report

__all__ = ["write_report"]
