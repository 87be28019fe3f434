"""Eight at a time: what stands there in Python is what the vector instructions do."""

import numpy as np
import pytest

from npresnet.backend.kernels import masks
from npresnet.backend.kernels.compile import kernel


@kernel
def rectified(out, x, start, first, last):
    return masks.rectify_eight(out, x, start)


@kernel
def stopped(grad_input, grad_output, start, bits, first, last):
    masks.stop_eight(grad_input, grad_output, start, bits)


@pytest.mark.parametrize("start", [0, 3, 8])
def test_plain_and_compiled_agree(start, dtype, rng):
    x = rng.standard_normal(16).astype(dtype)
    x[start + 1], x[start + 4], x[start + 6] = 0, np.nan, -np.inf
    plain, fast = np.full(16, 7, dtype), np.full(16, 7, dtype)
    bits = masks.rectify_eight(plain, x, start)
    assert rectified(fast, x, start, 0, 1) == bits
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(plain[:start], 7)
    np.testing.assert_array_equal(plain[start + 8 :], 7)
    passed = ~(x[start : start + 8] <= 0)
    assert bits == int(np.packbits(passed, bitorder="little")[0])

    plain[:], fast[:] = 7, 7
    masks.stop_eight(plain, x, start, bits)
    stopped(fast, x, start, np.uint8(bits), 0, 1)
    np.testing.assert_array_equal(fast, plain)
    np.testing.assert_array_equal(plain[start : start + 8] == 0, ~passed)
