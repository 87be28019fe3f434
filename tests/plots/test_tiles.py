"""Tiles show every picture once, where its label is, on the right scale."""

import numpy as np
import pytest

from npresnet.plots import style, tiles


def test_every_picture_stands_under_its_label_and_none_overlaps(rng):
    pictures = rng.random((21, 3, 4, 3))
    (axes,) = tiles(pictures, [f"{k}" for k in range(21)], "s", "n").axes
    boxes = []
    for k, (image, text) in enumerate(zip(axes.images, axes.texts, strict=True)):
        np.testing.assert_array_equal(image.get_array(), pictures[k])
        left, right, bottom, top = image.get_extent()
        assert right - left == pytest.approx(1)
        assert top - bottom == pytest.approx(3 / 4)
        assert text.get_text() == f"{k}"
        assert text.get_position() == pytest.approx((left, top), abs=0.1)
        boxes.append((left, right, bottom, top))
    for i, (left, right, bottom, top) in enumerate(boxes):
        for other in boxes[:i]:
            apart = left > other[1] or right < other[0]
            assert apart or bottom > other[3] or top < other[2]


def test_numbers_share_one_scale(rng):
    numbers = rng.random((5, 2, 2, 1))
    numbers[3] *= 9
    axes, bar = tiles(numbers, list("abcde"), "s", "n", values="activation").axes
    top = numbers.max()
    assert {image.get_clim() for image in axes.images} == {(0, top)}
    assert axes.images[0].get_cmap().name == style.SEQUENTIAL
    assert bar.get_ylabel() == "activation"


def test_numbers_of_both_signs_have_zero_in_the_middle(rng):
    numbers = rng.random((2, 3, 3, 1)) - 0.9
    axes, _ = tiles(numbers, list("ab"), "s", "n", values="activation").axes
    far = np.abs(numbers).max()
    assert axes.images[1].get_clim() == (-far, far)
    assert axes.images[1].get_cmap().name == style.DIVERGING


def test_pictures_without_values_are_from_black_to_white(tmp_path):
    path = tmp_path / "tiles.png"
    (axes,) = tiles(np.full((1, 3, 3, 1), 0.5), ["0"], "s", "n", path=path).axes
    assert axes.images[0].get_clim() == (0, 1)
    assert axes.images[0].get_cmap().name == "gray"
    assert path.stat().st_size > 1000
    zeros = tiles(np.zeros((1, 3, 3, 1)), ["0"], "s", "n", values="activation")
    assert zeros.axes[0].images[0].get_clim() == (0, 1)


def test_what_does_not_fit_is_refused():
    for shape, values in (
        ((2, 3, 3), ""),
        ((2, 3, 3, 2), ""),
        ((2, 3, 3, 3), "v"),
        ((0, 3, 3, 1), ""),
    ):
        with pytest.raises(ValueError, match="pictures: expected shape"):
            tiles(np.zeros(shape), ["a"] * shape[0], "", "", values=values)
    with pytest.raises(ValueError, match="labels: expected 2"):
        tiles(np.zeros((2, 3, 3, 1)), ["a"], "", "")
