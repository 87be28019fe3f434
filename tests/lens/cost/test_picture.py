"""Costs are drawn layer by layer; test_measure.py looks at the bars."""

import pytest

from npresnet.lens.cost import Cost, CostRow
from npresnet.lens.cost.picture import costs
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here


def test_stages_are_named_where_there_is_room(tmp_path):
    names = ["conv1", *[f"layer1.{i}" for i in range(30)], "fc"]
    counts = (8, 4, 4), 10, 1000, 1, 40, 512, 0
    rows = tuple(
        CostRow(name, "Conv2d", *counts, None, None, None, None) for name in names
    )
    figure = costs(Cost((3, 8, 8), rows))
    style.save(figure, tmp_path / "costs.png")
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels == ["layer1"]
    assert (tmp_path / "costs.png").exists()


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="no layer"):
        costs(Cost((3, 8, 8), ()))
