"""Convolution, forward and backward, against PyTorch and against its definition."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import (
    CONTIGUOUS,
    LAYOUTS,
    assert_matches,
    check_parity,
    normal,
    tied,
)


class Case(NamedTuple):
    x: tuple[int, int, int, int]  # (N, C, H, W)
    weight: tuple[int, int, int, int]  # (K, C // groups, KH, KW)
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    bias: bool = False

    @property
    def options(self):
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def inputs(self, rng, draw=normal):
        inputs = {"x": draw(rng, *self.x), "weight": draw(rng, *self.weight)}
        if self.bias:
            inputs["bias"] = draw(rng, self.weight[0])
        return inputs


HARD = {
    "3x3": Case((2, 3, 7, 7), (4, 3, 3, 3), padding=1),
    "3x3, bias": Case((2, 3, 5, 6), (4, 3, 3, 3), padding=1, bias=True),
    "3x3, no padding": Case((2, 3, 7, 6), (4, 3, 3, 3)),
    "3x3/2 on an even size": Case((2, 3, 8, 8), (4, 3, 3, 3), stride=2),
    "3x3/2 padded, even size": Case((2, 3, 8, 6), (4, 3, 3, 3), stride=2, padding=1),
    "3x3/2 padded, odd size": Case((2, 3, 7, 9), (4, 3, 3, 3), stride=2, padding=1),
    "3x3/3": Case((2, 3, 10, 11), (4, 3, 3, 3), stride=3, padding=1),
    "1x1": Case((2, 5, 6, 7), (3, 5, 1, 1)),
    "1x1/2 on 7": Case((2, 3, 7, 7), (4, 3, 1, 1), stride=2),
    "1x1/3 on 8": Case((2, 3, 8, 8), (4, 3, 1, 1), stride=3),
    "1x1, padded": Case((2, 3, 4, 5), (4, 3, 1, 1), padding=1),
    "1x1/2, padded": Case((2, 3, 4, 5), (4, 3, 1, 1), stride=2, padding=2, bias=True),
    "more padding than kernel": Case((1, 2, 4, 3), (3, 2, 2, 2), padding=4),
    "stride larger than kernel": Case((2, 2, 9, 8), (3, 2, 2, 2), stride=3),
    "different on each axis": Case(
        (2, 3, 9, 12), (4, 3, 2, 5), stride=(3, 2), padding=(0, 2), dilation=(2, 1)
    ),
    "1x3": Case((2, 3, 6, 9), (4, 3, 1, 3), padding=(0, 1)),
    "3x1": Case((2, 3, 6, 9), (4, 3, 3, 1), padding=(1, 0), stride=(1, 2)),
    "4x4": Case((2, 3, 9, 9), (4, 3, 4, 4), stride=2, padding=1),
    "5x5": Case((2, 3, 9, 9), (4, 3, 5, 5), padding=2),
    "kernel as large as the image": Case((2, 3, 4, 5), (4, 3, 4, 5), bias=True),
    "dilated": Case((2, 3, 9, 8), (4, 3, 3, 3), padding=2, dilation=2),
    "dilated/2": Case((2, 3, 11, 9), (4, 3, 3, 3), stride=2, padding=3, dilation=3),
    "two groups": Case((2, 4, 6, 7), (6, 2, 3, 3), padding=1, groups=2, bias=True),
    "groups/2": Case((2, 6, 7, 7), (3, 2, 3, 3), stride=2, padding=1, groups=3),
    "depthwise": Case((2, 5, 7, 6), (5, 1, 3, 3), padding=1, groups=5),
    "depthwise, multiplier 2": Case((2, 3, 7, 6), (6, 1, 3, 3), stride=2, groups=3),
    "1x1 in groups": Case((2, 4, 5, 5), (4, 2, 1, 1), groups=2),
    "dilated groups": Case((2, 4, 9, 9), (4, 2, 3, 3), dilation=2, groups=2),
    "N=1": Case((1, 3, 6, 6), (4, 3, 3, 3), padding=1),
    "C=1": Case((3, 1, 6, 6), (4, 1, 3, 3), padding=1),
    "K=1": Case((3, 4, 6, 6), (1, 4, 3, 3), padding=1, bias=True),
    "all ones": Case((1, 1, 1, 1), (1, 1, 1, 1), bias=True),
    "1x1 plane, 3x3 padded": Case((2, 3, 1, 1), (4, 3, 3, 3), padding=1),
    "1x1 plane, 3x3/2 padded": Case((3, 3, 1, 1), (4, 3, 3, 3), stride=2, padding=1),
    "one row": Case((2, 3, 1, 9), (4, 3, 3, 3), padding=1),
    "one column": Case((2, 3, 9, 1), (4, 3, 3, 3), padding=1, stride=2),
    "2x2 planes": Case((5, 3, 2, 2), (4, 3, 3, 3), padding=1),
    # Larger ones, for the edges of tiles and for long sums.
    "37 to 19 channels": Case((2, 37, 9, 11), (19, 37, 3, 3), padding=1),
    "37 to 19 channels, 1x1": Case((3, 37, 5, 7), (19, 37, 1, 1)),
    "37 to 19 channels, 1x1/2": Case((3, 37, 7, 7), (19, 37, 1, 1), stride=2),
    "19 to 37 channels, 3x3/2": Case((2, 19, 9, 10), (37, 19, 3, 3), 2, 1),
    "64 to 64 on 8x8": Case((2, 64, 8, 8), (64, 64, 3, 3), padding=1),
    "the stem": Case((2, 3, 32, 32), (64, 3, 7, 7), stride=2, padding=3),
    "the CIFAR stem": Case((2, 3, 32, 32), (16, 3, 3, 3), padding=1),
    "many small planes": Case((33, 5, 7, 7), (6, 5, 3, 3), padding=1),
    "a wide image": Case((1, 2, 3, 131), (3, 2, 3, 3), padding=1),
}


def parity(torch, case, dtype, rng, *, layout=CONTIGUOUS, draw=normal):
    def ours(inputs, grad_output):
        out, cache = functional.conv2d_forward(**inputs, **case.options)
        grad_x, grad_weight, grad_bias = functional.conv2d_backward(grad_output, cache)
        results = {"out": out, "grad_x": grad_x, "grad_weight": grad_weight}
        if case.bias:
            results["grad_bias"] = grad_bias
        else:
            assert grad_bias is None
        return results

    def theirs(x, weight, bias=None):
        return torch.nn.functional.conv2d(x, weight, bias, **case.options)

    inputs = case.inputs(rng, draw)
    check_parity(
        torch, ours, theirs, inputs, dtype, rng, sums_of_products=True, layout=layout
    )


@pytest.mark.parametrize("case", HARD.values(), ids=HARD)
def test_conv2d_matches_torch(torch, case, backend, dtype, rng):
    parity(torch, case, dtype, rng)


@pytest.mark.parametrize("layout", LAYOUTS[1:], ids=lambda layout: layout.name)
@pytest.mark.parametrize("name", ["3x3, bias", "1x1", "1x1/2 on 7", "two groups"])
def test_conv2d_reads_any_memory_layout(torch, name, layout, backend, dtype, rng):
    parity(torch, HARD[name], dtype, rng, layout=layout)


@st.composite
def cases(draw):
    small = st.integers(1, 3)
    pairs = st.tuples(small, small)
    groups = draw(small)
    KH, KW = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.one_of(small, pairs))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    dilation = draw(st.one_of(st.just(1), pairs))
    DH, DW = (dilation, dilation) if isinstance(dilation, int) else dilation
    H = max(1, DH * (KH - 1) + 1 - 2 * padding[0]) + draw(st.integers(0, 9))
    W = max(1, DW * (KW - 1) + 1 - 2 * padding[1]) + draw(st.integers(0, 9))
    per_group = draw(small)
    return Case(
        (draw(small), groups * per_group, H, W),
        (groups * draw(small), per_group, KH, KW),
        stride,
        padding,
        dilation,
        groups,
        draw(st.booleans()),
    )


@given(
    case=cases(), layout=st.sampled_from(LAYOUTS), draw=st.sampled_from([normal, tied])
)
def test_conv2d_matches_torch_over_random_shapes(
    torch, backend, dtype, case, layout, draw
):
    parity(torch, case, dtype, np.random.default_rng(0), layout=layout, draw=draw)


# Claims that need no oracle.


def test_conv2d_is_the_sum_of_its_definition(backend, rng):
    stride, padding, dilation = (2, 1), (1, 2), (1, 2)
    x, weight = normal(rng, 2, 4, 5, 6), normal(rng, 6, 2, 3, 2)
    bias = normal(rng, 6)
    out, _ = functional.conv2d_forward(
        x,
        weight,
        bias,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=2,
    )
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)))
    expected = np.empty_like(out)
    for n, k, i, j in np.ndindex(out.shape):
        first = 2 * (k // 3)  # the channels of this filter's group
        total = bias[k]
        for c, u, v in np.ndindex(2, 3, 2):
            row, column = i * stride[0] + u * dilation[0], j * stride[1] + v * 2
            total += weight[k, c, u, v] * padded[n, first + c, row, column]
        expected[n, k, i, j] = total
    assert_matches(out, expected, "out", rtol=1e-13)


@pytest.mark.parametrize(
    "name",
    ["3x3/2 on an even size", "different on each axis", "groups/2", "1x1/2 on 7"],
)
def test_gradients_are_the_adjoints_of_the_forward_pass(name, backend, rng):
    # conv2d is linear in x and in weight: <conv(x, w), g> is <x, grad_x> and
    # <w, grad_weight>, whatever the three are.
    case = HARD[name]
    x, weight = case.inputs(rng).values()
    out, cache = functional.conv2d_forward(x, weight, **case.options)
    grad_output = normal(rng, *out.shape)
    grad_x, grad_weight, _ = functional.conv2d_backward(grad_output, cache)
    inner = float((out * grad_output).sum())
    assert float((x * grad_x).sum()) == pytest.approx(inner, rel=1e-11)
    assert float((weight * grad_weight).sum()) == pytest.approx(inner, rel=1e-11)


@pytest.mark.parametrize(
    ("kernel", "size", "used"),
    [(1, 7, [0, 2, 4, 6]), (1, 8, [0, 2, 4, 6]), (3, 8, range(7)), (2, 7, range(6))],
)
def test_pixels_left_over_by_a_stride_get_zero_gradient(
    kernel, size, used, backend, dtype, rng
):
    x = normal(rng, 2, 3, size, size).astype(dtype)
    weight = normal(rng, 4, 3, kernel, kernel).astype(dtype)
    out, cache = functional.conv2d_forward(x, weight, stride=2)
    grad_output = normal(rng, *out.shape).astype(dtype)
    grad_x, _, _ = functional.conv2d_backward(grad_output, cache)
    unused = np.setdiff1d(np.arange(size), used)
    assert np.all(grad_x[:, :, unused] == 0)
    assert np.all(grad_x[:, :, :, unused] == 0)
    assert np.all(grad_x[:, :, used][..., used] != 0)


def test_sparing_the_input_gradient_leaves_the_others_alone(backend, dtype, rng):
    x, weight, bias = (
        normal(rng, *shape).astype(dtype)
        for shape in [(2, 3, 6, 6), (4, 3, 3, 3), (4,)]
    )
    out, cache = functional.conv2d_forward(x, weight, bias, padding=1)
    grad_output = normal(rng, *out.shape).astype(dtype)
    _, *expected = functional.conv2d_backward(grad_output, cache)
    grad_x, *rest = functional.conv2d_backward(grad_output, cache, input_grad=False)
    assert grad_x is None
    for gradient, same in zip(rest, expected, strict=True):
        assert np.array_equal(gradient, same)


def test_conv2d_computes_in_the_dtype_that_it_is_given(backend, dtype, rng):
    x, weight = normal(rng, 2, 3, 5, 5).astype(dtype), np.ones((4, 3, 3, 3), dtype)
    out, cache = functional.conv2d_forward(x, weight, np.ones(4, dtype))
    gradients = functional.conv2d_backward(out, cache)
    assert {array.dtype for array in (out, *gradients)} == {np.dtype(dtype)}


def test_a_cache_can_be_used_twice(backend, dtype, rng):
    x, weight = normal(rng, 2, 3, 6, 6), normal(rng, 4, 3, 3, 3)
    out, cache = functional.conv2d_forward(x.astype(dtype), weight.astype(dtype))
    grad_output = normal(rng, *out.shape).astype(dtype)
    first = functional.conv2d_backward(grad_output, cache)
    second = functional.conv2d_backward(grad_output, cache)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_a_nan_spreads_over_its_receptive_fields_only(backend, dtype):
    x, weight = np.ones((1, 1, 5, 5), dtype), np.ones((1, 1, 3, 3), dtype)
    x[0, 0, 0, 0] = np.nan
    out, _ = functional.conv2d_forward(x, weight, padding=1)
    expected = np.zeros((5, 5), bool)
    expected[:2, :2] = True
    assert np.array_equal(np.isnan(out[0, 0]), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((3, 6, 6), np.float32)}, ValueError, "x"),
        ({"x": np.zeros((2, 4, 6, 6), np.float32)}, ValueError, "channels"),
        ({"weight": np.zeros((4, 3, 3), np.float32)}, ValueError, "weight"),
        ({"x": np.zeros((2, 3, 6, 6), np.int64)}, TypeError, "x"),
        ({"x": [[[[1.0]]]]}, TypeError, "x"),
        ({"weight": np.zeros((4, 3, 3, 3), np.float64)}, TypeError, "weight"),
        ({"bias": np.zeros((3,), np.float32)}, ValueError, "bias"),
        ({"bias": np.zeros((4,), np.float64)}, TypeError, "bias"),
        ({"stride": 0}, ValueError, "stride"),
        ({"stride": (1, 2, 3)}, TypeError, "stride"),
        ({"stride": 1.5}, TypeError, "stride"),
        ({"padding": -1}, ValueError, "padding"),
        ({"dilation": 0}, ValueError, "dilation"),
        ({"groups": 2}, ValueError, "groups"),
        ({"groups": 0}, ValueError, "groups"),
        ({"x": np.zeros((2, 3, 2, 6), np.float32)}, ValueError, "kernel"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_bad_arguments_are_named(change, error, message, backend):
    arguments = {
        "x": np.zeros((2, 3, 6, 6), np.float32),
        "weight": np.zeros((4, 3, 3, 3), np.float32),
        "bias": np.zeros((4,), np.float32),
    }
    with pytest.raises(error, match=rf"\b{message}") as caught:
        functional.conv2d_forward(**{**arguments, **change})
    assert "\n" not in str(caught.value)


def test_a_gradient_of_the_wrong_shape_is_refused(backend):
    x, weight = np.ones((2, 3, 6, 6)), np.ones((4, 3, 3, 3))
    _, cache = functional.conv2d_forward(x, weight)
    with pytest.raises(ValueError, match="grad_output"):
        functional.conv2d_backward(np.ones((2, 4, 6, 6)), cache)
