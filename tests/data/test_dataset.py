import dataclasses

import numpy as np
import pytest

from npresnet.data import Dataset


def fields(**changes):
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (6, 2, 4, 3), dtype=np.uint8),
        "labels": np.array([0, 1, 2, 2, 1, 0]),
        "classes": ("cat", "dog", "owl"),
        "mean": (0.25, 0.5),
        "std": (0.125, 1.0),
        "name": "pets",
        **changes,
    }


def test_dataset_keeps_bytes_labels_and_float32_statistics():
    given = fields()
    data = Dataset(**given)
    assert data.images is given["images"] and data.labels is given["labels"]
    assert data.mean.dtype == data.std.dtype == np.float32
    np.testing.assert_array_equal(data.mean, [0.25, 0.5])
    np.testing.assert_array_equal(data.std, [0.125, 1.0])
    assert data.classes == ("cat", "dog", "owl")
    assert len(data) == 6


def test_dataset_keeps_a_mean_per_pixel():
    mean = np.random.default_rng(1).random((2, 4, 3))
    data = Dataset(**fields(mean=mean))
    np.testing.assert_array_equal(data.mean, mean.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"std: expected shape \(2,\).*, got \(2, 4, 3\)"
    ):
        Dataset(**fields(std=mean))


def test_dataset_fields_cannot_be_replaced():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dataset(**fields()).name = "other"


def test_dataset_repr_names_size_shape_and_classes():
    text = "Dataset('pets': 6 images of shape (2, 4, 3), 3 classes)"
    assert repr(Dataset(**fields())) == text


def test_dataset_makes_images_c_contiguous():
    given = fields()
    channels_last = given["images"].transpose(0, 2, 3, 1).copy()
    data = Dataset(**fields(images=channels_last.transpose(0, 3, 1, 2)))
    assert data.images.flags.c_contiguous
    np.testing.assert_array_equal(data.images, given["images"])


def test_dataset_may_be_empty():
    data = Dataset(**fields()).subset([])
    assert len(data) == 0
    assert data.images.shape == (0, 2, 4, 3) and data.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": [[1]]}, TypeError, "images: expected an ndarray, got list"),
        (
            {"images": np.zeros((6, 2, 4, 3), np.float32)},
            TypeError,
            "images: expected dtype uint8, got float32",
        ),
        (
            {"labels": np.zeros(6, np.int32)},
            TypeError,
            "labels: expected dtype int64, got int32",
        ),
        (
            {"images": np.zeros((6, 4, 3), np.uint8)},
            ValueError,
            "images: expected shape (N, C, H, W), got (6, 4, 3)",
        ),
        (
            {"images": np.zeros((6, 2, 0, 3), np.uint8)},
            ValueError,
            "images: expected shape (N, C, H, W), got (6, 2, 0, 3)",
        ),
        (
            {"labels": np.zeros((6, 1), np.int64)},
            ValueError,
            "labels: expected shape (6,), one per image, got (6, 1)",
        ),
        (
            {"labels": np.zeros(5, np.int64)},
            ValueError,
            "labels: expected shape (6,), one per image, got (5,)",
        ),
        (
            {"labels": np.array([0, 1, 3, 2, -1, 0])},
            ValueError,
            "labels: 2 of 6 are outside 0..2, the first is labels[2] = 3",
        ),
        ({"classes": "cat"}, TypeError, "classes: expected a sequence of str, got str"),
        ({"classes": ("a", "b", 3)}, TypeError, "classes: expected str, got int"),
        ({"classes": ()}, ValueError, "classes: expected at least one name, got none"),
        (
            {"mean": (0.5, 0.5, 0.5)},
            ValueError,
            "mean: expected shape (2,), one number per channel, or (2, 4, 3), one per "
            "pixel, got (3,)",
        ),
        (
            {"mean": (0.5, np.nan)},
            ValueError,
            "mean: expected finite numbers, got [0.5, nan]",
        ),
        (
            {"std": (0.5, 0.0)},
            ValueError,
            "std: expected positive numbers, got [0.5, 0.0]",
        ),
    ],
)
def test_dataset_says_what_does_not_fit(changes, error, message):
    with pytest.raises(error) as raised:
        Dataset(**fields(**changes))
    assert str(raised.value) == message


def test_subset_picks_images_and_labels_in_the_order_given():
    data = Dataset(**fields())
    picked = data.subset(np.array([4, 0, 4], np.uint8))
    np.testing.assert_array_equal(picked.images, data.images[[4, 0, 4]])
    np.testing.assert_array_equal(picked.labels, [1, 0, 1])
    assert picked.classes == data.classes and picked.name == data.name
    np.testing.assert_array_equal(picked.mean, data.mean)


def test_subset_is_a_copy():
    data = Dataset(**fields())
    before = data.images.copy()
    data.subset(range(6)).images[:] = 0
    np.testing.assert_array_equal(data.images, before)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        (
            [0, 6, -1],
            ValueError,
            "indices: 2 of 3 are outside 0..5, the first is indices[1] = 6",
        ),
        ([[0, 1]], ValueError, "indices: expected shape (M,), got (1, 2)"),
        (
            [True, False],
            TypeError,
            "indices: expected integers, got bool "
            "(np.flatnonzero turns a mask into indices)",
        ),
        (
            [0.0],
            TypeError,
            "indices: expected integers, got float64 "
            "(np.flatnonzero turns a mask into indices)",
        ),
    ],
)
def test_subset_says_what_does_not_fit(indices, error, message):
    with pytest.raises(error) as raised:
        Dataset(**fields()).subset(indices)
    assert str(raised.value) == message


def test_the_digest_is_that_of_images_labels_and_their_order():
    data = Dataset(**fields())
    digest = data.digest()
    assert Dataset(**fields()).digest() == digest
    assert len(digest) == 64

    pixel = data.images.copy()
    pixel[-1, -1, -1, -1] ^= 1
    label = data.labels.copy()
    label[-1] = (label[-1] + 1) % len(data.classes)
    flat = data.images.reshape(len(data), 1, 1, -1)
    others = [
        Dataset(**{**fields(), "images": pixel}),
        Dataset(**{**fields(), "labels": label}),
        Dataset(**{**fields(), "images": flat, "mean": (0.5,), "std": (1,)}),
        data.subset(range(len(data))[::-1]),
        data.subset(range(len(data) - 1)),
    ]
    assert len({digest, *(other.digest() for other in others)}) == 6
    assert Dataset(**{**fields(), "name": "other"}).digest() == digest
    assert len(data.subset([]).digest()) == 64
