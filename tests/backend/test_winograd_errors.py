"""How far Winograd's convolution may be off, pixel by pixel: docs/winograd.md.

The bound is that of the page: what every rounding on the way can do at most, with the
magnitudes of the pixels and weights at hand.
"""

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels import winograd_transforms

UNIT = 2.0**-24  # largest relative error of one rounding to float32
N, C, K, SIDE = 2, 32, 48, 18
A, B, G = (
    np.abs(np.array(matrix, np.float64))
    for matrix in (
        winograd_transforms._A_TRANSPOSED,  # (4, 6)
        winograd_transforms._B_TRANSPOSED,  # (6, 6)
        winograd_transforms._G,  # (6, 3)
    )
)


def bound(x, weight, padding):
    """Bound the error of every output: (N, K, OH, OW), for sides that are whole tiles.

    (C + 30) * UNIT * |A|^T (sum_c |G| |w| |G|^T * |B|^T |patch| |B|) |A|
    """
    x = np.abs(np.float64(x))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = x.shape[2] - 2
    tiles = -(-size // 4)
    x = np.pad(x, ((0, 0), (0, 0), (0, 4 * tiles - size), (0, 4 * tiles - size)))
    weights = np.einsum("zi,kcij,yj->zykc", G, np.abs(np.float64(weight)), G)
    out = np.empty((len(x), len(weight), 4 * tiles, 4 * tiles))
    for i in range(0, 4 * tiles, 4):
        for j in range(0, 4 * tiles, 4):
            patch = x[:, :, i : i + 6, j : j + 6]
            values = np.einsum("zi,ncij,yj->zycn", B, patch, B)
            sums = np.einsum(
                "az,zynk,by->nkab", A, (weights @ values).swapaxes(2, 3), A
            )
            out[:, :, i : i + 4, j : j + 4] = sums
    return (x.shape[1] + 30) * UNIT * out[:, :, :size, :size]


def convolve(x, weight, padding, algorithm):
    geometry = Geometry.of(x.shape[2:], 3, 1, padding)
    with nr.using_algorithm(algorithm):
        out = kernels.conv2d(x, weight, geometry)
    truth = reference.conv2d(np.float64(x), np.float64(weight), geometry)
    return out, np.abs(out - truth)


def images(rng, kind):
    x = rng.standard_normal((N, C, SIDE, SIDE))
    if kind == "one large pixel":
        x[1, 5, 7, 9] = 1e6
    elif kind == "one large channel":
        x[:, 3] *= 1e5
    elif kind == "every size":
        x *= 10.0 ** rng.integers(-6, 7, x.shape)
    elif kind == "one image of large ones":
        x[0] *= 1e8
    return x.astype(np.float32)


KINDS = (
    "ordinary",
    "one large pixel",
    "one large channel",
    "every size",
    "one image of large ones",
)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_output_is_off_by_more_than_the_bound(kind, padding, rng):
    x = images(rng, kind)
    weight = rng.standard_normal((K, C, 3, 3)).astype(np.float32)
    _, error = convolve(x, weight, padding, "auto")
    limit = bound(x, weight, padding)
    assert (error <= limit).all()
    # The bound is of the right kind: where it is large, there is something to it.
    assert (error / limit).max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_no_pixels_gradient_is_off_by_more_than_the_bound(kind, rng):
    grad = images(rng, kind)
    weight = rng.standard_normal((C, K, 3, 3)).astype(np.float32)
    geometry = Geometry.of((SIDE, SIDE), 3, 1, 1)
    truth = reference.conv2d_grad_input(np.float64(grad), np.float64(weight), geometry)
    with nr.using_algorithm("auto"):
        grad_x = kernels.conv2d_grad_input(grad, weight, geometry)
    turned = weight.swapaxes(0, 1)[:, :, ::-1, ::-1]
    assert (np.abs(grad_x - truth) <= bound(grad, turned, 1)).all()


def reach(place, padding=1):
    """Mask the outputs whose sums a pixel enters on the way: (SIDE, SIDE)."""
    masks = []
    for p in place:
        out = np.arange(SIDE)
        seen = p + padding - 4 * (out // 4)  # where it lies in the patch of their tile
        inside = (seen >= 0) & (seen < 6)
        masks.append(inside & ((A @ B)[out % 4, np.clip(seen, 0, 5)] > 0))
    return masks[0][:, None] & masks[1]


def test_a_large_pixel_disturbs_the_tiles_that_hold_it_and_no_others(rng):
    ordinary = images(rng, "ordinary")
    x, place = ordinary.copy(), (7, 9)
    x[1, 5, *place] = 1e6
    weight = rng.standard_normal((K, C, 3, 3)).astype(np.float32)
    sees = np.zeros((SIDE, SIDE), bool)
    sees[6:9, 8:11] = True
    beside = reach(place) & ~sees
    _, error = convolve(x, weight, 1, "auto")
    _, direct = convolve(x, weight, 1, "direct")
    before, small = convolve(ordinary, weight, 1, "auto")
    # Off by whole numbers, in outputs of some tens that do not see it.
    assert 1 < error[1][:, beside].max() < 10
    assert np.abs(before).max() < 100
    # Direct sums know nothing of it, nor do other tiles and images.
    assert direct[1][:, beside].max() < 1e-4
    assert error[1][:, ~reach(place)].max() <= small.max()
    assert error[0].max() <= small.max()


@pytest.mark.parametrize(
    ("place", "disturbed"), [((7, 8), 25), ((5, 5), 16), ((5, 8), 20), ((0, 0), 16)]
)
def test_what_is_not_finite_spreads_over_tiles(place, disturbed, rng):
    x = images(rng, "ordinary")
    x[1, 5, *place] = np.nan
    weight = rng.standard_normal((K, C, 3, 3)).astype(np.float32)
    geometry = Geometry.of((SIDE, SIDE), 3, 1, 1)
    bad = {}
    for algorithm in ("auto", "direct"):
        with nr.using_algorithm(algorithm):
            bad[algorithm] = np.isnan(kernels.conv2d(x, weight, geometry))
    assert bad["direct"].sum() == (4 if place == (0, 0) else 9) * K
    assert bad["auto"].sum() == disturbed * K
    assert (bad["auto"][1] == reach(place)).all()


def test_pixels_beyond_a_hundredth_of_the_largest_float_overflow_on_the_way(rng):
    x = np.ones((N, C, SIDE, SIDE), np.float32)
    weight = np.full((K, C, 3, 3), 1e-3, np.float32)
    geometry = Geometry.of((SIDE, SIDE), 3, 1, 1)
    for size, finite in ((3e36, True), (1e38, False)):
        signs = np.where(np.arange(SIDE) % 2, 1, -1)
        large = (x * signs * size).astype(np.float32)
        assert np.isfinite(kernels.conv2d(large, weight, geometry)).all()
        with nr.using_algorithm("auto"):
            out = kernels.conv2d(large, weight, geometry)
        assert np.isfinite(out).all() == finite


def test_the_factor_of_a_single_pixel_is_that_of_the_page():
    one = A @ (G.sum(axis=1)[:, None] * B)  # (4, 6): output and pixel along a side
    assert one.max() ** 2 == pytest.approx(300.4, abs=0.1)
    assert B.sum(axis=1).max() ** 2 == 100
