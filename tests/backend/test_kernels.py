"""What the compiled loops promise beyond the operations that they serve."""

import os
import subprocess
import sys

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels import layout, matmul_micro_kernel, micro_kernels
from npresnet.backend.kernels.compile import kernel

# The package's names of these are the operations.
conv2d_module = sys.modules[kernels.conv2d.__module__]
grad_weight_module = sys.modules[kernels.conv2d_grad_weight.__module__]


VECTORS = {"wide": 2, "narrow": 1}


@pytest.mark.parametrize("width", VECTORS)
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize("floor", [0, -np.inf])
@pytest.mark.parametrize(("segments", "length"), [(1, 1), (3, 5)])
def test_convolution_micro_kernel_equals_its_plain_python(
    width, adds, floor, segments, length, dtype
):
    rng = np.random.default_rng(length)
    shape = micro_kernels.tile_shape(np.dtype(dtype))
    micro_kernel = getattr(micro_kernels, f"{width}_conv")
    columns = VECTORS[width] * shape.lanes
    a = rng.standard_normal(700).astype(dtype)
    a[100] = np.nan
    b = rng.standard_normal(4 + segments * length * columns).astype(dtype)
    bias = rng.standard_normal(6 + columns).astype(dtype)
    offsets = rng.integers(0, 300, segments)
    reads = rng.integers(0, 300, 2 + shape.rows)
    # Rows are written apart from each other, in no order.
    writes = rng.permutation(2 + shape.rows) * (columns + 3)
    size = 5 + writes.max() + columns
    residual = rng.standard_normal(size).astype(dtype)
    before = np.full(size, 7, dtype)
    expected, actual = before.copy(), before.copy()
    arguments = (5, writes, a, 7, reads, 2, offsets, length, b, 4)
    arguments += (bias, 6, residual, adds, np.dtype(dtype).type(floor))

    @kernel
    def compiled(o, s, w, a, a0, r, first, offsets, length, b, b0, c, c0, d, adds, f):
        micro_kernel(
            o, s, w, a, a0, r, first, offsets, length, b, b0, c, c0, d, adds, f
        )

    micro_kernel(expected, *arguments)
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * length)
    wanted = np.zeros(size, bool)
    for place in writes[2:]:
        wanted[5 + place : 5 + place + columns] = True
    assert (actual[~wanted] == 7).all()  # nothing is written elsewhere


@pytest.mark.parametrize("width", VECTORS)
@pytest.mark.parametrize("length", [1, 9])
def test_matmul_micro_kernel_equals_its_plain_python(width, length, dtype):
    rng = np.random.default_rng(length)
    shape = micro_kernels.tile_shape(np.dtype(dtype))
    micro_kernel = getattr(matmul_micro_kernel, f"{width}_matmul")
    columns = VECTORS[width] * shape.lanes
    a = rng.standard_normal(9 + shape.rows * 11).astype(dtype)
    b = rng.standard_normal(4 + length * columns).astype(dtype)
    expected, actual = (
        np.zeros(5 + shape.rows * (columns + 3), dtype) for _ in range(2)
    )
    arguments = (5, columns + 3, a, 7, 11, length, b, 4)

    @kernel
    def compiled(out, start, step, a, a_start, a_step, length, b, b_start):
        micro_kernel(out, start, step, a, a_start, a_step, length, b, b_start)

    micro_kernel(expected, *arguments)
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * length)
    assert np.count_nonzero(actual) == shape.rows * columns


@pytest.mark.parametrize("width", VECTORS)
@pytest.mark.parametrize("adds", [True, False])
@pytest.mark.parametrize(("segments", "length"), [(1, 1), (1, 9), (3, 5)])
def test_grad_weight_micro_kernel_equals_its_plain_python(
    width, adds, segments, length, dtype
):
    rng = np.random.default_rng(length)
    shape = micro_kernels.tile_shape(np.dtype(dtype))
    micro_kernel = getattr(micro_kernels, f"{width}_grad_weight")
    rows = shape.grad_rows if width == "wide" else 2 * shape.grad_rows
    columns = VECTORS[width] * shape.lanes
    a = rng.standard_normal(900).astype(dtype)
    b = rng.standard_normal(4 + segments * length * (columns + 1)).astype(dtype)
    offsets = rng.integers(0, 300, segments)
    start = rng.standard_normal(4 + rows * (columns + 2)).astype(dtype)
    if not adds:
        start[:] = np.nan  # what lies there is not even looked at
    expected, actual = start.copy(), start.copy()
    arguments = (4, columns + 2, adds, a, 7, offsets, length, 11, b, 4, columns + 1)

    @kernel
    def compiled(out, start, step, adds, a, begin, offsets, length, a_step, *rest):
        micro_kernel(out, start, step, adds, a, begin, offsets, length, a_step, *rest)

    micro_kernel(expected, *arguments)
    compiled(actual, *arguments)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * length)
    changed = actual.view(np.uint8) != start.view(np.uint8)
    assert changed.reshape(len(start), -1).any(axis=1).sum() == rows * columns


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(25, 11), (9, 16), (8, 24)])
@pytest.mark.parametrize("small", [True, False])
def test_blocks_of_any_size_give_the_reference(stride, size, small, monkeypatch):
    if small:
        monkeypatch.setattr(layout, "BLOCK_BYTES", 2000)
        monkeypatch.setattr(grad_weight_module, "_MOST_OUTPUTS", 40)
    for module in (conv2d_module, grad_weight_module):
        module._plan.cache_clear()
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
            actual = getattr(kernels, name)(*arguments, geometry)
            np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


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
from npresnet.backend.kernels.vectors import vector_bits
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
@pytest.mark.parametrize(
    ("features", "bits"),
    [pytest.param("+avx,+avx2,+fma", 256, marks=pytest.mark.slow), ("", 128)],
)
def test_narrower_vectors_compute_the_same(features, bits):
    # Their code is kept beside the host's own: Numba tells them apart.
    environment = os.environ | {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": features,
    }
    code = NARROW.format(bits=bits)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
