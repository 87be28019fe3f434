"""What holds for every pass over images whose channels are neighbours in memory."""

import numpy as np
import pytest

from npresnet.backend import kernels, reference
from npresnet.backend.kernels import elementwise
from npresnet.backend.kernels.channels_last import pixels
from npresnet.backend.threads import setting
from tests.backend import families
from tests.backend import test_twins as twins
from tests.functional import test_pool
from tests.oracle.compare import LAYOUTS, Layout, normal

# The products (convolution, linear) have tests of their own.
OTHERS = ("conv2d", "linear", "sgd")
PASSES = [n for n in families.OPERATIONS if not any(other in n for other in OTHERS)]
TO_VECTORS = {
    "batch_norm_statistics",
    "batch_norm_grad_sums",
    "rectified_batch_norm_grad_sums",
}

# Far fewer and far more channels than vectors have lanes, and no multiple of them;
# pixels that fill no run, one run and several.
SHAPES = [
    (1, 1, 1, 1),
    (3, 1, 31, 33),
    (2, 3, 40, 41),
    (5, 10, 17, 16),
    (9, 64, 8, 8),
    (2, 37, 19, 23),
    (7, 512, 2, 3),
    (3, 2053, 3, 2),
]


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut small arrays as only large ones are otherwise."""
    monkeypatch.setattr(elementwise, "_BLOCK", 2000)


def arguments(name, shape, rng, dtype, draw=normal):
    """Invent arguments for images of this shape, pooled as in the stem."""
    settings = {
        families.poolings: test_pool.Case(shape, 3, 2, 1),
        families.adaptive_poolings: (shape, (2, 3)),
        families.shortcuts: (shape, 2),
    }
    setting = settings.get(families.family_of(name).make, shape)
    return families.arguments(name, setting, rng, draw, dtype)


def run(module, name, values):
    return twins.results(module, name, values)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PASSES)
def test_twins_agree_for_few_and_for_many_channels(
    name, shape, dtype, rng, small_blocks
):
    twins.assert_twins_agree(name, arguments(name, shape, rng, dtype))


@pytest.mark.parametrize("name", sorted({*PASSES} - TO_VECTORS))
def test_resulting_images_have_their_channels_side_by_side(name, dtype, rng):
    results = run(kernels, name, arguments(name, (2, 5, 9, 7), rng, dtype))
    images = [result for result in results if result.ndim == 4]
    assert images
    for result in images:
        assert np.shares_memory(pixels(result), result)
        assert result.strides[1] == result.itemsize


@pytest.mark.parametrize(
    "layout", [*LAYOUTS, Layout("channels last")], ids=lambda layout: layout.name
)
@pytest.mark.parametrize("name", PASSES)
def test_the_layout_of_the_arguments_changes_no_bit(name, layout, dtype, rng):
    values = arguments(name, (3, 5, 9, 7), rng, dtype)
    expected = run(kernels, name, values)
    arranged = [arrange(layout, v) if isinstance(v, np.ndarray) else v for v in values]
    if dtype == np.float64:  # vectors that lie otherwise are compiled for once
        arranged = [
            value if getattr(value, "ndim", 0) == 1 else other
            for value, other in zip(values, arranged, strict=True)
        ]
    for one, other in zip(run(kernels, name, arranged), expected, strict=True):
        assert one.tobytes() == other.tobytes()


def arrange(layout, array):
    if layout.name != "channels last":
        return layout.arrange(array)
    return (
        np.moveaxis(np.moveaxis(array, 1, -1).copy(), -1, 1)
        if array.ndim == 4
        else array
    )


@pytest.mark.parametrize("shape", [(1, 3, 40, 41), (9, 64, 8, 8)], ids=str)
@pytest.mark.parametrize("name", PASSES)
def test_the_number_of_threads_changes_no_bit(
    name, shape, dtype, rng, small_blocks, monkeypatch
):
    values = arguments(name, shape, rng, dtype)
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setattr(setting, "_threads", count)
        results.append([array.tobytes() for array in run(kernels, name, values)])
    assert all(result == results[0] for result in results)


def special(rng, *shape):
    """Ties, zeros of both signs, infinities and NaN."""
    choices = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, 2.0]
    return rng.choice(choices, shape, p=[0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("C", [1, 3, 16, 21])
@pytest.mark.parametrize("name", ["add", "max_pool2d", "relu", "relu_grad"])
def test_what_is_no_number_goes_the_same_ways(name, C, dtype, rng):
    values = arguments(name, (3, C, 12, 11), rng, dtype, draw=special)
    with np.errstate(invalid="ignore"):
        expected = run(reference, name, values)
    for one, other in zip(run(kernels, name, values), expected, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize(
    "shape", [(), (0,), (7,), (3, 5), (2, 3, 4, 5, 6), (0, 3, 2, 2)]
)
def test_elementwise_passes_take_any_shape(shape, dtype, rng):
    a, b = rng.standard_normal((2, *shape)).astype(dtype)
    mask = reference.relu(b)[1]
    for name, values in {"add": (a, b), "relu": (a,), "relu_grad": (a, mask)}.items():
        expected, actual = run(reference, name, values), run(kernels, name, values)
        assert actual[0].shape == shape
        assert actual[0].dtype == dtype
        for one, other in zip(actual, expected, strict=True):
            assert np.array_equal(one, other)


def test_blocks_cover_everything_once_and_end_between_multiples():
    for size in (0, 1, 999, 1 << 17, (1 << 18) - 1, 1 << 18, 5_000_017):
        for multiple, least in ((1, 1), (16, 1), (1008, 8), (300_000, 8)):
            length, count = elementwise.blocks(size, multiple, least)
            assert length % multiple == 0
            assert (count - 1) * length < size <= count * length or size == count == 0
            assert count == 1 or length >= least * multiple or size == 0
