"""Runs and commands without their pictures, which take most of a small one's time."""

import hashlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D
from matplotlib.text import Text

from npresnet import plots
from npresnet.plots import style

_save = style.save


@contextmanager
def not_drawn():
    """Let a run leave an empty ``curves.png``, and a report without curves.

    Figures are made as ever, but what is saved in a PNG file is a digest of what is
    shown.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "learning_curves", lambda history, file: None)
        patch.setattr(plots, "curve_panels", lambda history: {})
        patch.setattr(style, "save", _save_digest)
        yield


def _save_digest(figure, path, dpi=150, *, format="png"):
    is_open = hasattr(path, "write")
    if (format if is_open else Path(path).suffix.lower()) not in ("png", ".png"):
        return _save(figure, path, dpi, format=format)
    shown = hashlib.sha256()
    for artist in figure.findobj():
        if isinstance(artist, Text):
            shown.update(artist.get_text().encode())
        elif isinstance(artist, Line2D):
            shown.update(artist.get_xydata().tobytes())
        elif isinstance(artist, ScalarMappable) and artist.get_array() is not None:
            shown.update(np.ma.filled(artist.get_array().astype(float), 0).tobytes())
    content = b"\x89PNG" + shown.digest()
    if is_open:
        path.write(content)
    else:
        Path(path).write_bytes(content)
