"""The picture of responses: networks of a kind are told apart."""

import numpy as np
import pytest

from npresnet.lens.responses import ResponseRow, Responses
from npresnet.lens.responses.picture import responses

pytestmark = pytest.mark.drawn  # pictures are what is tested here


def result(network, deviations):
    rows = tuple(ResponseRow("conv", float(value), 0.0, 1) for value in deviations)
    return Responses(rows, network, 8, False)


def test_several_networks_of_a_kind_are_told_apart():
    nets = [result(f"Plain net, {n} layers", np.arange(1.0, n)) for n in (8, 14, 20)]
    figure = responses([result("Residual net, 8 layers", np.ones(7)), *nets])
    upper, _ = figure.axes
    looks = {(line.get_color(), line.get_marker()) for line in upper.lines}
    assert len(looks) == 4
    assert "mean 4.00" in upper.get_legend().get_texts()[1].get_text()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        responses([])
    with pytest.raises(ValueError, match="at least one"):
        responses([result("a net", [])])
