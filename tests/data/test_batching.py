import itertools

import numpy as np
import pytest

from npresnet.data import Dataset, RandomCropFlip, batches, normalize, split


def numbered(N=23, classes=4):
    """Images that carry their own index as their pixels."""
    index = np.arange(N)
    images = np.repeat(index.astype(np.uint8), 2 * 4 * 4).reshape(N, 2, 4, 4)
    names = tuple("abcdefgh"[:classes])
    return Dataset(images, index % classes, names, (0.4, 0.6), (0.25, 0.5), "numbered")


def indices_of(x, data, **statistics):
    """Read the indices back out of normalised batches."""
    mean = statistics.get("mean", data.mean)[0]
    std = statistics.get("std", data.std)[0]
    return np.rint((x[:, 0, 0, 0] * std + mean) * 255).astype(int).tolist()


def order(data, size, **options):
    found = [
        indices_of(x, data)
        for x, _ in batches(data, size, **{"shuffle": True, "seed": 0, **options})
    ]
    return list(itertools.chain(*found))


def test_without_shuffle_every_image_comes_once_in_order():
    data = numbered()
    drawn = list(batches(data, 5, shuffle=False))
    assert [len(labels) for _, labels in drawn] == [5, 5, 5, 5, 3]
    x = np.concatenate([x for x, _ in drawn])
    np.testing.assert_array_equal(x, normalize(data.images, data.mean, data.std))
    labels = np.concatenate([labels for _, labels in drawn])
    np.testing.assert_array_equal(labels, data.labels)


def test_with_shuffle_every_image_comes_once_with_its_label():
    data = numbered()
    drawn = list(batches(data, 5, shuffle=True, seed=0, epoch=0))
    indices = [indices_of(x, data) for x, _ in drawn]
    assert sorted(itertools.chain(*indices)) == list(range(23))
    for chosen, (_, labels) in zip(indices, drawn, strict=True):
        np.testing.assert_array_equal(labels, data.labels[chosen])


def test_order_depends_on_seed_and_epoch_only():
    data = numbered()
    first = order(data, 5, seed=3, epoch=7)
    np.random.default_rng().random(5)
    list(batches(data, 4, shuffle=True, seed=0, epoch=0))
    assert order(data, 5, seed=3, epoch=7) == first
    assert order(data, 8, seed=3, epoch=7) == first
    augment = RandomCropFlip(padding=0)
    assert order(data, 5, seed=3, epoch=7, augment=augment) == first


def test_seeds_and_epochs_give_different_orders():
    data = numbered()
    keys = [(0, 0), (0, 1), (1, 0), (7, 0), (0, 7), (2**32, 0), (2**32 + 1, 0)]
    orders = {tuple(order(data, 5, seed=s, epoch=e)) for s, e in keys}
    assert len(orders) == len(keys)


def test_augmentation_of_a_batch_depends_on_seed_epoch_and_its_index_only():
    data = numbered(40)

    def draws(**options):
        """The numbers that an augmentation would see, batch by batch."""
        seen = []

        def augment(images, rng):
            seen.append(rng.integers(2**62))
            return images

        for _ in batches(data, 8, augment=augment, **options):
            pass
        return seen

    first = draws(shuffle=True, seed=1, epoch=2)
    assert len(set(first)) == 5
    assert draws(shuffle=False, seed=1, epoch=2) == first
    assert not set(draws(shuffle=True, seed=1, epoch=3)) & set(first)
    assert not set(draws(shuffle=True, seed=2, epoch=2)) & set(first)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 99])
def test_an_epoch_goes_on_at_any_batch_with_the_batches_that_it_lacks(start):
    data = numbered()  # 23 images: four batches of 5, one of 3
    options = {
        "shuffle": True,
        "seed": 1,
        "epoch": 2,
        "augment": RandomCropFlip(padding=1, cutout=2),
    }
    whole = list(batches(data, 5, **options))
    rest = list(batches(data, 5, start=start, **options))
    assert len(rest) == max(0, 5 - start)
    for (x, labels), (x_rest, labels_rest) in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(x_rest, x)
        np.testing.assert_array_equal(labels_rest, labels)


def test_crop_is_filled_with_the_mean_that_is_subtracted():
    images = np.zeros((6, 2, 4, 4), np.uint8)
    data = Dataset(images, np.zeros(6, np.int64), ("a",), (0.4, 0.6), (1, 1), "black")
    for mean in (None, (0.2, 0.8)):
        used = np.array(data.mean if mean is None else mean)[:, None, None]
        ((x, _),) = batches(
            data,
            6,
            shuffle=False,
            seed=0,
            epoch=0,
            augment=RandomCropFlip(padding=2),
            mean=mean,
        )
        black = np.isclose(x, -used)
        padding = np.abs(x) <= 0.5 / 255 + 1e-6
        assert (black ^ padding).all() and black.any() and padding.any()


def test_a_fill_that_was_given_stays():
    data = numbered(6)
    augment = RandomCropFlip(padding=3, flip=False, fill=(255, 255))
    ((x, _),) = batches(data, 6, shuffle=False, seed=0, epoch=0, augment=augment)
    assert np.isclose(x[:, 0].max(), (1 - 0.4) / 0.25)


def test_drop_last_leaves_out_the_smaller_batch_only():
    data = numbered()
    sizes = [len(t) for _, t in batches(data, 5, shuffle=False, drop_last=True)]
    assert sizes == [5, 5, 5, 5]
    even = data.subset(range(20))
    sizes = [len(t) for _, t in batches(even, 5, shuffle=False, drop_last=True)]
    assert sizes == [5, 5, 5, 5]
    assert list(batches(data, 24, shuffle=False, drop_last=True)) == []


def test_a_single_image_left_over_may_join_the_batch_before():
    data = numbered()
    one_left = data.subset(range(21))
    plain = list(batches(one_left, 5, shuffle=True, seed=0, epoch=0))
    joined = list(batches(one_left, 5, shuffle=True, seed=0, epoch=0, join_single=True))
    assert [len(labels) for _, labels in joined] == [5, 5, 5, 6]
    for part in (0, 1):  # images and labels
        ours = np.concatenate([batch[part] for batch in joined])
        np.testing.assert_array_equal(ours, np.concatenate([b[part] for b in plain]))
    later = list(
        batches(one_left, 5, shuffle=True, seed=0, epoch=0, join_single=True, start=3)
    )
    assert len(later) == 1
    np.testing.assert_array_equal(later[0][0], joined[3][0])
    # Nothing else joins: two images, none, the only one, or what is to be dropped.
    for count, size in ((22, 5), (20, 5), (1, 5), (7, 1)):
        few = data.subset(range(count))
        expected = [len(labels) for _, labels in batches(few, size, shuffle=False)]
        sizes = [
            len(labels)
            for _, labels in batches(few, size, shuffle=False, join_single=True)
        ]
        assert sizes == expected
    sizes = [
        len(labels)
        for _, labels in batches(
            one_left, 5, shuffle=False, join_single=True, drop_last=True
        )
    ]
    assert sizes == [5, 5, 5, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_have_the_dtype_asked_for(dtype):
    x, labels = next(batches(numbered(), 4, shuffle=True, seed=0, epoch=0, dtype=dtype))
    assert x.dtype == dtype and x.flags.c_contiguous
    assert labels.dtype == np.int64


def test_batches_use_the_statistics_given():
    data = numbered()
    mean, std = np.array([0.1, 0.2]), np.array([0.5, 2.0])
    ((x, _),) = batches(data, 23, shuffle=False, mean=mean, std=std, dtype=np.float64)
    np.testing.assert_array_equal(x, normalize(data.images, mean, std, np.float64))


def test_changing_a_batch_leaves_the_data_set_alone():
    data = numbered()
    images, labels = data.images.copy(), data.labels.copy()
    for x, kinds in batches(data, 5, shuffle=False):
        x[:], kinds[:] = 0, 0
    np.testing.assert_array_equal(data.images, images)
    np.testing.assert_array_equal(data.labels, labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"batch_size": 0},
            ValueError,
            "batch_size must be an int of at least 1, got 0",
        ),
        (
            {"batch_size": 2.0},
            TypeError,
            "batch_size must be an int of at least 1, got 2.0",
        ),
        ({"seed": -1}, ValueError, "seed must be an int of at least 0, got -1"),
        ({"start": -1}, ValueError, "start must be an int of at least 0, got -1"),
        ({"epoch": -1}, ValueError, "epoch must be an int of at least 0, got -1"),
        ({"seed": None}, ValueError, "seed: shuffle needs it, got None"),
        (
            {"shuffle": False, "augment": RandomCropFlip(), "epoch": None},
            ValueError,
            "epoch: augment needs it, got None",
        ),
        ({"augment": 3}, TypeError, "augment: expected a callable, got int"),
        (
            {"mean": (0.5,)},
            ValueError,
            "mean: expected shape (2,), one number per channel, or (2, 4, 4), one per "
            "pixel, got (1,)",
        ),
        (
            {"dtype": np.int64},
            TypeError,
            "dtype must be float32 or float64, got int64",
        ),
    ],
)
def test_batches_complain_at_the_call(options, error, message):
    usual = {"batch_size": 4, "shuffle": True, "seed": 0, "epoch": 0}
    with pytest.raises(error) as raised:
        batches(numbered(), **{**usual, **options})
    assert str(raised.value) == message


def test_split_is_stratified_and_holds_every_image_once():
    data = numbered(200, 4)
    rest, held_out = split(data, 20, seed=0)
    assert np.bincount(held_out.labels).tolist() == [5, 5, 5, 5]
    together = np.concatenate([rest.images, held_out.images])[:, 0, 0, 0]
    assert sorted(together.tolist()) == list(range(200))


@pytest.mark.parametrize("count", [1, 7, 50, 99])
def test_split_of_uneven_classes_is_within_one_of_their_share(count):
    rng = np.random.default_rng(4)
    labels = rng.choice(4, size=100, p=[0.05, 0.15, 0.3, 0.5])
    images = np.zeros((100, 1, 2, 2), np.uint8)
    data = Dataset(images, labels, tuple("abcde"), (0.5,), (1,), "uneven")  # no e
    rest, held_out = split(data, count, seed=1)
    assert (len(rest), len(held_out)) == (100 - count, count)
    share = np.bincount(labels, minlength=5) * count / 100
    got = np.bincount(held_out.labels, minlength=5)
    assert np.abs(got - share).max() < 1


def test_split_gives_what_rounding_leaves_to_the_classes_that_lost_most():
    labels = np.repeat([0, 1, 2, 3], [5, 15, 30, 50])
    images = np.zeros((100, 1, 2, 2), np.uint8)
    data = Dataset(images, labels, tuple("abcd"), (0.5,), (1,), "uneven")
    # Shares of 7: 0.35, 1.05, 2.1, 3.5. Shares of 12: 0.6, 1.8, 3.6, 6.0.
    assert np.bincount(split(data, 7, 0)[1].labels).tolist() == [0, 1, 2, 4]
    assert np.bincount(split(data, 12, 0)[1].labels).tolist() == [1, 2, 3, 6]


def test_split_keeps_the_order_and_depends_on_the_seed_only():
    data = numbered(100)
    rest, held_out = split(data, 20, seed=0)
    for part in (rest, held_out):
        assert (np.diff(part.images[:, 0, 0, 0].astype(int)) > 0).all()
    np.testing.assert_array_equal(split(data, 20, seed=0)[1].images, held_out.images)
    assert (split(data, 20, seed=1)[1].images != held_out.images).any()


@pytest.mark.parametrize(
    ("count", "seed", "error", "message"),
    [
        (0, 0, ValueError, "count must be an int of at least 1, got 0"),
        (23, 0, ValueError, "count: expected fewer than the 23 images, got 23"),
        (0.1, 0, TypeError, "count must be an int of at least 1, got 0.1"),
        (5, -1, ValueError, "seed must be an int of at least 0, got -1"),
    ],
)
def test_split_says_what_does_not_fit(count, seed, error, message):
    with pytest.raises(error) as raised:
        split(numbered(), count, seed)
    assert str(raised.value) == message
