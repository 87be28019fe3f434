"""Winograd's convolution trades digits for speed, within limits of its own.

The limit: no element is off by more than LIMIT times the largest one. Direct sums in
float32 stay some ten times below it.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import npresnet as nr
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels import transform, winograd, winograd_transforms
from npresnet.backend.kernels.compile import kernel

LIMIT = 3e-5
OPERATIONS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")


def inputs(rng, images, channels, out_channels, size, padding):
    geometry = Geometry.of(size, 3, 1, padding)
    x = rng.standard_normal((images, channels, *size))
    weight = rng.standard_normal((out_channels, channels, 3, 3))
    grad = rng.standard_normal((images, out_channels, *geometry.output_size))
    return {
        "conv2d": (x, weight, geometry),
        "conv2d_grad_input": (grad, weight, geometry),
        "conv2d_grad_weight": (grad, x, geometry),
    }


def in_float32(arguments):
    return [a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in arguments]


def assert_within_limit(cases):
    for name, arguments in cases.items():
        truth = getattr(reference, name)(*arguments)
        with nr.using_algorithm("auto"):
            out = getattr(kernels, name)(*in_float32(arguments))
        assert out.dtype == np.float32
        assert out.shape == truth.shape
        error = np.abs(out - truth).max() / np.abs(truth).max()
        assert error < LIMIT, (name, error)


@given(
    st.integers(1, 5),
    st.integers(1, 5).map(lambda vectors: 16 * vectors),
    st.integers(1, 5).map(lambda vectors: 16 * vectors),
    st.tuples(st.integers(5, 23), st.integers(5, 23)),
    st.integers(0, 2),
    st.integers(0, 2**32 - 1),
)
def test_any_shape_stays_within_the_limit(
    images, channels, out_channels, size, padding, seed
):
    rng = np.random.default_rng(seed)
    cases = inputs(rng, images, channels, out_channels, size, padding)
    assert_within_limit(cases)


@pytest.mark.parametrize(
    ("images", "channels", "side"), [(16, 512, 7), (4, 256, 14), (2, 128, 28)]
)
def test_the_shapes_of_resnet18_stay_within_the_limit(images, channels, side, rng):
    assert_within_limit(inputs(rng, images, channels, channels, (side, side), 1))


def test_it_is_taken_only_where_it_applies_and_pays():
    assert winograd.suits(Geometry.of((8, 8), 3, 1, 1), 128, 64, 64, np.float32)
    for size, options, channels, dtype in (
        ((8, 8), (3, 2, 1), 64, np.float32),  # stride 2
        ((8, 8), (3, 1, 2, 2), 64, np.float32),  # dilated
        ((8, 8), (3, 1, 1, 1, 2), 64, np.float32),  # grouped
        ((8, 8), (1, 1, 0), 64, np.float32),
        ((8, 8), ((3, 1), 1, 0), 64, np.float32),
        ((8, 8), (3, 1, 1), 8, np.float32),  # few channels
        ((8, 8), (3, 1, 1), 67, np.float32),  # no whole vectors of them
        ((8, 8), (3, 1, 1), 64, np.float64),
    ):
        geometry = Geometry.of(size, *options)
        assert not winograd.suits(geometry, 128, channels, channels, dtype)
    assert not winograd.suits(Geometry.of((8, 8), 3, 1, 1), 2, 64, 64, np.float32)


def test_direct_never_takes_it_and_auto_does(rng, monkeypatch):
    taken = []
    for name in OPERATIONS:
        whole = getattr(winograd, name)

        def note(*arguments, name=name, whole=whole):
            taken.append(name)
            return whole(*arguments)

        monkeypatch.setattr(winograd, name, note)
    cases = inputs(rng, 24, 32, 32, (8, 8), 1)
    for algorithm in ("direct", "auto"):
        with nr.using_algorithm(algorithm):
            for name, arguments in cases.items():
                getattr(kernels, name)(*in_float32(arguments))
        assert taken == ([] if algorithm == "direct" else list(OPERATIONS))


def test_an_unknown_algorithm_is_refused_and_the_old_one_stays():
    with pytest.raises(ValueError, match="'auto', 'direct', got 'fft'"):
        nr.set_algorithm("fft")
    assert nr.get_algorithm() == "direct"


def test_not_a_number_is_not_lost(rng):
    arguments = in_float32(inputs(rng, 24, 32, 32, (8, 8), 1)["conv2d"])
    arguments[0][3, 5, 2, 2] = np.nan
    with nr.using_algorithm("auto"):
        out = kernels.conv2d(*arguments)
    direct = kernels.conv2d(*arguments)
    assert np.isnan(out[np.isnan(direct)]).all()
    assert np.isfinite(out[:3]).all() and np.isfinite(out[4:]).all()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("b_product", 6),
        ("a_product", 6),
        ("a_transposed_product", 4),
        ("g_product", 3),
        ("g_transposed_product", 6),
    ],
)
def test_two_sided_products_equal_their_plain_python(name, size, dtype, rng):
    product = getattr(winograd_transforms, name)
    x = rng.standard_normal(5 + size * size * 70).astype(dtype)
    expected, actual = (np.zeros(3 + 36 * 71, dtype) for _ in range(2))
    arguments = (x, 5, size * 70, 70, 3, 6 * 71, 71, 64)

    @kernel
    def compiled(out, x, start, row, column, begin, out_row, out_column, count):
        product(x, start, row, column, out, begin, out_row, out_column, count)

    product(*arguments[:4], expected, *arguments[4:])
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-3)
    assert (actual[expected == 0] == 0).all()


def test_constants_of_one_and_minus_one_and_zero_are_taken_as_they_are(dtype, rng):
    product = transform.two_sided_product(((0, -1), (1, 0), (1, -0.5)))
    x = rng.standard_normal((2, 2, 64)).astype(dtype)
    out = np.empty((3, 3, 64), dtype)

    @kernel
    def compiled(x, out):
        product(x, 0, 128, 64, out, 0, 192, 64, 64)

    compiled(x.reshape(-1), out.reshape(-1))
    (a, b), (c, d) = x
    np.testing.assert_array_equal(out[:2, :2], [[d, -c], [-b, a]])
    half = a - c / 2, b - d / 2
    np.testing.assert_array_equal(out[2, :2], [-half[1], half[0]])
    np.testing.assert_array_equal(out[2, 2], half[0] - half[1] / 2)


def test_a_networks_gradients_hardly_move(rng):
    x = rng.standard_normal((12, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, len(x))
    gradients = {}
    for algorithm in ("direct", "auto"):
        model, criterion = nr.models.resnet20(), nr.nn.CrossEntropyLoss()
        with nr.using_algorithm(algorithm):
            criterion(model(x), labels)
            model.backward(criterion.backward(), input_grad=False)
        gradients[algorithm] = [p.grad for p in model.parameters()]
    auto, direct = (
        np.concatenate([grad.reshape(-1) for grad in gradients[algorithm]])
        for algorithm in ("auto", "direct")
    )
    assert (auto != direct).any()
    # A value next to zero may fall on the other side of a ReLU, which counts for more
    # than all rounding.
    assert np.linalg.norm(auto - direct) < 2e-2 * np.linalg.norm(direct)
