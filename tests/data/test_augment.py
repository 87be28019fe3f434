import numpy as np
import pytest

from npresnet.data import RandomCropFlip, mean_fill, normalize


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def crop_flip_one_by_one(images, padding, fill, flip, cutout, rng):
    """The same augmentation, an image and a pixel at a time."""
    N, C, H, W = images.shape
    out = np.empty_like(images)
    tops, lefts = rng.integers(0, 2 * padding + 1, size=(2, N))
    mirrored = rng.integers(0, 2, size=N, dtype=bool) if flip else np.zeros(N, bool)
    if cutout:
        rows, columns = rng.integers(0, H, size=N), rng.integers(0, W, size=N)
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    across = W - 1 - j if mirrored[n] else j
                    y, x = i + tops[n] - padding, across + lefts[n] - padding
                    seen = 0 <= y < H and 0 <= x < W
                    if cutout and seen:
                        top, left = rows[n] - cutout // 2, columns[n] - cutout // 2
                        seen = not (
                            top <= i < top + cutout and left <= j < left + cutout
                        )
                    out[n, c, i, j] = images[n, c, y, x] if seen else fill[c]
    return out


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("cutout", [0, 1, 2, 3, 9])
@pytest.mark.parametrize(
    ("shape", "padding"),
    [((9, 3, 5, 7), 2), ((4, 1, 6, 4), 1), ((1, 2, 3, 3), 4), ((0, 3, 4, 4), 2)],
)
def test_crop_and_flip_equal_the_pixel_by_pixel_loop(shape, padding, flip, cutout):
    images, fill = random_images(*shape), (7, 99, 201)[: shape[1]]
    augment = RandomCropFlip(padding, flip, fill, cutout)
    out = augment(images, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    expected = crop_flip_one_by_one(images, padding, fill, flip, cutout, rng)
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == np.uint8


def test_crop_offsets_are_uniform_and_independent():
    padding, N = 2, 20_000
    # Pixels tell where they came from: row * 16 + column + 1, and 0 is padding.
    marked = (np.arange(8)[:, None] * 16 + np.arange(8) + 1).astype(np.uint8)
    images = np.broadcast_to(marked, (N, 1, 8, 8))
    augment = RandomCropFlip(padding, flip=False, fill=(0,))
    centre = augment(images, np.random.default_rng(2))[:, 0, 4, 4].astype(int) - 1
    top, left = centre // 16 - 2, centre % 16 - 2  # both 0..4
    counts = np.zeros((5, 5))
    np.add.at(counts, (top, left), 1)
    expected = N / 25
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 51.2  # 24 degrees of freedom, 1 in 1,000


def test_half_of_the_images_are_mirrored_exactly():
    images = random_images(2_000, 2, 3, 4)
    out = RandomCropFlip(padding=0)(images, np.random.default_rng(3))
    kept = (out == images).all(axis=(1, 2, 3))
    mirrored = (out == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 0.04  # 3.6 standard deviations


def test_cutout_covers_a_square_around_a_pixel_drawn_uniformly():
    N, H, W, side = 20_000, 5, 6, 2
    augment = RandomCropFlip(0, flip=False, fill=(0,), cutout=side)
    out = augment(np.full((N, 1, H, W), 255, np.uint8), np.random.default_rng(2))
    # The pixel at the centre is the square's last: rows c-1 and c, of which row -1
    # does not exist.
    covered = out[:, 0] == 0  # (N, H, W)
    row = H - 1 - covered.any(axis=2)[:, ::-1].argmax(axis=1)
    column = W - 1 - covered.any(axis=1)[:, ::-1].argmax(axis=1)
    counts = np.zeros((H, W))
    np.add.at(counts, (row, column), 1)
    chi_squared = ((counts - N / (H * W)) ** 2 / (N / (H * W))).sum()
    assert chi_squared < 58.3  # 29 degrees of freedom, 1 in 1,000
    sizes = np.minimum(row + 1, side) * np.minimum(column + 1, side)
    np.testing.assert_array_equal(covered.sum(axis=(1, 2)), sizes)


def test_cutout_comes_last_and_draws_nothing_of_the_others():
    images = random_images(30, 3, 8, 8)
    plain = RandomCropFlip(2, True, (1, 2, 3))
    covering = RandomCropFlip(2, True, (1, 2, 3), cutout=4)
    one = plain(images, np.random.default_rng(5))
    other = covering(images, np.random.default_rng(5))
    changed = (one != other).any(axis=1)  # (N, H, W)
    assert changed.any()
    assert changed.sum(axis=(1, 2)).max() <= 16
    filled = other.transpose(0, 2, 3, 1)[changed]
    np.testing.assert_array_equal(filled, np.broadcast_to((1, 2, 3), filled.shape))


def test_without_padding_and_flip_nothing_changes():
    images = random_images(5, 3, 4, 6)
    out = RandomCropFlip(padding=0, flip=False)(images, np.random.default_rng(0))
    np.testing.assert_array_equal(out, images)
    assert not np.shares_memory(out, images)


def test_augmentation_leaves_its_input_alone():
    images = random_images(8, 3, 6, 6)
    before = images.copy()
    RandomCropFlip(2, True, (1, 2, 3))(images, np.random.default_rng(0))
    np.testing.assert_array_equal(images, before)


def test_augmentation_repeats_with_the_same_generator():
    images = random_images(8, 3, 6, 6)
    augment = RandomCropFlip(2, True, (1, 2, 3))
    one, same = (augment(images, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    other = augment(images, np.random.default_rng(6))
    assert (one != other).any()


def test_padding_with_the_mean_is_nearly_zero_after_normalisation():
    mean, std = (0.4914, 0.48216, 0.44653), (0.24703, 0.24348, 0.26159)
    padding = np.array(mean_fill(mean), np.uint8).reshape(1, 3, 1, 1)
    assert np.abs(normalize(padding, mean, std)).max() <= 0.5 / 255 / min(std)


def test_mean_fill_stays_a_byte():
    assert mean_fill((0.0, 1.0, 1.2, -0.1)) == (0, 255, 255, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"padding": -1}, ValueError, "padding must be an int of at least 0, got -1"),
        ({"padding": 1.5}, TypeError, "padding must be an int of at least 0, got 1.5"),
        (
            {"padding": True},
            TypeError,
            "padding must be an int of at least 0, got True",
        ),
        ({"cutout": -1}, ValueError, "cutout must be an int of at least 0, got -1"),
        ({"cutout": 8.0}, TypeError, "cutout must be an int of at least 0, got 8.0"),
        (
            {"fill": (0, 256)},
            ValueError,
            "fill must be a byte per channel, 0 to 255, got (0, 256)",
        ),
    ],
)
def test_crop_flip_says_what_does_not_fit(arguments, error, message):
    with pytest.raises(error) as raised:
        RandomCropFlip(**arguments)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("fill", "images", "error", "message"),
    [
        (
            None,
            random_images(2, 3, 4, 4),
            ValueError,
            "fill: needed to pad or to cover; give one byte per channel, such as "
            "mean_fill(dataset.mean)",
        ),
        (
            (0,),
            random_images(2, 3, 4, 4),
            ValueError,
            "fill: expected 3 bytes, one per channel, got 1",
        ),
        (
            (0,),
            random_images(3, 4, 4),
            ValueError,
            "images: expected shape (N, C, H, W), got (3, 4, 4)",
        ),
        (
            (0,),
            np.zeros((1, 1, 2, 2), np.float32),
            TypeError,
            "images: expected dtype uint8, got float32",
        ),
        ((0,), "x", TypeError, "images: expected an ndarray, got str"),
    ],
)
def test_augmentation_says_what_does_not_fit(fill, images, error, message):
    with pytest.raises(error) as raised:
        RandomCropFlip(fill=fill)(images, np.random.default_rng(0))
    assert str(raised.value) == message


def test_cutout_needs_a_fill_without_padding_too():
    with pytest.raises(ValueError, match="fill: needed to pad or to cover"):
        RandomCropFlip(0, cutout=2)(random_images(1, 3, 4, 4), np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_is_the_formula_rounded_once(dtype):
    # Every byte in every channel, and a layout that is not C-contiguous.
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    images = np.repeat(images, 3, axis=1).transpose(0, 1, 3, 2)
    mean, std = np.array([0.49, 0.0, 0.44]), np.array([0.25, 1.0, 0.3])
    out = normalize(images, mean, std, dtype)
    exact = (images / 255 - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_array_equal(out, exact.astype(dtype))
    assert out.dtype == dtype and out.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_takes_a_mean_per_pixel(dtype, rng):
    images = random_images(3, 2, 4, 5).transpose(0, 1, 3, 2)
    mean, std = rng.random((2, 5, 4)), np.array([0.25, 1.0])
    out = normalize(images, mean, std, dtype)
    exact = (images / 255 - mean) / std[:, None, None]
    np.testing.assert_array_equal(out, exact.astype(dtype))
    assert out.dtype == dtype and out.flags.c_contiguous
    # The same mean at every pixel is a mean per channel.
    even = np.broadcast_to(np.array([0.3, 0.6])[:, None, None], (2, 5, 4))
    np.testing.assert_array_equal(
        normalize(images, even, std, dtype), normalize(images, [0.3, 0.6], std, dtype)
    )
    assert mean_fill(even) == mean_fill([0.3, 0.6])


def test_normalize_keeps_float32_with_float64_statistics():
    images = random_images(2, 1, 3, 3)
    assert normalize(images, np.array([0.5]), np.array([0.5])).dtype == np.float32


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "error", "message"),
    [
        (
            (0.5,),
            (1.0, 1.0),
            np.float32,
            ValueError,
            "mean: expected shape (2,), one number per channel, or (2, 2, 2), one per "
            "pixel, got (1,)",
        ),
        (
            (0.5, 0.5),
            0.5,
            np.float32,
            ValueError,
            "std: expected shape (2,), one number per channel, got ()",
        ),
        (
            (0.5, 0.5),
            (1.0, 0.0),
            np.float32,
            ValueError,
            "std: expected positive numbers, got [1.0, 0.0]",
        ),
        (
            (0.5, 0.5),
            (1.0, 1.0),
            np.float16,
            TypeError,
            "dtype must be float32 or float64, got float16",
        ),
    ],
)
def test_normalize_says_what_does_not_fit(mean, std, dtype, error, message):
    with pytest.raises(error) as raised:
        normalize(random_images(1, 2, 2, 2), mean, std, dtype)
    assert str(raised.value) == message
