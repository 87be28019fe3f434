"""The linear layer's mathematics against PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import CONTIGUOUS, LAYOUTS, check_parity, normal, tied


def parity(torch, shape, bias, dtype, rng, *, draw=normal, layout=CONTIGUOUS):
    N, fan_in, fan_out = shape

    def ours(inputs, grad_output):
        out, cache = functional.linear_forward(**inputs)
        grad_x, grad_weight, grad_bias = functional.linear_backward(grad_output, cache)
        results = {"out": out, "grad_x": grad_x, "grad_weight": grad_weight}
        if bias:
            results["grad_bias"] = grad_bias
        else:
            assert grad_bias is None
        return results

    inputs = {"x": draw(rng, N, fan_in), "weight": draw(rng, fan_out, fan_in)}
    if bias:
        inputs["bias"] = draw(rng, fan_out)
    check_parity(
        torch,
        ours,
        torch.nn.functional.linear,
        inputs,
        dtype,
        rng,
        sums_of_products=True,
        layout=layout,
    )


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (4, 7, 5), (1, 64, 10), (33, 1, 3), (3, 5, 1), (17, 129, 67)]
)
def test_linear_matches_torch(torch, shape, bias, backend, dtype, rng):
    parity(torch, shape, bias, dtype, rng)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 12)),
    bias=st.booleans(),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
)
def test_linear_matches_torch_over_random_shapes(
    torch, backend, dtype, shape, bias, draw, layout
):
    rng = np.random.default_rng(0)
    parity(torch, shape, bias, dtype, rng, draw=draw, layout=layout)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros(3)}, ValueError, "x"),
        ({"x": np.zeros((2, 4))}, ValueError, "x|weight"),
        ({"x": np.zeros((2, 3), np.int64)}, TypeError, "x"),
        ({"x": np.zeros((2, 3), np.float32)}, TypeError, "weight|x"),
        ({"weight": np.zeros((5, 3, 1))}, ValueError, "weight"),
        ({"bias": np.zeros(4)}, ValueError, "bias"),
        ({"bias": np.zeros(5, np.float32)}, TypeError, "bias"),
    ],
    ids=["1-d", "features", "integers", "mixed", "3-d", "bias shape", "bias dtype"],
)
def test_bad_arguments_are_named(change, error, message, backend):
    arguments = {"x": np.zeros((2, 3)), "weight": np.zeros((5, 3)), "bias": np.zeros(5)}
    with pytest.raises(error, match=rf"\b({message})\b") as caught:
        functional.linear_forward(**{**arguments, **change})
    assert "\n" not in str(caught.value)


def test_a_gradient_of_the_wrong_shape_is_refused(backend):
    _, cache = functional.linear_forward(np.zeros((2, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="grad_output"):
        functional.linear_backward(np.zeros((2, 3)), cache)
