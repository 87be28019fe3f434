"""The picture of degradation: means over seeds, and curves by depth."""

import pytest

from npresnet.lens.degradation import Curve, Degradation, DegradationRow
from npresnet.lens.degradation.picture import degradation
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

RUNS = [
    ("plain", 8, 0, (2.0, 0.5), 0.05),
    ("plain", 8, 1, (2.0, 0.7), 0.07),
    ("plain", 20, 0, (2.2, 1.9), 0.6),
    ("resnet", 8, 0, (1.8, 0.4), 0.04),
]


def result(runs):
    rows, curves = [], []
    for kind, depth, seed, losses, error in runs:
        name = f"{kind}{depth}"
        figures = losses[-1], 0.1, 1.0, error, 1.0
        rows.append(DegradationRow(name, kind, depth, seed, *figures))
        curves.append(Curve(kind, depth, seed, losses, (0.2, 0.1), (None, error)))
    return Degradation(tuple(rows), tuple(curves), "digits", "quick", 1000, 2)


def test_lines_are_means_and_points_are_runs(tmp_path):
    figure = degradation(result(RUNS))
    style.save(figure, tmp_path / "degradation.png")
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
    visible = [axes.get_visible() for axes in degradation(result(RUNS[3:])).axes]
    assert visible == [True, True, True, False]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        degradation(result([]))
