"""What the compiled loops promise beyond the operations that they serve."""

import os
import subprocess
import sys

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import Geometry, reference
from npresnet.backend.kernels import conv2d as compiled_conv2d
from npresnet.backend.kernels import layout, tile
from npresnet.backend.kernels.compile import kernel


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("depth", [1, 2, 27])
def test_product_tile_equals_its_plain_python(depth, channels, dtype):
    rng = np.random.default_rng(depth)
    shape = tile.tile_shape(np.dtype(dtype))
    channels = min(channels, shape.channels)
    rows = rng.standard_normal(700).astype(dtype)
    weight = rng.standard_normal(10 + depth * shape.channels).astype(dtype)
    offsets = rng.integers(0, 300, depth)
    reads = rng.integers(0, 300, 2 + shape.runs)
    # Runs are written apart from each other, in no order.
    writes = rng.permutation(2 + shape.runs) * (shape.run + 1)
    step = writes.max() + shape.run + 3
    expected, actual = (np.zeros(5 + shape.channels * step, dtype) for _ in range(2))
    arguments = (3, step, channels, writes, weight, 10, rows, 7, reads, offsets, 2)

    @kernel
    def compiled(out, start, step, channels, writes, weight, begin, *rest):
        tile.product_tile(out, start, step, channels, writes, weight, begin, *rest)

    tile.product_tile(expected, *arguments)
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * depth)
    untouched = expected == 0
    assert (actual[untouched] == 0).all()  # nothing is written outside the runs
    assert np.count_nonzero(actual) == channels * shape.runs * shape.run


@pytest.mark.parametrize("pairs", [1, 2, 9])
def test_dot_tile_equals_its_plain_python(pairs, dtype):
    rng = np.random.default_rng(pairs)
    shape = tile.tile_shape(np.dtype(dtype))
    length = pairs * shape.lanes
    grad_step = length + 3
    grad = rng.standard_normal(5 + shape.dot_channels * grad_step).astype(dtype)
    rows = rng.standard_normal(900).astype(dtype)
    offsets = rng.integers(0, 300, 2 + shape.dot_rows)
    reads = rng.integers(0, 300, 2 * pairs)
    grad_reads = np.repeat(rng.permutation(pairs) * shape.lanes, 2)
    grad_reads[1::2] += shape.run
    start = rng.standard_normal(4 + shape.dot_channels * (shape.dot_rows + 2))
    expected, actual = start.astype(dtype), start.astype(dtype)
    arguments = (4, shape.dot_rows + 2, grad, 5, grad_step, grad_reads)
    arguments += (rows, 7, reads, offsets, 2, 2 * pairs)

    @kernel
    def compiled(out, start, step, grad, begin, grad_step, *rest):
        tile.dot_tile(out, start, step, grad, begin, grad_step, *rest)

    tile.dot_tile(expected, *arguments)
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * length)
    assert (actual != start.astype(dtype)).sum() == shape.dot_channels * shape.dot_rows


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(25, 11), (9, 16), (8, 24)])
@pytest.mark.parametrize("small", [True, False])
def test_blocks_and_bands_of_any_size_give_the_reference(
    stride, size, small, monkeypatch
):
    if small:
        monkeypatch.setattr(layout, "PRODUCT_BYTES", 2000)
        monkeypatch.setattr(layout, "DOT_PLACES", 40)
    rng = np.random.default_rng(0)
    for kernel_size, padding in (((3, 2), (2, 1)), ((1, 1), (0, 0)), ((3, 3), (1, 1))):
        geometry = Geometry.of(size, kernel_size, stride, padding, groups=2)
        x = rng.standard_normal((5, 6, *size))
        weight = rng.standard_normal((8, 3, *kernel_size))
        grad = rng.standard_normal((5, 8, *geometry.output_size))
        for name, arguments in {
            "conv2d": (x, weight),
            "conv2d_grad_input": (grad, weight),
            "conv2d_grad_weight": (grad, x),
        }.items():
            expected = getattr(reference, name)(*arguments, geometry)
            actual = getattr(compiled_conv2d_module(), name)(*arguments, geometry)
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def compiled_conv2d_module():
    # The package's `conv2d` is the operation; its module has the same name.
    return sys.modules[compiled_conv2d.__module__]


def test_not_a_number_is_not_lost_in_a_convolution(backend):
    x = np.ones((1, 2, 6, 6), np.float32)
    x[0, 1, 2, 3] = np.nan
    with np.errstate(invalid="ignore"):
        out, _ = nr.functional.conv2d_forward(x, np.ones((1, 2, 3, 3), np.float32))
    expected = np.zeros((4, 4), bool)
    expected[0:3, 1:4] = True  # every window that sees the pixel, and no other
    np.testing.assert_array_equal(np.isnan(out[0, 0]), expected)


# The host's vectors are 512 bits wide, or less; narrower ones must work anywhere.
NARROW = """
import numpy as np
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels.tile import tile_shape, vector_bits
assert vector_bits() == {bits}, vector_bits()
rng = np.random.default_rng(0)
for stride in (1, 2):
    geometry = Geometry.of((9, 16), (3, 3), stride, 1)
    x = rng.standard_normal((3, 5, 9, 16)).astype(np.float32)
    weight = rng.standard_normal((7, 5, 3, 3)).astype(np.float32)
    grad = rng.standard_normal((3, 7, *geometry.output_size)).astype(np.float32)
    for name, arguments in dict(conv2d=(x, weight), conv2d_grad_input=(grad, weight),
                                conv2d_grad_weight=(grad, x)).items():
        expected = getattr(reference, name)(*arguments, geometry)
        actual = getattr(kernels, name)(*arguments, geometry)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-4)
"""


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the narrower variants are x86-64's"
)
@pytest.mark.parametrize(("features", "bits"), [("+avx,+avx2,+fma", 256), ("", 128)])
def test_narrower_vectors_compute_the_same(features, bits, tmp_path):
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": features,
        "NPRESNET_CACHE_DIR": str(tmp_path),
    }
    code = NARROW.format(bits=bits)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
