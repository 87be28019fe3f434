"""Thumbnails show the numbers that they are made of."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from npresnet.lens.steps.page.thumbnails import thumbnails


def pixels_of(drawn):
    start, _, data = drawn.uri.partition(",")
    assert start == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (drawn.width, drawn.height)
    return np.asarray(image.convert("RGBA"))


def test_maps_become_tiles_with_nothing_between(rng):
    array = rng.random((2, 4, 5, 3))
    drawn = thumbnails(array)
    pixels = pixels_of(drawn)
    assert pixels.shape == (5 * 2 + 1, 3 * 2 + 1, 4)  # two tiles across, two down
    assert not drawn.signed
    assert drawn.note == "all 4 channels of the first image"
    for i in range(4):
        top, left = i // 2 * 6, i % 2 * 4
        tile = pixels[top : top + 5, left : left + 3]
        assert (tile[..., 3] == 255).all()
        shade = tile[..., 0] / 255 * drawn.largest
        assert np.abs(shade - array[0, i]).max() < 0.02
    assert (pixels[5, :, 3] == 0).all()
    assert (pixels[:, 3, 3] == 0).all()


def test_signed_numbers_are_white_at_zero_and_unlike_on_both_sides():
    array = np.array([-2.0, -1, 0, 1, 2, 0]).reshape(1, 1, 2, 3)
    drawn = thumbnails(array)
    pixels = pixels_of(drawn)[..., :3].astype(int).reshape(-1, 3)
    assert drawn.signed
    assert drawn.largest == pytest.approx(2)
    assert pixels[2].min() > 240
    assert pixels[0, 0] > pixels[0, 2]  # orange to the left
    assert pixels[4, 2] > pixels[4, 1]  # violet to the right
    assert pixels[0].sum() < pixels[1].sum() < pixels[2].sum()  # and it reads in grey
    assert pixels[4].sum() < pixels[3].sum() < pixels[2].sum()


def test_large_maps_are_averaged_down_and_few_are_shown(rng):
    array = rng.random((1, 64, 112, 100))
    drawn = thumbnails(array, pixels=10_000, side=40)
    pixels = pixels_of(drawn)
    assert drawn.note == "4 of 64 channels of the first image"
    shown = pixels[:38, :34, 0] / 255 * drawn.largest
    mean = array[0, 0, :111, :99].reshape(37, 3, 33, 3).mean(axis=(1, 3))
    assert np.abs(shown[:37, :33] - mean).max() < 0.02


def test_vectors_are_rows_one_for_each_image(rng):
    for shape in ((7, 10), (7, 10, 1, 1)):
        drawn = thumbnails(rng.standard_normal(shape))
        assert (drawn.height, drawn.width) == (7, 10)
        assert drawn.note == "all 7 images, one a row"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_zeros_and_worse_are_drawn_too(value):
    assert thumbnails(np.full((1, 2, 3, 3), value)).width == 7
