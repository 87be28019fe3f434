"""Option A, the shortcut without parameters, against PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import CONTIGUOUS, LAYOUTS, check_parity, normal, tied


def parity(torch, shape, extra, stride, dtype, rng, *, draw=normal, layout=CONTIGUOUS):
    out_channels = shape[1] + extra
    before = extra // 2

    def ours(inputs, grad_output):
        out, cache = functional.zero_pad_shortcut_forward(
            inputs["x"], out_channels, stride
        )
        grad_x = functional.zero_pad_shortcut_backward(grad_output, cache)
        return {"out": out, "grad_x": grad_x}

    def theirs(x):
        x = x[:, :, ::stride, ::stride]
        return torch.nn.functional.pad(x, (0, 0, 0, 0, before, extra - before))

    check_parity(
        torch, ours, theirs, {"x": draw(rng, *shape)}, dtype, rng, layout=layout
    )


@pytest.mark.parametrize(
    ("shape", "extra", "stride"),
    [
        ((2, 16, 8, 8), 16, 2),
        ((2, 4, 7, 7), 4, 2),
        ((2, 4, 7, 10), 4, 3),
        ((1, 1, 1, 1), 2, 2),
        ((2, 3, 5, 6), 0, 2),
        ((2, 3, 5, 6), 4, 1),
    ],
)
def test_zero_pad_shortcut_matches_torch(
    torch, shape, extra, stride, backend, dtype, rng
):
    parity(torch, shape, extra, stride, dtype, rng)


@given(
    shape=st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 9)] * 2),
    extra=st.integers(0, 8),
    stride=st.integers(1, 3),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_zero_pad_shortcut_matches_torch_over_random_shapes(
    torch, backend, dtype, shape, extra, stride, draw, layout
):
    rng = np.random.default_rng(0)
    parity(torch, shape, extra, stride, dtype, rng, draw=draw, layout=layout)


def test_new_channels_are_zero_on_both_sides(backend, dtype, rng):
    x = normal(rng, 1, 4, 4, 4).astype(dtype)
    out, _ = functional.zero_pad_shortcut_forward(x, 8, 2)
    assert np.array_equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_skipped_pixels_get_zero_gradient(backend, dtype, rng):
    x = normal(rng, 1, 2, 5, 5).astype(dtype)
    out, cache = functional.zero_pad_shortcut_forward(x, 4, 2)
    grad_output = normal(rng, *out.shape).astype(dtype)
    grad_x = functional.zero_pad_shortcut_backward(grad_output, cache)
    assert np.array_equal(grad_x[:, :, ::2, ::2], grad_output[:, 1:3])
    assert not grad_x[:, :, 1::2].any()
    assert not grad_x[:, :, :, 1::2].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 4, 4)), 8, 2), "x"),
        ((np.zeros((2, 4, 4, 4)), 3, 2), "out_channels"),
        ((np.zeros((2, 4, 4, 4)), 8, 0), "stride"),
    ],
    ids=["3-d", "fewer channels", "stride 0"],
)
def test_bad_arguments_are_named(arguments, message, backend):
    with pytest.raises(ValueError, match=rf"\b{message}\b"):
        functional.zero_pad_shortcut_forward(*arguments)
