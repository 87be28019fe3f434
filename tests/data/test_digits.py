import io
from importlib import resources

import numpy as np
import pytest

from npresnet.data import digits


def source():
    """The packed file: ink (1797, 8, 8) from 0 to 16, and labels (1797,)."""
    packed = resources.files("npresnet.data").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


def test_packed_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    ink, labels = source()
    assert ink.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(ink, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)


def test_digits_come_with_their_attribution():
    text = resources.files("npresnet.data").joinpath("DIGITS_ATTRIBUTION.md")
    assert "CC BY 4.0" in text.read_text(encoding="utf-8")


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_have_1437_training_and_360_test_images(channels):
    train, test = digits(channels)
    assert train.images.shape == (1437, channels, 8, 8)
    assert test.images.shape == (360, channels, 8, 8)
    assert train.classes == test.classes == tuple("0123456789")
    assert train.name == test.name == "digits"


def test_digits_are_repeated_to_three_channels_unless_told_otherwise():
    grey, colour = digits(channels=1)[0].images, digits()[0].images
    for c in range(3):
        np.testing.assert_array_equal(colour[:, c], grey[:, 0])


def test_digits_split_is_stratified():
    _, labels = source()
    _, test = digits()
    fifth = np.bincount(labels) / 5
    assert np.abs(np.bincount(test.labels) - fifth).max() < 1


def test_digits_splits_together_hold_every_image_once():
    ink, labels = source()
    train, test = digits(1)
    bytes_of_all = np.concatenate([train.images[:, 0], test.images[:, 0]])
    ink_again = np.rint(bytes_of_all * (16 / 255)).astype(np.uint8)
    labels_again = np.concatenate([train.labels, test.labels])

    def sortable(images, kinds):
        return sorted(zip(images.reshape(-1, 64).tolist(), kinds.tolist(), strict=True))

    assert sortable(ink_again, labels_again) == sortable(ink, labels)


def test_no_digit_is_in_both_splits():
    # The 1,797 images all differ, so equal pixels would be the same image.
    train, test = digits(1)
    seen = {image.tobytes() for image in train.images}
    assert len(seen) == len(train)
    assert not seen & {image.tobytes() for image in test.images}


def test_every_fifth_image_of_a_class_is_a_test_image():
    ink, labels = source()
    _, test = digits(1)
    by_class = np.concatenate([np.flatnonzero(labels == k) for k in range(10)])
    chosen = np.sort(by_class[::5])
    np.testing.assert_array_equal(test.labels, labels[chosen])
    ours = np.rint(test.images[:, 0] * (16 / 255))
    np.testing.assert_array_equal(ours, ink[chosen])


def test_digits_pixels_are_ink_scaled_to_bytes():
    images = np.concatenate([part.images for part in digits(1)])
    expected = [int(count * 255 / 16 + 0.5) for count in range(17)]
    assert np.unique(images).tolist() == expected
    assert expected[0] == 0 and expected[-1] == 255


def test_digits_statistics_are_those_of_the_training_images():
    train, test = digits()
    scaled = train.images / 255.0
    np.testing.assert_allclose(train.mean, scaled.mean(axis=(0, 2, 3)), atol=5e-6)
    np.testing.assert_allclose(train.std, scaled.std(axis=(0, 2, 3)), atol=5e-6)
    np.testing.assert_array_equal(test.mean, train.mean)
    np.testing.assert_array_equal(test.std, train.std)


def test_digits_are_the_same_at_every_call_and_from_every_folder(tmp_path, monkeypatch):
    first = digits()
    monkeypatch.chdir(tmp_path)
    for one, other in zip(first, digits(), strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.images is not other.images


@pytest.mark.parametrize("channels", [0, 2, "3"])
def test_digits_take_one_or_three_channels(channels):
    with pytest.raises(ValueError, match=r"^channels: expected 1 or 3, got "):
        digits(channels)


@pytest.mark.parametrize("damage", ["cut short", "empty", "a flipped bit"])
def test_damage_to_the_package_is_one_line(damage, monkeypatch, tmp_path):
    packed = resources.files("npresnet.data").joinpath("digits.npz").read_bytes()
    content = bytearray(packed[: {"cut short": 9000, "empty": 0}.get(damage)])
    if damage == "a flipped bit":
        content[len(content) // 3] ^= 1
    (tmp_path / "digits.npz").write_bytes(content)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(
        ValueError, match=r"digits\.npz: damaged .*; reinstall"
    ) as error:
        digits()
    assert "\n" not in str(error.value)
