"""Pictures of digits become like those of the data set, in every respect measured."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.data import handwriting
from npresnet.data.handwriting import like_digits

INK = np.concatenate(  # (1797, 8, 8), 0 to 16
    [np.rint(part.images[:, 0] * (16 / 255)) for part in nr.data.digits(channels=1)]
)


def test_the_data_sets_digits_are_as_they_are_said_to_be():
    assert (INK[:, 0].sum(axis=1) > 0).all()  # all of them fill the height,
    assert (INK[:, -1].sum(axis=1) > 0).all()
    columns = (INK.sum(axis=1) > 0).sum(axis=1)
    assert np.median(columns) == 6  # 20 to 24 of the 32 columns,
    weights = INK.sum(axis=(1, 2))
    assert weights.mean() == pytest.approx(handwriting._INK, abs=1)
    assert weights.std() / weights.mean() < 0.12  # with much the same weight,
    sides = INK[:, :, 0].sum(axis=1), INK[:, :, -1].sum(axis=1)
    assert (np.stack(sides) > 0).mean() < 0.1  # in the middle,
    border = np.concatenate(
        [INK[:, 0], INK[:, -1], INK[:, 1:-1, 0], INK[:, 1:-1, -1]], 1
    )
    assert np.median(border, axis=1).max() < 1  # on paper that can be told.


def stroke(height, width, thickness, size=(100, 90), at=(20, 30)):
    """Draw an angle, bright on dark."""
    picture = np.zeros(size, np.uint8)
    y, x = at
    picture[y : y + height, x : x + thickness] = 255
    picture[y : y + thickness, x : x + width] = 255
    return picture


@pytest.mark.parametrize("thickness", [1, 3, 8, 16])
@pytest.mark.parametrize(("height", "width"), [(60, 40), (24, 18), (9, 7)])
def test_ink_fills_the_height_in_the_middle_with_the_data_sets_weight(
    height, width, thickness
):
    if thickness > height / 3:
        thickness = height // 3
    digit = like_digits(stroke(height, width, thickness))
    assert digit.box == (30, 20, 30 + width, 20 + height)
    assert not digit.inverted
    ink = np.rint(digit.pixels * (16 / 255))
    assert ink.shape == (8, 8) and digit.pixels.dtype == np.uint8
    assert ink[0].any() and ink[-1].any()
    assert not ink[:, [0, -1]].any()
    assert ink.sum() == pytest.approx(handwriting._INK, rel=0.2)


def test_place_size_and_contrast_do_not_matter():
    plain = like_digits(stroke(40, 30, 5)).pixels
    for size, at in (((60, 50), (0, 0)), ((300, 90), (260, 60)), ((40, 30), (0, 0))):
        moved = stroke(40, 30, 5, size, at)
        np.testing.assert_array_equal(like_digits(moved).pixels, plain)
    faint = (stroke(40, 30, 5) // 4 + 100).astype(np.uint8)
    np.testing.assert_array_equal(like_digits(faint).pixels, plain)
    dark = 255 - stroke(40, 30, 5)
    digit = like_digits(dark)
    np.testing.assert_array_equal(digit.pixels, plain)
    assert digit.inverted
    twice = stroke(40, 30, 5).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(like_digits(twice).pixels, plain)


def test_a_one_stays_narrow():
    picture = np.zeros((60, 60), np.uint8)
    picture[10:50, 30:34] = 255
    columns = np.flatnonzero(like_digits(picture).pixels.any(axis=0))
    assert 2 <= len(columns) <= 4


@pytest.mark.parametrize("slant", [-0.4, -0.2, 0.2, 0.4])
def test_a_hand_that_leans_is_put_upright(slant):
    straight = stroke(60, 40, 8, size=(100, 140), at=(20, 50))
    leaning = np.zeros_like(straight)
    for row, ink in enumerate(straight):
        leaning[row] = np.roll(ink, round(slant * (row - 50)))
    difference = np.abs(
        like_digits(leaning).pixels.astype(int) - like_digits(straight).pixels
    )
    assert difference.mean() < 10  # of 255


def test_dust_is_left_out():
    picture = stroke(40, 30, 5)
    clean = like_digits(picture)
    picture[95, 3] = picture[4:6, 80:82] = 255
    dusty = like_digits(picture)
    assert dusty.box == clean.box
    np.testing.assert_array_equal(dusty.pixels, clean.pixels)
    # A digit of two pieces keeps both.
    picture[20:60, 70:74] = 255
    assert like_digits(picture).box == (30, 20, 74, 60)


def test_a_picture_of_the_data_sets_size_is_left_as_it_is():
    for part in nr.data.digits(channels=1):
        for image in part.images[::7, 0]:
            digit = like_digits(image)
            assert (digit.box, digit.inverted) == (None, False)
            np.testing.assert_array_equal(digit.pixels, image)
            digit = like_digits(255 - image)
            assert (digit.box, digit.inverted) == (None, True)
            np.testing.assert_array_equal(digit.pixels, image)


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (1, 500), (300, 200)])
def test_paper_alone_is_refused(shape, rng):
    paper = np.full(shape, 200, np.uint8)
    with pytest.raises(ValueError, match="no ink found"):
        like_digits(paper)
    with pytest.raises(ValueError, match="no ink found"):
        like_digits(paper + rng.integers(0, 8, shape, dtype=np.uint8))


@pytest.mark.parametrize(
    "shape", [(1, 2), (2, 1), (3, 5000), (5000, 3), (9, 9), (33, 31)]
)
def test_any_shape_of_picture_gives_a_digit(shape, rng):
    picture = np.zeros(shape, np.uint8)
    picture[shape[0] // 2, shape[1] // 2 :] = 255
    assert like_digits(picture).pixels.shape == (8, 8)
    noise = rng.integers(0, 256, shape, dtype=np.uint8)
    noise[0, 0], noise[-1, -1] = 0, 255
    assert like_digits(noise).pixels.shape == (8, 8)


def test_large_pictures_are_reduced_first():
    small = stroke(160, 120, 20, (1000, 800), (300, 200))
    digit = like_digits(small)
    large = like_digits(small.repeat(6, axis=0).repeat(6, axis=1))
    np.testing.assert_array_equal(large.pixels, digit.pixels)
    assert large.box == tuple(6 * side for side in digit.box)
