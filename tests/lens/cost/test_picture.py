"""Costs are drawn layer by layer; test_measure.py looks at the bars."""

import pytest

from npresnet.lens.cost.picture import costs


def test_stages_are_named_where_there_is_room(tmp_path):
    names = ["conv1", *[f"layer1.{i}" for i in range(30)], "fc"]
    columns = {"MACs": [1000.0] * 32}
    figure = costs(names, columns, "a net", tmp_path / "costs.png")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["layer1"]
    assert (tmp_path / "costs.png").exists()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="MACs: expected 2 numbers"):
        costs(["conv1", "fc"], {"MACs": [1.0]}, "a net")
    with pytest.raises(ValueError, match="at least one"):
        costs([], {}, "a net")
