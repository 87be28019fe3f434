"""The picture of activations: lines above, nested bars below, stages shaded."""

import pytest

from npresnet.lens.activations import ActivationRow, Activations
from npresnet.lens.activations.picture import activations
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

NAMES = ["relu", "layer1.0.relu#1", "layer1.0.relu#2", "layer2.0.relu"]
MEANS, DEVIATIONS = [0.1, 0.2, 0.3, 0.4], [1.0, 0.5, 0.6, 0.7]
ZEROS, DEAD = [0.5, 0.6, 0.2, 0.9], [0.0, 0.25, 0.0, 0.125]


def result(relus):
    columns = zip(NAMES[:relus], MEANS, DEVIATIONS, ZEROS, DEAD, strict=False)
    rows = [
        ActivationRow(name, "ReLU", (8, 4, 4), mean, deviation, zeros, 1, dead)
        for name, mean, deviation, zeros, dead in columns
    ]
    conv = ActivationRow("conv1", "Conv2d", (8, 4, 4), 7.0, 7.0, None, None, None)
    return Activations((conv, *rows), "a net", 8, False)


def test_lines_are_sizes_and_bars_are_shares(tmp_path):
    path = tmp_path / "activations.png"
    figure = activations(result(4))
    style.save(figure, path)
    upper, lower = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in upper.lines}
    assert lines == {"standard deviation": DEVIATIONS, "mean": MEANS}
    bars = {
        bar.get_label(): [patch.get_height() for patch in bar]
        for bar in lower.containers
    }
    assert bars["zeros"] == pytest.approx([100 * share for share in ZEROS])
    assert bars["dead channels"] == pytest.approx([100 * share for share in DEAD])
    assert lower.get_ylim() == (0, 100)
    labels = [label.get_text() for label in lower.get_xticklabels()]
    assert labels == ["relu", "layer1", "layer2"]
    assert "4 ReLUs" in lower.get_xlabel()
    assert path.stat().st_size > 5000


def test_a_network_without_relus_is_refused():
    with pytest.raises(ValueError, match="no ReLU"):
        activations(result(0))
