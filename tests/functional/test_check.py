"""Checks at the door: what a user reads, word for word, and what is let through."""

import numpy as np
import pytest

from npresnet import functional as f

IMAGES = np.ones((2, 3, 6, 7))
ROWS = np.ones((2, 5))
KERNELS = np.ones((4, 3, 3, 3))
C = np.ones(3)


def batch_norm(x=IMAGES, weight=C, training=False):
    return f.batch_norm_forward(x, weight, C, C, C, training=training)


MESSAGES = [
    (lambda: f.relu_forward([1.0]), "x must be a NumPy array, got list"),
    (
        lambda: f.conv2d_forward(ROWS, KERNELS),
        "x must have shape (N, C, H, W), got (2, 5)",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, ROWS),
        "weight must have shape (K, C/groups, KH, KW), got (2, 5)",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, np.ones((4, 2, 3, 3))),
        "x must have 2 channels for a weight of shape (4, 2, 3, 3) and groups=1, got 3",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS, ROWS),
        "bias must have shape (K,), got (2, 5)",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS, C),
        "bias must have shape (4,) (one per output channel), got (3,)",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS, groups=True),
        "groups must be an int of at least 1, got True",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS, groups=1.0),
        "groups must be an int of at least 1, got 1.0",
    ),
    (lambda: f.linear_forward(C, ROWS), "x must have shape (N, I), got (3,)"),
    (lambda: f.linear_forward(ROWS, C), "weight must have shape (O, I), got (3,)"),
    (
        lambda: f.linear_forward(ROWS, np.ones((4, 3))),
        "x must have 3 features for a weight of shape (4, 3), got 5",
    ),
    (
        lambda: f.linear_forward(ROWS, ROWS, ROWS),
        "bias must have shape (O,), got (2, 5)",
    ),
    (
        lambda: f.linear_forward(ROWS, ROWS, C),
        "bias must have shape (2,) (one per output), got (3,)",
    ),
    (lambda: batch_norm(ROWS), "x must have shape (N, C, H, W), got (2, 5)"),
    (lambda: batch_norm(weight=ROWS), "weight must have shape (C,), got (2, 5)"),
    (
        lambda: batch_norm(weight=np.ones(4)),
        "weight must have shape (3,) (one per channel of x), got (4,)",
    ),
    (
        lambda: batch_norm(np.ones((2, 5, 6, 7))),
        "x must have 3 channels for a weight and a bias and a running_mean and a "
        "running_var of shape (3,), got 5",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS.astype(np.float32)),
        "x and weight must share a dtype, got float64 and float32: nothing is "
        "converted silently",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, np.ones((4, 1, 3, 3)), groups=4),
        "x must have 4 channels for a weight of shape (4, 1, 3, 3) and groups=4, got 3",
    ),
    (
        lambda: f.conv2d_forward(IMAGES, KERNELS, groups=2),
        "x must have 6 channels for a weight of shape (4, 3, 3, 3) and groups=2, got 3",
    ),
    (
        lambda: batch_norm(np.ones((1, 3, 1, 1)), training=True),
        "x must have more than one value per channel in training mode, got shape "
        "(1, 3, 1, 1): a single value has no variance",
    ),
    (
        lambda: f.max_pool2d_forward(ROWS, 2),
        "x must have shape (N, C, H, W), got (2, 5)",
    ),
    (
        lambda: f.avg_pool2d_forward(ROWS, 2),
        "x must have shape (N, C, H, W), got (2, 5)",
    ),
    (
        lambda: f.max_pool2d_forward(IMAGES, 3, 1, 2),
        "padding must be at most half of kernel_size (3, 3), got (2, 2)",
    ),
    (
        lambda: f.max_pool2d_forward(np.ones((1, 1, 1, 5)), 2, 1, 2, dilation=3),
        "dilation (3, 3) with padding (2, 2) steps over the whole input of 1x5 pixels",
    ),
    (
        lambda: f.adaptive_avg_pool2d_forward(ROWS, 1),
        "x must have shape (N, C, H, W), got (2, 5)",
    ),
    (
        lambda: f.adaptive_avg_pool2d_forward(IMAGES, 0),
        "output_size must be at least 1, got 0",
    ),
    (
        lambda: f.zero_pad_shortcut_forward(ROWS, 4),
        "x must have shape (N, C, H, W), got (2, 5)",
    ),
    (
        lambda: f.cross_entropy_forward(C, np.array([0])),
        "logits must have shape (N, classes), got (3,)",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, [0, 1]),
        "labels must be a NumPy array of integers, got list",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, ROWS),
        "labels must be a NumPy array of integers, got float64",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1, 2])),
        "labels must have shape (2,) (one per row of logits), got (3,)",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 5])),
        "labels must be in 0 ... 4, got 5",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, -1])),
        "labels must be in 0 ... 4, got -1",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), label_smoothing=1.5),
        "label_smoothing must be a number in [0, 1], got 1.5",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), C),
        "weight must have shape (5,) (one per class), got (3,)",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), np.ones(5, np.float32)),
        "logits and weight must share a dtype, got float64 and float32: nothing is "
        "converted silently",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), [1.0] * 5),
        "weight must be a NumPy array, got list",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), -np.ones(5)),
        "weight must be finite numbers of at least 0, got "
        "[-1.0, -1.0, -1.0, -1.0, -1.0]",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), reduction="max"),
        "reduction must be 'mean', 'sum' or 'none', got 'max'",
    ),
    (
        lambda: f.cross_entropy_forward(ROWS, np.array([0, 1]), ignore_index=None),
        "ignore_index must be an int, got None",
    ),
    (
        lambda: f.cross_entropy_backward(
            C, f.cross_entropy_forward(ROWS, np.array([0, 1]))[1]
        ),
        "grad_output must be a number, as the loss is, got shape (3,)",
    ),
    (
        lambda: f.cross_entropy_backward(
            1.0, f.cross_entropy_forward(ROWS, np.array([0, 1]), reduction="none")[1]
        ),
        "grad_output must be a NumPy array, got float",
    ),
    (
        lambda: f.relu_backward(C, f.relu_forward(ROWS)[1]),
        "grad_output must have shape (2, 5) like the forward pass's output, got (3,)",
    ),
]


@pytest.mark.parametrize(
    ("call", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES]
)
def test_a_message_names_the_argument_what_was_expected_and_what_came(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert str(caught.value) == message


PAIRS = {
    "relu": (lambda: f.relu_forward(IMAGES), f.relu_backward),
    "conv2d": (lambda: f.conv2d_forward(IMAGES, KERNELS), f.conv2d_backward),
    "linear": (lambda: f.linear_forward(ROWS, ROWS), f.linear_backward),
    "batch norm": (lambda: batch_norm()[:2], f.batch_norm_backward),
    "max pool": (lambda: f.max_pool2d_forward(IMAGES, 2), f.max_pool2d_backward),
    "avg pool": (lambda: f.avg_pool2d_forward(IMAGES, 2), f.avg_pool2d_backward),
    "adaptive": (
        lambda: f.adaptive_avg_pool2d_forward(IMAGES, 2),
        f.adaptive_avg_pool2d_backward,
    ),
    "option A": (
        lambda: f.zero_pad_shortcut_forward(IMAGES, 4),
        f.zero_pad_shortcut_backward,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_gradient_of_another_dtype_is_refused(name):
    forward, backward = PAIRS[name]
    out, cache = forward()
    message = (
        "grad_output must share the dtype of what it meets, float64, got float32: "
        "nothing is converted silently"
    )
    with pytest.raises(TypeError) as caught:
        backward(np.ones(out.shape, np.float32), cache)
    assert str(caught.value) == message
    backward(np.ones(out.shape), cache)


def test_options_that_are_left_out_are_those_of_torch(rng):
    x = rng.standard_normal((4, 3, 5, 5))
    out, _, mean, variance = f.batch_norm_forward(x, C, 0 * C, 0 * C, C, training=True)
    assert np.allclose(mean, 0.1 * x.mean(axis=(0, 2, 3)), rtol=1e-12)
    unbiased = x.var(axis=(0, 2, 3), ddof=1)
    assert np.allclose(variance, 0.9 + 0.1 * unbiased, rtol=1e-12)
    deviation = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    expected = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / deviation
    assert np.allclose(out, expected, rtol=1e-12, atol=1e-14)

    padded, _ = f.zero_pad_shortcut_forward(x, 5)
    assert np.array_equal(padded[:, 1:4], x)  # stride 1
