"""ReLU against PyTorch, and what it does at exactly 0 and at NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import CONTIGUOUS, LAYOUTS, check_parity, normal, tied


def parity(torch, shape, dtype, rng, *, draw=normal, layout=CONTIGUOUS):
    def ours(inputs, grad_output):
        out, cache = functional.relu_forward(inputs["x"])
        return {"out": out, "grad_x": functional.relu_backward(grad_output, cache)}

    inputs = {"x": draw(rng, *shape)}
    check_parity(torch, ours, torch.relu, inputs, dtype, rng, layout=layout)


@pytest.mark.parametrize("draw", [normal, tied], ids=["random", "zeros"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (33, 5, 7, 7), (4, 10)])
def test_relu_matches_torch(torch, shape, draw, backend, dtype, rng):
    parity(torch, shape, dtype, rng, draw=draw)


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 12)] * 2),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_relu_matches_torch_over_random_shapes(
    torch, backend, dtype, shape, draw, layout
):
    rng = np.random.default_rng(0)
    parity(torch, shape, dtype, rng, draw=draw, layout=layout)


def test_the_gradient_at_exactly_zero_is_zero(backend, dtype):
    x = np.array([[[[-1, -0.0, 0.0, 1]]]], dtype)
    out, cache = functional.relu_forward(x)
    assert np.array_equal(out, np.array([[[[0, 0, 0, 1]]]], dtype))
    grad_x = functional.relu_backward(np.full_like(x, 5), cache)
    assert np.array_equal(grad_x, np.array([[[[0, 0, 0, 5]]]], dtype))


def test_a_closed_relu_stops_even_an_infinite_gradient(backend, dtype):
    # A product with a mask of zeros would give NaN.
    x = np.array([[[[-1, 1]]]], dtype)
    _, cache = functional.relu_forward(x)
    grad_x = functional.relu_backward(np.full_like(x, np.inf), cache)
    assert np.array_equal(grad_x, np.array([[[[0, np.inf]]]], dtype))


def test_nan_and_infinity_pass_as_in_torch(torch, backend, dtype):
    x = np.array([[[[np.nan, np.inf, -np.inf, 2]]]], dtype)
    out, cache = functional.relu_forward(x)
    theirs = torch.tensor(x, requires_grad=True)
    their_out = torch.relu(theirs)
    assert np.array_equal(out, their_out.detach().numpy(), equal_nan=True)
    grad_output = np.array([[[[1, 2, 3, 4]]]], dtype)
    their_out.backward(torch.tensor(grad_output))
    grad_x = functional.relu_backward(grad_output, cache)
    assert np.array_equal(grad_x, theirs.grad.numpy())


def test_the_input_is_left_as_it_was(backend, dtype, rng):
    x = normal(rng, 2, 3, 4, 5).astype(dtype)
    before = x.copy()
    out, _ = functional.relu_forward(x)
    assert not np.shares_memory(out, x)
    assert np.array_equal(x, before)


def test_integers_are_refused(backend):
    with pytest.raises(TypeError, match=r"\bx\b"):
        functional.relu_forward(np.zeros((2, 3), np.int64))


def test_a_gradient_of_the_wrong_shape_is_refused(backend):
    _, cache = functional.relu_forward(np.zeros((2, 3, 4, 4)))
    with pytest.raises(ValueError, match="grad_output"):
        functional.relu_backward(np.zeros((2, 3, 4, 5)), cache)
