"""The cost of a network; totals are checked in tests/models/test_counts.py."""

import numpy as np
import pytest

import npresnet as nr
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
