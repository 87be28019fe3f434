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


@pytest.mark.parametrize("depth", [1, 2, 27])
def test_product_tile_equals_its_plain_python(depth, dtype):
    rng = np.random.default_rng(depth)
    shape = tile.tile_shape(np.dtype(dtype))
    rows = rng.standard_normal(500).astype(dtype)
    weight = rng.standard_normal(10 + depth * shape.channels).astype(dtype)
    offsets = rng.integers(0, 400, depth)
    step = shape.width + 5
    expected, actual = (np.zeros(shape.channels * step, dtype) for _ in range(2))

    @kernel
    def compiled(out, weight, rows, offsets, step):
        tile.product_tile(out, 3, step, weight, 10, rows, 7, offsets)

    tile.product_tile(expected, 3, step, weight, 10, rows, 7, offsets)
    compiled(actual, weight, rows, offsets, step)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * depth)
    untouched = expected == 0
    assert (actual[untouched] == 0).all()  # nothing is written outside the tile


@pytest.mark.parametrize("vectors", [1, 2, 9])
def test_dot_tile_equals_its_plain_python(vectors, dtype):
    rng = np.random.default_rng(vectors)
    shape = tile.tile_shape(np.dtype(dtype))
    length = vectors * shape.lanes
    grad_step = length + 3
    grad = rng.standard_normal(5 + shape.dot_channels * grad_step).astype(dtype)
    rows = rng.standard_normal(length + 300).astype(dtype)
    offsets = rng.integers(0, 300, 2 + shape.dot_rows)
    size = 4 + shape.dot_channels * (shape.dot_rows + 2)
    start = rng.standard_normal(size).astype(dtype)
    expected, actual = start.copy(), start.copy()
    places = (4, shape.dot_rows + 2)

    @kernel
    def compiled(out, places, grad, grad_step, rows, offsets, length):
        tile.dot_tile(
            out, places[0], places[1], grad, 5, grad_step, rows, offsets, 2, length
        )

    tile.dot_tile(expected, *places, grad, 5, grad_step, rows, offsets, 2, length)
    compiled(actual, places, grad, grad_step, rows, offsets, length)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("block_bytes", [1, 4000, 1 << 30])
def test_blocks_of_any_size_give_the_reference(stride, block_bytes, monkeypatch):
    monkeypatch.setattr(layout, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(0)
    geometry = Geometry.of((25, 11), (3, 2), stride, (2, 1), (1, 2), groups=2)
    x = rng.standard_normal((5, 6, 25, 11))
    weight = rng.standard_normal((4, 3, 3, 2))
    grad = rng.standard_normal((5, 4, *geometry.output_size))
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
    geometry = Geometry.of((9, 11), (3, 3), stride, 1)
    x = rng.standard_normal((3, 5, 9, 11)).astype(np.float32)
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
