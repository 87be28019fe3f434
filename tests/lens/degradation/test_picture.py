"""Pictures of what depth does: responses of layers, and degradation."""

import numpy as np
import pytest

from npresnet.lens.degradation.picture import Training, degradation
from npresnet.lens.responses.picture import responses

RUNS = [
    Training("plain", 8, [2.0, 0.5], 0.05),
    Training("plain", 8, [2.0, 0.7], 0.07),
    Training("plain", 20, [2.2, 1.9], 0.6),
    Training("resnet", 8, [1.8, 0.4], 0.04),
]


def test_lines_are_means_and_points_are_runs(tmp_path):
    figure = degradation(RUNS, "digits", tmp_path / "degradation.png")
    loss, error, plain, residual = figure.axes
    means, points, *_ = loss.lines
    assert list(means.get_ydata()) == pytest.approx([0.6, 1.9])
    assert list(points.get_xdata()) == [8, 8, 20]
    assert list(points.get_ydata()) == [0.5, 0.7, 1.9]
    assert list(error.lines[0].get_ydata()) == pytest.approx([6, 60])
    assert list(plain.lines[0].get_ydata()) == pytest.approx([2.0, 0.6])
    assert plain.get_ylim() == residual.get_ylim()
    labels = [text.get_text() for text in plain.get_legend().get_texts()]
    assert labels == ["8 layers: 0.600", "20 layers: 1.900"]
    assert (tmp_path / "degradation.png").stat().st_size > 5000


def test_one_kind_alone_leaves_no_empty_axes():
    visible = [axes.get_visible() for axes in degradation(RUNS[3:], "").axes]
    assert visible == [True, True, True, False]


def test_several_networks_of_a_kind_are_told_apart(tmp_path):
    nets = [(f"Plain net, {n} layers", np.arange(1.0, n)) for n in (8, 14, 20)]
    figure = responses([("Residual net, 8 layers", np.ones(7)), *nets])
    upper, _ = figure.axes
    looks = {(line.get_color(), line.get_marker()) for line in upper.lines}
    assert len(looks) == 4
    assert "mean 4.00" in upper.get_legend().get_texts()[1].get_text()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        degradation([], "")
    with pytest.raises(ValueError, match="at least one"):
        responses([("a net", np.array([]))])
