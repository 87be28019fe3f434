"""The cost of a network; totals are checked in tests/models/test_counts.py."""

import csv
import dataclasses
import time

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.geometry import Geometry
from npresnet.backend.reference import im2col
from npresnet.lens.cost.torchvision_figures import published
from tests.lens.state import left_as_it_was
from tests.models.built import undrawn


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
        pytest.raises(ValueError, match=r"^conv1 \(Conv2d\): x must have 3 channels"),
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


def test_kept_bytes_are_those_of_the_caches():
    model = nr.nn.Sequential(
        nr.nn.Conv2d(3, 4, 3, padding=1),
        nr.nn.BatchNorm2d(4),
        nr.nn.ReLU(),
        nr.nn.Conv2d(4, 5, 1),
        nr.nn.MaxPool2d(2),
    )
    cost = nr.lens.cost(model.eval(), (3, 6, 5))
    images = 4 * 3 * 6 * 5
    norm = 4 * 4 * 6 * 5 + 2 * 4 * 4  # its input, mean and 1/std: those of training
    relu = 4 * 6 * 5 // 8  # a bit for each element
    rectified = 4 * 4 * 6 * 5
    winners = 4 * 5 * 3 * 2  # int32
    kept = [images, norm, relu, rectified, winners]
    assert [row.kept_bytes for row in cost.rows] == kept
    assert cost.to_dict()["kept_bytes"] == cost.kept_bytes == sum(kept)
    assert "kept for the backward pass" in cost.summary()


def test_an_array_that_two_layers_keep_counts_once():
    cost = nr.lens.cost(nr.models.resnet8(shortcut="B"), (3, 8, 8))
    rows = {row.name: row for row in cost.rows}
    assert rows["layer2.0.conv1"].kept_bytes == 4 * 16 * 8 * 8
    assert rows["layer2.0.downsample.0"].kept_bytes == 0  # it gets the same images


def test_a_relu_keeps_what_each_of_its_calls_does():
    cost = nr.lens.cost(nr.models.resnet8(dtype=np.float64), (3, 8, 8))
    rows = {row.name: row for row in cost.rows}
    assert rows["layer1.0.relu"].kept_bytes == 2 * 16 * 8 * 8 / 8
    assert rows["fc"].kept_bytes == 8 * 64  # what the average pooling handed it
    assert rows["avgpool"].kept_bytes == 0  # sizes only


def test_kept_bytes_are_known_where_batch_norm_needs_more_than_one_image():
    model = nr.nn.Sequential(nr.nn.Conv2d(2, 3, 3), nr.nn.BatchNorm2d(3))
    with left_as_it_was(model):
        conv, norm = nr.lens.cost(model, (2, 3, 3)).rows
    assert conv.kept_bytes == 4 * 2 * 3 * 3
    assert norm.kept_bytes == 4 * 3 + 2 * 4 * 3 // 2  # two images share mean and 1/std


def test_shares_of_the_peak_are_operations_per_second_over_it():
    cost = nr.lens.cost(nr.models.resnet8(), (3, 16, 16), repeats=1)
    for row in cost.rows:
        if row.macs:
            assert row.peak_share == pytest.approx(
                2 * row.macs / row.seconds / cost.peak
            )
        else:
            assert row.peak_share is None
    share = 2 * cost.macs / cost.seconds / cost.peak
    assert cost.peak_share == cost.to_dict()["peak_share"] == pytest.approx(share)
    assert f"{share:.1%} of {cost.peak / 1e9:.3g} GFLOP/s" in cost.summary()


def test_the_peak_is_a_speed_that_layers_come_near_to():
    cost = nr.lens.cost(nr.models.resnet8(), (3, 32, 32), repeats=3)
    assert 1e8 < cost.peak < 1e14
    shares = [row.peak_share for row in cost.rows if row.macs]
    assert all(0 < share < 8 for share in shares)  # Winograd's may exceed 1
    assert nr.lens.cost(nr.models.resnet8(), (3, 8, 8)).peak is None


def test_torchvisions_figures_stand_beside_those_counted_here():
    with nr.using_backend("reference"):  # compiles nothing
        cost = nr.lens.cost(nr.models.resnet18(), (3, 224, 224))
    assert cost.torchvision.parameters == cost.parameters
    assert cost.torchvision.gmacs == round(cost.macs / 1e9, 3)
    assert cost.to_dict()["torchvision"]["name"] == "resnet18"
    assert "torchvision's resnet18: 11,689,512 parameters, 1.814 G" in cost.summary()


@pytest.mark.parametrize(
    ("classes", "shape"), [(1000, (3, 64, 64)), (10, (3, 224, 224))]
)
def test_torchvision_says_nothing_about_other_networks(classes, shape):
    model = undrawn("resnet18", num_classes=classes)
    parameters = sum(parameter.size for parameter in model.parameters())
    assert published(parameters, shape) is None


def test_the_table_fits_on_a_terminal_and_csv_has_everything(tmp_path):
    cost = nr.lens.cost(undrawn("resnet50", num_classes=10), (3, 32, 32), repeats=1)
    assert max(map(len, repr(cost).splitlines())) <= 120
    cost.save(tmp_path / "cost.csv")
    with open(tmp_path / "cost.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in dataclasses.fields(cost.rows[0])]
    assert [int(row["kept_bytes"]) for row in rows] == [
        row.kept_bytes for row in cost.rows
    ]


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
    assert cost.kept_bytes is None
    assert "back ms" not in repr(cost)
    assert cost.peak_share > 0


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
    timed = ["time (s)", "backward (s)", "of peak (%)"] * repeats
    counted = ["parameters", "MACs", "outputs (bytes)", "kept (bytes)"]
    assert titles == [*counted, *timed]
    heights = [bar.get_height() for bar in figure.axes[1].containers[0]]
    assert heights == [row.macs for row in cost.rows]
    named = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert named == ["layer1", "layer2", "layer3"]
