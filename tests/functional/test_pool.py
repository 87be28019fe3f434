"""Max, average and adaptive average pooling against PyTorch, and their claims."""

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
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False


HARD = {
    "2x2": Case((2, 3, 6, 8), 2),
    "2x2, odd sizes": Case((2, 3, 7, 5), 2),
    "the stem": Case((2, 3, 12, 12), 3, 2, 1),
    "the stem, odd sizes": Case((2, 3, 13, 11), 3, 2, 1),
    "overlapping": Case((2, 3, 7, 6), 3, 1),
    "overlapping, padded": Case((2, 3, 7, 6), 3, 1, 1),
    "gaps": Case((2, 3, 11, 10), 2, 3),
    "3x3/3": Case((2, 3, 11, 10), 3, 3, 1),
    "different on each axis": Case((2, 3, 9, 12), (2, 5), (3, 2), (1, 2)),
    "1x1/2": Case((2, 3, 7, 7), 1, 2),
    "whole plane": Case((2, 3, 5, 4), (5, 4)),
    "1x1 plane": Case((2, 3, 1, 1), 1),
    "1x1 plane, padded": Case((2, 3, 1, 1), 3, 2, 1),
    "one row": Case((2, 3, 1, 9), (1, 3), (1, 2), (0, 1)),
    "N=1, C=1": Case((1, 1, 5, 6), 3, 2, 1),
    "many small planes": Case((33, 5, 7, 7), 3, 2, 1),
    "37 channels": Case((2, 37, 9, 10), 3, 2, 1),
    "a wide image": Case((1, 2, 4, 131), 3, 2, 1),
    "rounded up": Case((2, 3, 8, 7), 3, 2, ceil_mode=True),
    "rounded up, padded": Case((2, 3, 12, 14), 3, 2, 1, ceil_mode=True),
    "rounded up on one axis": Case((2, 3, 7, 8), 3, (2, 2), (1, 0), ceil_mode=True),
    # One more window would begin beyond the image: PyTorch leaves it out.
    "rounded up, not into the border": Case((2, 3, 5, 6), 2, 3, 1, ceil_mode=True),
    "rounded up, gaps": Case((2, 3, 9, 11), 2, 4, ceil_mode=True),
    "rounded up, window larger than plane": Case(
        (2, 3, 2, 3), (3, 5), (2, 3), ceil_mode=True
    ),
    "rounded up, nothing left over": Case((2, 3, 6, 9), 3, 3, ceil_mode=True),
    "rounded up, 37 channels": Case((2, 37, 9, 10), 3, 2, ceil_mode=True),
}
DILATED = {
    "dilated": Case((2, 3, 9, 8), 3, 1, 0, 2),
    "dilated/2, padded": Case((2, 3, 9, 8), 3, 2, 1, 3),
    "dilated, first taps in the border": Case((2, 3, 7, 8), (4, 2), 1, (2, 1), (2, 3)),
    "dilated/2, rounded up": Case((2, 3, 10, 9), 3, 2, 1, (2, 3), ceil_mode=True),
    "dilated/3, rounded up": Case((2, 3, 11, 12), 2, 3, 0, 3, ceil_mode=True),
}


@st.composite
def cases(draw, dilated):
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    small = st.integers(1, 3)
    dilation = draw(st.tuples(small, small)) if dilated else (1, 1)
    stride = draw(st.one_of(st.none(), small, st.tuples(small, small)))
    # At least d pixels: a dilated window could step over a smaller plane.
    H, W = (
        max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 8))
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    x = (draw(small), draw(small), H, W)
    return Case(x, kernel, stride, padding, dilation, draw(st.booleans()))


# Max pooling.


def max_parity(torch, case, dtype, rng, *, draw=normal, layout=CONTIGUOUS):
    def ours(inputs, grad_output):
        out, cache = functional.max_pool2d_forward(
            inputs["x"],
            case.kernel_size,
            case.stride,
            case.padding,
            dilation=case.dilation,
            ceil_mode=case.ceil_mode,
        )
        return {
            "out": out,
            "grad_x": functional.max_pool2d_backward(grad_output, cache),
        }

    def theirs(x):
        return torch.nn.functional.max_pool2d(x, *case[1:5], ceil_mode=case.ceil_mode)

    inputs = {"x": draw(rng, *case.x)}
    check_parity(torch, ours, theirs, inputs, dtype, rng, layout=layout)


@pytest.mark.parametrize("draw", [normal, tied], ids=["random", "ties"])
@pytest.mark.parametrize("case", (HARD | DILATED).values(), ids=[*HARD, *DILATED])
def test_max_pool_matches_torch(torch, case, draw, backend, dtype, rng):
    max_parity(torch, case, dtype, rng, draw=draw)


@given(
    case=cases(dilated=True),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_max_pool_matches_torch_over_random_shapes(
    torch, backend, dtype, case, draw, layout
):
    rng = np.random.default_rng(0)
    max_parity(torch, case, dtype, rng, draw=draw, layout=layout)


def test_max_pool_pads_with_minus_infinity_not_with_zero(backend, dtype):
    x = np.full((1, 1, 3, 3), -5, dtype)
    out, cache = functional.max_pool2d_forward(x, 3, 2, 1)
    assert np.array_equal(out, np.full((1, 1, 2, 2), -5, dtype))
    grad_x = functional.max_pool2d_backward(np.ones_like(out), cache)
    assert grad_x.sum() == 4  # nothing is lost in the border


def test_max_pool_tie_goes_to_the_first_maximum(backend, dtype):
    x = np.zeros((1, 1, 2, 4), dtype)  # as after a ReLU: all-zero windows
    x[0, 0, :, 2:] = [[1, 3], [3, 3]]
    out, cache = functional.max_pool2d_forward(x, 2)
    assert np.array_equal(out, np.array([[[[0, 3]]]], dtype))
    grad_output = np.array([[[[5, 7]]]], dtype)
    grad_x = functional.max_pool2d_backward(grad_output, cache)
    assert np.array_equal(grad_x[0, 0], [[5, 0, 0, 7], [0, 0, 0, 0]])


def test_max_pool_gradients_of_overlapping_windows_add(backend, dtype):
    x = np.zeros((1, 1, 5, 5), dtype)
    x[0, 0, 2, 2] = 1  # seen by all nine windows
    out, cache = functional.max_pool2d_forward(x, 3, 1)
    grad_output = np.arange(1, 10, dtype=dtype).reshape(out.shape)
    grad_x = functional.max_pool2d_backward(grad_output, cache)
    assert grad_x[0, 0, 2, 2] == 45
    assert np.count_nonzero(grad_x) == 1


def test_max_pool_leaves_pixels_over_that_do_not_fill_a_window(backend, dtype, rng):
    x = normal(rng, 2, 3, 5, 6).astype(dtype)
    out, _ = functional.max_pool2d_forward(x, 2)
    whole, _ = functional.max_pool2d_forward(x[:, :, :4].copy(), 2)
    assert out.shape == (2, 3, 2, 3)
    assert np.array_equal(out, whole)


def test_max_pool_lets_a_nan_through(backend, dtype):
    x = np.arange(16, dtype=dtype).reshape(1, 1, 4, 4)
    x[0, 0, 0, 0] = np.nan
    out, cache = functional.max_pool2d_forward(x, 2)
    assert np.isnan(out[0, 0, 0, 0])
    assert np.array_equal(out[0, 0].ravel()[1:], [7, 13, 15])
    grad_x = functional.max_pool2d_backward(np.ones_like(out), cache)
    assert grad_x[0, 0, 0, 0] == 1


def test_max_pool_of_nothing_but_minus_infinity_stays_inside_the_plane(backend, dtype):
    x = np.full((1, 1, 3, 3), -np.inf, dtype)
    out, cache = functional.max_pool2d_forward(x, 3, 2, 1)
    assert np.all(np.isneginf(out))
    grad_x = functional.max_pool2d_backward(np.ones_like(out), cache)
    assert np.array_equal(grad_x[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_max_pool_refuses_a_window_without_a_pixel(backend, dtype):
    # Taps at -1 and 1 of a plane with one row: PyTorch answers minus infinity and
    # writes the gradient outside the plane.
    x = np.ones((1, 1, 1, 1), dtype)
    with pytest.raises(ValueError, match=r"dilation .* steps over"):
        functional.max_pool2d_forward(x, (2, 1), 1, (1, 0), dilation=(2, 1))
    # Taps at -2 and 1, then at -1 and 2, of two rows: the second window only.
    x = np.ones((1, 1, 2, 1), dtype)
    with pytest.raises(ValueError, match=r"dilation .* steps over"):
        functional.max_pool2d_forward(x, (2, 1), 1, (2, 0), dilation=(3, 1))
    # ... but -2 with a step of 2 lands on row 0.
    x = np.ones((1, 1, 1, 1), dtype)
    out, _ = functional.max_pool2d_forward(x, (3, 1), 1, (2, 0), dilation=(2, 1))
    assert np.array_equal(out, np.ones((1, 1, 1, 1), dtype))


def test_rounding_up_gives_leftover_pixels_a_window(backend, dtype):
    x = np.array([1, 2, 5, 3, 4], dtype).reshape(1, 1, 1, 5)
    out, cache = functional.max_pool2d_forward(x, (1, 2), 2, ceil_mode=True)
    assert out.ravel().tolist() == [2, 5, 4]
    grad_output = np.array([1, 10, 100], dtype).reshape(out.shape)
    grad_x = functional.max_pool2d_backward(grad_output, cache)
    assert grad_x.ravel().tolist() == [0, 1, 10, 0, 100]
    # What of the window lies beyond the image and its border is not divided by.
    out, cache = functional.avg_pool2d_forward(x, (1, 2), 2, ceil_mode=True)
    assert out.ravel().tolist() == [1.5, 4, 4]
    grad_x = functional.avg_pool2d_backward(grad_output, cache)
    assert grad_x.ravel().tolist() == [0.5, 0.5, 5, 5, 100]


# Average pooling.


def avg_parity(torch, case, dtype, rng, *, draw=normal, layout=CONTIGUOUS, **divisor):
    divisor["ceil_mode"] = case.ceil_mode

    def ours(inputs, grad_output):
        out, cache = functional.avg_pool2d_forward(
            inputs["x"],
            case.kernel_size,
            case.stride,
            case.padding,
            **divisor,
        )
        return {
            "out": out,
            "grad_x": functional.avg_pool2d_backward(grad_output, cache),
        }

    def theirs(x):
        return torch.nn.functional.avg_pool2d(
            x,
            case.kernel_size,
            case.stride,
            case.padding,
            **divisor,
        )

    inputs = {"x": draw(rng, *case.x)}
    check_parity(
        torch, ours, theirs, inputs, dtype, rng, sums_of_products=True, layout=layout
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("case", HARD.values(), ids=HARD)
def test_avg_pool_matches_torch(torch, case, count_include_pad, backend, dtype, rng):
    avg_parity(torch, case, dtype, rng, count_include_pad=count_include_pad)


@pytest.mark.parametrize("name", ["the stem", "rounded up, padded", "1x1/2"])
def test_avg_pool_divides_by_what_it_is_told_to(torch, name, backend, dtype, rng):
    for divisor in (1, 7):
        avg_parity(torch, HARD[name], dtype, rng, divisor_override=divisor)


@given(
    case=cases(dilated=False),
    count_include_pad=st.booleans(),
    divisor_override=st.none() | st.integers(1, 20),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_avg_pool_matches_torch_over_random_shapes(
    torch, backend, dtype, case, count_include_pad, divisor_override, draw, layout
):
    avg_parity(
        torch,
        case,
        dtype,
        np.random.default_rng(0),
        draw=draw,
        layout=layout,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )


def test_avg_pool_divides_by_the_window_or_by_its_pixels(backend, dtype):
    x = np.ones((1, 1, 3, 3), dtype)
    counted, _ = functional.avg_pool2d_forward(x, 3, 2, 1)
    assert np.allclose(counted, 4 / 9)  # the zeros of the border are counted
    ignored, _ = functional.avg_pool2d_forward(x, 3, 2, 1, count_include_pad=False)
    assert np.array_equal(ignored, np.ones((1, 1, 2, 2), dtype))


# Adaptive average pooling.

ADAPTIVE = [
    ((2, 3, 7, 7), 1),
    ((2, 3, 7, 5), (1, 1)),
    ((2, 3, 7, 7), 3),
    ((2, 3, 5, 5), 4),
    ((2, 3, 3, 3), 7),
    ((2, 3, 8, 8), 4),
    ((2, 3, 10, 7), (3, 4)),
    ((2, 3, 1, 1), (2, 3)),
    ((1, 1, 1, 1), 1),
    ((33, 5, 7, 7), (1, 1)),
    ((2, 37, 6, 11), (4, 5)),
    ((1, 2, 40, 41), (7, 6)),
]


def adaptive_parity(
    torch, shape, output_size, dtype, rng, *, draw=normal, layout=CONTIGUOUS
):
    def ours(inputs, grad_output):
        out, cache = functional.adaptive_avg_pool2d_forward(inputs["x"], output_size)
        grad_x = functional.adaptive_avg_pool2d_backward(grad_output, cache)
        return {"out": out, "grad_x": grad_x}

    def theirs(x):
        return torch.nn.functional.adaptive_avg_pool2d(x, output_size)

    inputs = {"x": draw(rng, *shape)}
    check_parity(
        torch, ours, theirs, inputs, dtype, rng, sums_of_products=True, layout=layout
    )


@pytest.mark.parametrize(("shape", "output_size"), ADAPTIVE, ids=str)
def test_adaptive_avg_pool_matches_torch(
    torch, shape, output_size, backend, dtype, rng
):
    adaptive_parity(torch, shape, output_size, dtype, rng)


@given(
    size=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 12)] * 2),
    output_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_adaptive_avg_pool_matches_torch_over_random_shapes(
    torch, backend, dtype, size, output_size, draw, layout
):
    rng = np.random.default_rng(0)
    adaptive_parity(torch, size, output_size, dtype, rng, draw=draw, layout=layout)


def test_adaptive_bins_overlap_where_they_do_not_divide(backend, dtype):
    # 7 pixels in 3 bins: 0-2, 2-4, 4-6, each floor(i*7/3) ... ceil((i+1)*7/3).
    x = np.arange(7, dtype=dtype).reshape(1, 1, 1, 7)
    out, cache = functional.adaptive_avg_pool2d_forward(x, (1, 3))
    assert np.array_equal(out.ravel(), [1, 3, 5])
    grad_output = np.array([3, 6, 9], dtype).reshape(out.shape)
    grad_x = functional.adaptive_avg_pool2d_backward(grad_output, cache)
    assert np.array_equal(grad_x.ravel(), [1, 1, 3, 2, 5, 3, 3])


def test_adaptive_pooling_to_one_pixel_is_the_mean(backend, rng):
    x = normal(rng, 2, 3, 7, 5)
    out, _ = functional.adaptive_avg_pool2d_forward(x, 1)
    assert_matches(out[:, :, 0, 0], x.mean(axis=(2, 3)), "out", rtol=1e-14)


# Bad arguments.

FORWARDS = [functional.max_pool2d_forward, functional.avg_pool2d_forward]


@pytest.mark.parametrize("forward", FORWARDS, ids=["max", "avg"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((3, 4, 4)), 2), ValueError, "x"),
        ((np.zeros((2, 3, 4, 4), np.int32), 2), TypeError, "x"),
        ((np.zeros((2, 3, 4, 4)), 0), ValueError, "kernel_size"),
        ((np.zeros((2, 3, 4, 4)), 5), ValueError, "kernel_size"),
        ((np.zeros((2, 3, 4, 4)), 2, 0), ValueError, "stride"),
        ((np.zeros((2, 3, 4, 4)), 2, 2, -1), ValueError, "padding"),
        # More than half a window would leave windows with nothing but border.
        ((np.zeros((2, 3, 4, 4)), 2, 2, 2), ValueError, "padding"),
        ((np.zeros((2, 3, 4, 4)), np.array([2, 2])), TypeError, "kernel_size"),
    ],
    ids=[
        "3-d",
        "integers",
        "kernel 0",
        "kernel 5",
        "stride",
        "negative",
        "half",
        "an array",
    ],
)
def test_bad_arguments_are_named(forward, arguments, error, message, backend):
    with pytest.raises(error, match=rf"\b{message}\b") as caught:
        forward(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("output_size", [0, (1, -1), (1, 2, 3), 1.5])
def test_a_bad_output_size_is_named(output_size, backend):
    with pytest.raises((ValueError, TypeError), match="output_size"):
        functional.adaptive_avg_pool2d_forward(np.zeros((2, 3, 4, 4)), output_size)


@pytest.mark.parametrize(
    ("forward", "backward", "size"),
    [
        (functional.max_pool2d_forward, functional.max_pool2d_backward, 2),
        (functional.avg_pool2d_forward, functional.avg_pool2d_backward, 2),
        (
            functional.adaptive_avg_pool2d_forward,
            functional.adaptive_avg_pool2d_backward,
            2,
        ),
    ],
    ids=["max", "avg", "adaptive"],
)
def test_a_gradient_of_the_wrong_shape_is_refused(forward, backward, size, backend):
    _, cache = forward(np.zeros((2, 3, 4, 4)), size)
    with pytest.raises(ValueError, match="grad_output"):
        backward(np.zeros((2, 3, 4, 4)), cache)
