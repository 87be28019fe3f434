"""The picture of activations: lines above, nested bars below, stages shaded."""

import pytest

from npresnet.lens.activations.picture import activations

NAMES = ["relu", "layer1.0.relu#1", "layer1.0.relu#2", "layer2.0.relu"]
MEANS, DEVIATIONS = [0.1, 0.2, 0.3, 0.4], [1.0, 0.5, 0.6, 0.7]
ZEROS, DEAD = [0.5, 0.6, 0.2, 0.9], [0.0, 0.25, 0.0, 0.125]


def test_lines_are_sizes_and_bars_are_shares(tmp_path):
    path = tmp_path / "activations.png"
    figure = activations(NAMES, MEANS, DEVIATIONS, ZEROS, DEAD, "a net", path)
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


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="one length above 0, got 4, 4, 4, 3, 4"):
        activations(NAMES, MEANS, DEVIATIONS, ZEROS[:3], DEAD, "")
    with pytest.raises(ValueError, match="one length above 0, got 0"):
        activations([], [], [], [], [], "")
