"""The cost of a network; totals are checked in tests/models/test_counts.py."""

import time

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.geometry import Geometry
from npresnet.backend.reference import im2col
from tests.lens.state import left_as_it_was


def test_a_row_per_layer_with_hand_counted_numbers():
    cost = nr.lens.cost(nr.models.resnet8(shortcut="B"), (3, 32, 32))
    rows = {row.name: row for row in cost.rows}
    assert rows["conv1"].output_shape == (16, 32, 32)
    assert rows["conv1"].parameters == 16 * 3 * 9
    assert rows["conv1"].macs == 32 * 32 * 16 * 3 * 9
    assert rows["layer2.0.downsample.0"].macs == 16 * 16 * 32 * 16
    assert rows["layer2.0.relu"].calls == 2
    assert rows["fc"].output_shape == (10,)
    assert rows["fc"].parameters == 64 * 10 + 10
    assert "layer1.0.downsample" not in rows  # an identity costs nothing
    assert cost.parameters == 78_042
    assert cost.to_dict()["macs"] == cost.macs == 12_501_632


def test_groups_divide_the_multiplications():
    conv = nr.nn.Sequential(nr.nn.Conv2d(8, 12, 3, padding=1, groups=4, rng=0))
    assert nr.lens.cost(conv, (8, 5, 7)).macs == 5 * 7 * 12 * 2 * 9


def test_the_model_is_left_as_it_was():
    model = nr.models.resnet8(seed=1)
    model.layer2.eval()
    with left_as_it_was(model):
        nr.lens.cost(model, (3, 16, 16))
    with pytest.raises(RuntimeError, match="forward pass"):
        model.backward(np.ones((1, 10), np.float32))


def test_the_model_is_left_as_it_was_by_an_image_of_the_wrong_shape():
    model = nr.models.resnet8()
    with (
        pytest.raises(ValueError, match="weight must have shape"),
        left_as_it_was(model),
    ):
        nr.lens.cost(model, (4, 16, 16))


def test_bytes_are_those_of_parameters_and_of_all_outputs():
    cost = nr.lens.cost(nr.models.resnet8(dtype=np.float64), (3, 8, 8))
    rows = {row.name: row for row in cost.rows}
    assert rows["conv1"].parameter_bytes == 8 * 16 * 3 * 9
    assert rows["conv1"].output_bytes == 8 * 16 * 8 * 8
    assert rows["layer1.0.relu"].output_bytes == 2 * 8 * 16 * 8 * 8  # called twice
    assert cost.parameter_bytes == 8 * cost.parameters
    assert cost.output_bytes == sum(row.output_bytes for row in cost.rows)
    assert cost.seconds is None


def test_times_are_measured_per_layer_where_asked_for():
    model = nr.models.resnet8()
    with left_as_it_was(model):
        cost = nr.lens.cost(model, (3, 16, 16), repeats=3)
    assert all(row.seconds > 0 for row in cost.rows)
    assert cost.seconds == pytest.approx(sum(row.seconds for row in cost.rows))
    assert cost.to_dict()["seconds"] == cost.seconds
    assert " ms" in repr(cost)


def test_bytes_of_im2col_are_those_of_its_columns():
    conv = nr.nn.Conv2d(6, 4, (3, 2), stride=2, padding=1, groups=2, dtype=np.float64)
    rows = nr.lens.cost(nr.nn.Sequential(conv), (6, 9, 8)).rows
    x = np.zeros((1, 6, 9, 8))
    columns = im2col(x, Geometry.of((9, 8), (3, 2), 2, 1))
    assert rows[0].im2col_bytes == columns.nbytes
    assert nr.lens.cost(nr.models.resnet8(), (3, 8, 8)).rows[-1].im2col_bytes == 0


def test_backward_is_timed_where_there_is_one():
    model = nr.models.resnet8().eval()
    cost = nr.lens.cost(model, (3, 8, 8), repeats=2)
    assert all(row.backward_seconds > 0 for row in cost.rows)
    assert " and backward " in repr(cost)
    folded = nr.inference(model)
    with left_as_it_was(folded):
        cost = nr.lens.cost(folded, (3, 8, 8), repeats=2)
    assert cost.seconds > 0
    assert cost.backward_seconds is None


def test_a_slow_layer_is_found():
    model = nr.models.resnet8()
    forward = model.layer2[0].bn1.forward

    def slow(x):
        time.sleep(0.02)
        return forward(x)

    model.layer2[0].bn1.forward = slow
    rows = nr.lens.cost(model, (3, 8, 8), repeats=2).rows
    slowest = max(rows, key=lambda row: row.seconds)
    assert slowest.name == "layer2.0.bn1"
    assert slowest.seconds >= 0.02


@pytest.mark.parametrize("repeats", [0, 1])
def test_costs_are_drawn_layer_by_layer(repeats):
    cost = nr.lens.cost(nr.models.resnet8(), (3, 8, 8), repeats=repeats)
    figure = cost.plot()
    titles = [axes.get_ylabel() for axes in figure.axes]
    timed = ["time (s)", "backward (s)"] * repeats
    assert titles == ["parameters", "MACs", "outputs (bytes)", *timed]
    heights = [bar.get_height() for bar in figure.axes[1].containers[0]]
    assert heights == [row.macs for row in cost.rows]
    named = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert named == ["layer1", "layer2", "layer3"]
