"""A recipe's data: held-out images, and the mean that is subtracted."""

from dataclasses import replace

import numpy as np
import pytest

import npresnet as nr
from npresnet.training.sets import prepare
from tests.training.tiny import TINY


@pytest.fixture(scope="module")
def digits():
    return nr.data.digits()


def test_held_out_images_are_the_same_each_time_and_as_mixed_as_the_others(digits):
    train, test = digits
    recipe = TINY.changed(validation=250)
    sets = prepare(recipe, train, test)
    again = prepare(recipe, train, test)
    np.testing.assert_array_equal(sets.validation.images, again.validation.images)
    assert (len(sets.train), len(sets.validation)) == (1187, 250)
    assert sets.test is test
    # Every image is in one of the two.
    together = np.concatenate([sets.train.images, sets.validation.images])
    assert sorted(map(bytes, together)) == sorted(map(bytes, train.images))
    share = 250 / 1437
    for label in range(10):
        count = (train.labels == label).sum()
        assert abs((sets.validation.labels == label).sum() - share * count) <= 1


def test_nothing_is_held_out_unasked(digits):
    sets = prepare(TINY, *digits)
    assert sets.train is digits[0]
    assert sets.validation is None


def test_a_validation_set_that_is_given_takes_the_place_of_the_recipes(digits):
    train, test = digits
    own = test.subset(range(7))
    sets = prepare(TINY.changed(validation=250), train, test, own)
    assert sets.validation is own
    assert len(sets.train) == len(train)


def test_the_mean_at_every_pixel_is_that_of_the_images_learnt_from(digits):
    train, test = digits
    rng = np.random.default_rng(0)
    train = replace(train, images=rng.integers(0, 256, train.images.shape, np.uint8))
    recipe = TINY.changed(normalization="pixel", validation=100)
    sets = prepare(recipe, train, test)
    mean = (sets.train.images / 255).mean(axis=0)
    for dataset in sets:
        np.testing.assert_allclose(dataset.mean, mean, rtol=1e-6)
        assert dataset.mean.dtype == np.float32
        np.testing.assert_array_equal(dataset.std, np.ones(3))
    ((x, _),) = nr.data.batches(sets.train, len(sets.train), shuffle=False)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    # The data that were given are as they were.
    assert train.mean.shape == test.mean.shape == (3,)


def test_too_few_images_to_hold_out_are_named(digits):
    with pytest.raises(ValueError, match="validation: expected fewer than the 1437"):
        prepare(TINY.changed(validation=1437), *digits)
