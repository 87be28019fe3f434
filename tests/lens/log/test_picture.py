"""Heat maps over time: cells end halfway between readings, and NaN stays blank."""

import numpy as np
import pytest

from npresnet.lens.log.picture import Panel, over_time
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

VALUES = np.array([[1.0, 10.0, np.nan], [0.0, 5.0, 1000.0]])


def test_cells_end_halfway_to_their_neighbours():
    panel = Panel("Norm", VALUES, "norm", "log")
    figure = over_time([panel], [0, 10, 40], "step", ["b", "a"], "a net")
    axes, bar = figure.axes
    (mesh,) = axes.collections
    assert list(mesh.get_coordinates()[0, :, 0]) == [-5, 5, 25, 55]
    assert mesh.norm.vmin == 1  # zeros are not on a log scale
    assert mesh.norm.vmax == 1000
    assert bar.get_ylabel() == "norm"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert axes.get_ylim() == (1.5, -0.5)  # row 0 is on top


def test_one_reading_and_all_blank_can_be_drawn(tmp_path):
    panels = [
        Panel("Nothing", np.full((1, 1), np.nan), "%"),
        Panel("Zero", np.zeros((1, 1)), "norm", "log"),
    ]
    path = tmp_path / "one.png"
    style.save(over_time(panels, [3], "epoch", ["only"], "a net"), path)
    assert path.stat().st_size > 5000


def test_what_does_not_fit_is_refused():
    panel = Panel("Norm", VALUES, "norm")
    with pytest.raises(ValueError, match=r"Norm: expected values of shape \(2, 2\)"):
        over_time([panel], [0, 1], "step", ["a", "b"], "a net")
    with pytest.raises(ValueError, match="at least one of each"):
        over_time([], [0], "step", ["a"], "a net")
