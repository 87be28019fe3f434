"""Filters are the weights, and their pictures keep 0 in the middle."""

import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.filters.measure import filters
from tests.lens.state import left_as_it_was


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [("resnet8", 3, 3), ("plain8", 1, 3), ("resnet18", 1, 7)],
)
def test_they_are_the_first_convolutions_weights(name, channels, size):
    model = nr.models.create(name, in_channels=channels)
    with left_as_it_was(model):
        result = filters(model)
        result.plot()
    weight = model.conv1.weight.data
    assert np.array_equal(result.weights, weight)
    assert not np.shares_memory(result.weights, weight)
    assert result.layer == "conv1"
    assert weight.shape[1:] == (channels, size, size)
    norms = [row.norm for row in result.rows]
    assert norms == pytest.approx([np.linalg.norm(one) for one in weight])
    assert result.rows[5].smallest == weight[5].min()


def test_every_picture_has_a_scale_of_its_own_with_zero_in_the_middle():
    model = nr.models.resnet8()
    weight = model.conv1.weight.data
    weight[3] *= 1000
    weight[4] = 0
    weight[5, 0, 0, 0] = 0
    pictures = filters(model).pictures
    assert pictures.shape == (16, 3, 3, 3)
    assert pictures[5, 0, 0, 0] == 0.5
    assert (pictures[4] == 0.5).all()
    for k in (0, 3, 15):
        assert np.abs(pictures[k] - 0.5).max() == 0.5
        back = (pictures[k].transpose(2, 0, 1) - 0.5) * 2 * np.abs(weight[k]).max()
        np.testing.assert_allclose(back, weight[k], rtol=1e-4, atol=1e-4)


def test_of_equal_channels_the_sum_is_shown():
    model = nr.models.resnet8()
    result = filters(model, grey=True)
    expected = model.conv1.weight.data.sum(axis=1, keepdims=True)
    assert np.array_equal(result.weights, expected)
    assert result.pictures.shape == (16, 3, 3, 1)
    assert "1 channel, channels added up" in repr(result)


def test_a_folded_model_shows_folded_filters():
    model = nr.models.resnet8().eval()
    model.bn1.running_var[:] = 4 - model.bn1.eps
    result = filters(nr.inference(model))
    np.testing.assert_allclose(result.weights, model.conv1.weight.data / 2, rtol=1e-6)
    assert "Residual net, 8 layers" in repr(result)


def test_other_numbers_of_channels_are_data_but_no_picture(tmp_path):
    result = filters(nr.models.resnet8(in_channels=4))
    result.save(tmp_path / "filters.json")
    data = json.loads((tmp_path / "filters.json").read_text())
    assert np.shape(data["weights"]) == (16, 4, 3, 3)
    with pytest.raises(ValueError, match="1 or 3 channels to draw, got 4"):
        result.plot()


def test_what_has_no_filters_is_refused():
    with pytest.raises(ValueError, match="must have a convolution; ReLU has none"):
        filters(nr.nn.ReLU())
    with pytest.raises(TypeError, match="model must be a Module, got ndarray"):
        filters(np.zeros((16, 3, 3, 3)))
