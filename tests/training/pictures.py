"""Runs without their pictures, which take most of a small run's time."""

from contextlib import contextmanager

import pytest

from npresnet import plots


@contextmanager
def not_drawn():
    """Let a run leave an empty ``curves.png``, and a report without curves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "learning_curves", lambda history, file: None)
        patch.setattr(plots, "curve_panels", lambda history: {})
        yield
