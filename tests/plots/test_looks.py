"""Images and maps side by side: right pixels, right scale, awkward shapes."""

import numpy as np
import pytest
from matplotlib import colormaps

from npresnet.plots import looks, style


def draw(rng, N=3, C=3, H=6, W=5, **options):
    pictures = rng.integers(0, 256, (N, C, H, W), dtype=np.uint8)
    maps = rng.random((N, H, W)).astype(np.float32)
    titles = [f"image {i}" for i in range(N)]
    figure = looks(pictures, maps, titles, "subject", "note", **options)
    return pictures, maps, figure


def shown(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_a_map_beside_its_image_is_drawn_from_zero_to_its_maximum(rng):
    pictures, maps, figure = draw(rng, over=False)
    images = shown(figure)
    assert len(images) == 6
    for i in range(3):
        assert np.array_equal(images[2 * i].get_array(), pictures[i].transpose(1, 2, 0))
        np.testing.assert_allclose(
            images[2 * i + 1].get_array(), maps[i] / maps[i].max()
        )
        assert images[2 * i + 1].get_clim() == (0, 1)
    assert figure.axes[2].get_title(loc="left") == "image 1"


def test_a_map_over_its_image_is_mixed_with_it_in_grey(rng):
    pictures, maps, figure = draw(rng, N=1, over=True)
    (_, over) = shown(figure)
    colours = colormaps[style.SEQUENTIAL](maps[0] / maps[0].max())[..., :3]
    grey = pictures[0].mean(axis=0)[..., None] / 255
    np.testing.assert_allclose(over.get_array(), 0.6 * colours + 0.4 * grey, atol=1e-6)


def test_one_channel_is_grey_and_an_empty_map_is_dark(rng, tmp_path):
    pictures = rng.integers(0, 256, (1, 1, 4, 7), dtype=np.uint8)
    path = tmp_path / "looks.png"
    figure = looks(
        pictures, np.zeros((1, 4, 7)), ["a\nb"], "s", "n", over=False, path=path
    )
    image, map_ = shown(figure)
    assert np.array_equal(image.get_array(), pictures[0, 0])
    assert image.get_cmap().name == "gray"
    assert not map_.get_array().any()
    assert path.stat().st_size > 5000


def test_of_many_images_the_first_are_drawn_and_that_is_said(rng):
    _, _, figure = draw(rng, N=30, H=2, W=2, over=True)
    assert len(shown(figure)) == 48
    assert "first 24 of 30" in figure.get_supxlabel().replace("\n", " ")


def test_what_does_not_fit_is_refused(rng):
    pictures = np.zeros((2, 3, 4, 4), np.uint8)
    for maps, titles in (
        (np.zeros((2, 4, 3)), ["a", "b"]),
        (np.zeros((2, 4, 4)), ["a"]),
    ):
        with pytest.raises(ValueError, match="one of each"):
            looks(pictures, maps, titles, "", "", over=True)
    with pytest.raises(ValueError, match="one of each"):
        looks(pictures[:0], np.zeros((0, 4, 4)), [], "", "", over=True)
