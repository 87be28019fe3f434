"""Evaluation: counts, mirror images, which class is taken for which."""

from dataclasses import replace

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import Evaluation, evaluate
from tests.training.small import new_model, small_data


@pytest.fixture(autouse=True)
def reference_backend():
    with nr.using_backend("reference"):
        yield


@pytest.fixture(scope="module")
def test_set():
    return small_data()[1]


def mirrored(dataset):
    return replace(dataset, images=dataset.images[..., ::-1])


def test_flip_takes_the_mean_of_the_logits_of_both_sides(test_set):
    model = new_model()
    one, other = evaluate(model, test_set), evaluate(model, mirrored(test_set))
    both = evaluate(model, test_set, flip=True)
    np.testing.assert_array_equal(both.logits, (one.logits + other.logits) / 2)
    assert not np.array_equal(both.logits, one.logits)
    assert both.correct == (both.logits.argmax(axis=1) == test_set.labels).sum()
    assert (both.flip, one.flip) == (True, False)
    # Either side is as good as the other.
    assert evaluate(model, mirrored(test_set), flip=True) == both


def test_flip_mirrors_the_image_and_not_the_mean_of_the_images(test_set, rng):
    mean = rng.random(test_set.images.shape[1:])
    lopsided = replace(test_set, mean=mean)
    model = new_model()
    both = evaluate(model, lopsided, flip=True)
    other = evaluate(model, mirrored(lopsided))
    one = evaluate(model, lopsided)
    np.testing.assert_array_equal(both.logits, (one.logits + other.logits) / 2)


def test_the_loss_is_the_mean_surprise_in_float64(test_set):
    result = evaluate(new_model(), test_set)
    logits = result.logits.astype(np.float64)
    log_sum = np.log(np.exp(logits).sum(axis=1))
    surprise = log_sum - logits[np.arange(len(logits)), result.labels]
    assert result.loss == pytest.approx(surprise.mean(), rel=1e-12)


def test_the_confusion_matrix_counts_labels_by_rows():
    logits = np.zeros((5, 3))
    logits[np.arange(5), [0, 1, 1, 2, 1]] = 1.0
    labels = np.array([0, 1, 0, 2, 2])
    result = Evaluation(3, 5, 1.0, False, logits, labels)
    np.testing.assert_array_equal(result.confusion(), [[1, 1, 0], [0, 1, 0], [0, 1, 1]])


def test_plain_values_say_whether_mirror_images_were_looked_at(test_set):
    answer = evaluate(new_model(), test_set, flip=True).to_dict()
    assert set(answer) == {"correct", "total", "accuracy", "loss", "flip"}
    assert answer["flip"] is True
