"""Cross entropy against PyTorch: smoothing, huge logits, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import functional
from tests.oracle.compare import (
    CONTIGUOUS,
    LAYOUTS,
    assert_as_accurate,
    assert_matches,
    check_parity,
    normal,
    tied,
)


def parity(
    torch,
    N,
    classes,
    smoothing,
    dtype,
    rng,
    *,
    draw=normal,
    layout=CONTIGUOUS,
    scale=1,
    weighted=False,
    ignored=0.0,
    ignore_index=-100,
    reduction="mean",
):
    labels = rng.integers(0, classes, N)
    labels[rng.random(N) < ignored] = ignore_index
    if (labels == ignore_index).all():  # a mean of nothing has a test of its own
        labels[0] = (ignore_index + 1) % classes
    weight = np.abs(normal(rng, classes)) + 0.125 if weighted else None
    options = {
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": smoothing,
    }

    def ours(inputs, grad_output):
        loss, cache = functional.cross_entropy_forward(
            inputs["logits"],
            labels,
            None if weight is None else layout.arrange(weight.astype(dtype)),
            **options,
        )
        if reduction != "none":
            grad_output = float(grad_output)
        grad = functional.cross_entropy_backward(grad_output, cache)
        return {"out": np.asarray(loss), "grad_logits": grad}

    def theirs(logits):
        given = None if weight is None else torch.tensor(weight, dtype=logits.dtype)
        return torch.nn.functional.cross_entropy(
            logits, torch.tensor(labels), given, **options
        )

    logits = scale * draw(rng, N, classes)
    counts = labels != ignore_index
    one = np.ones(classes) if weight is None else weight
    share = 1 / one[labels[counts]].sum() if reduction == "mean" else 1.0
    check_parity(
        torch,
        ours,
        theirs,
        {"logits": logits},
        dtype,
        rng,
        grad_output=normal(rng, N) if reduction == "none" else np.array(0.75),
        # One class: a loss of exactly 0, computed from terms of this size.
        sizes={
            "out": (1.0 + np.abs(logits).max())
            * one.max()
            * (counts.sum() if reduction == "sum" else 1),
            "grad_logits": one.max() * share,
        },
        layout=layout,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize(("N", "classes"), [(1, 1), (1, 10), (8, 10), (33, 1000)])
def test_cross_entropy_matches_torch(torch, N, classes, smoothing, backend, dtype, rng):
    parity(torch, N, classes, smoothing, dtype, rng)


@given(
    N=st.integers(1, 9),
    classes=st.integers(1, 20),
    smoothing=st.floats(0, 1, exclude_max=True),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
    scale=st.sampled_from([1.0, 16.0, 1024.0]),
)
def test_cross_entropy_matches_torch_over_random_shapes(
    torch, backend, dtype, N, classes, smoothing, draw, layout, scale
):
    rng = np.random.default_rng(0)
    parity(
        torch, N, classes, smoothing, dtype, rng, draw=draw, layout=layout, scale=scale
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignore_index", [-100, 3])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_weights_ignored_labels_and_reductions_are_torchs(
    torch, weighted, ignore_index, smoothing, reduction, backend, dtype, rng
):
    parity(
        torch,
        17,
        7,
        smoothing,
        dtype,
        rng,
        weighted=weighted,
        ignored=0.3,
        ignore_index=ignore_index,
        reduction=reduction,
    )


@given(
    N=st.integers(1, 9),
    classes=st.integers(1, 20),
    smoothing=st.floats(0, 1, exclude_max=True),
    weighted=st.booleans(),
    ignore_index=st.integers(-3, 25),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    scale=st.sampled_from([1.0, 16.0]),
    layout=st.sampled_from(LAYOUTS),
)
def test_all_options_together_are_torchs(
    torch,
    dtype,
    N,
    classes,
    smoothing,
    weighted,
    ignore_index,
    reduction,
    scale,
    layout,
):
    rng = np.random.default_rng(0)
    if ignore_index == 0 and classes == 1:
        ignore_index = -1  # or nothing would be left
    parity(
        torch,
        N,
        classes,
        smoothing,
        dtype,
        rng,
        weighted=weighted,
        ignored=0.4,
        ignore_index=ignore_index,
        reduction=reduction,
        scale=scale,
        layout=layout,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("labels", "weight"),
    [
        ([-100, -100, -100], None),
        ([-100, -100, -100], [1.0, 0.0, 2.0, 3.0]),
        ([1, 1, 1], [1.0, 0.0, 2.0, 3.0]),
        ([1, -100, 1], [1.0, 0.0, 2.0, 3.0]),
        ([1, -100, 2], [0.0, 0.0, 0.0, 0.0]),
    ],
    ids=["ignored", "ignored, weighted", "weight 0", "both", "no weights"],
)
def test_a_mean_of_nothing_is_nan_as_in_torch(
    torch, labels, weight, reduction, smoothing, dtype, rng
):
    logits, labels = normal(rng, 3, 4).astype(dtype), np.array(labels)
    weight = None if weight is None else np.array(weight, dtype)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    loss, cache = functional.cross_entropy_forward(logits, labels, weight, **options)
    grad = np.ones(3, dtype) if reduction == "none" else 1.0
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs,
        torch.tensor(labels),
        None if weight is None else torch.tensor(weight),
        **options,
    )
    expected.sum().backward()
    close = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
    assert np.asarray(loss).dtype == dtype
    np.testing.assert_allclose(loss, expected.detach().numpy(), **close)
    ours = functional.cross_entropy_backward(grad, cache)
    np.testing.assert_allclose(ours, theirs.grad.numpy(), **close)


@given(
    N=st.integers(1, 9),
    classes=st.integers(1, 20),
    draw=st.sampled_from([normal, tied]),
    layout=st.sampled_from(LAYOUTS),
    scale=st.sampled_from([1.0, 16.0, 1024.0]),
)
def test_softmax_matches_torch(torch, dtype, N, classes, draw, layout, scale):
    logits = scale * draw(np.random.default_rng(0), N, classes)
    actual = functional.softmax(layout.arrange(logits.astype(dtype)))
    truth, yardstick = (
        torch.softmax(torch.tensor(logits.astype(kind)), 1).numpy()
        for kind in (np.float64, np.float32)
    )
    if dtype == np.float64:
        assert_matches(actual, truth, "softmax")
    else:
        assert_as_accurate(actual, yardstick, truth, "softmax")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_are_stable(smoothing, backend, dtype):
    logits = np.array([[1e4, 0, -1e4], [-3e38, 1, 2]], dtype)
    labels = np.array([0, 2])
    loss, cache = functional.cross_entropy_forward(logits[:1], labels[:1])
    assert float(loss) == 0
    grad = functional.cross_entropy_backward(1.0, cache)
    assert np.array_equal(grad, np.zeros((1, 3), dtype))
    loss, cache = functional.cross_entropy_forward(
        logits[:1], labels[1:], label_smoothing=smoothing
    )
    assert np.isfinite(loss)
    assert np.all(np.isfinite(functional.cross_entropy_backward(1.0, cache)))
    loss, cache = functional.cross_entropy_forward(logits[1:], labels[1:])
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert np.all(np.isfinite(functional.cross_entropy_backward(1.0, cache)))


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes(backend, dtype):
    loss, _ = functional.cross_entropy_forward(
        np.full((4, 10), 3, dtype), np.array([0, 1, 2, 9])
    )
    assert float(loss) == pytest.approx(math.log(10), rel=1e-6)  # nats


def test_the_loss_is_a_mean_over_the_batch(backend, rng):
    logits, labels = normal(rng, 4, 10), np.array([0, 3, 3, 9])
    once, cache = functional.cross_entropy_forward(logits, labels)
    twice, cache_of_two = functional.cross_entropy_forward(
        np.tile(logits, (2, 1)), np.tile(labels, 2)
    )
    assert float(twice) == pytest.approx(float(once), rel=1e-13)
    grad = functional.cross_entropy_backward(1.0, cache)
    grad_of_two = functional.cross_entropy_backward(1.0, cache_of_two)
    assert np.allclose(grad_of_two[:4], grad / 2, rtol=1e-13, atol=0)


def test_the_gradient_of_each_image_sums_to_zero(backend, rng):
    # Adding a constant to all logits changes no probability.
    logits, labels = normal(rng, 5, 7), np.array([0, 1, 6, 3, 3])
    _, cache = functional.cross_entropy_forward(logits, labels, label_smoothing=0.1)
    grad = functional.cross_entropy_backward(1.0, cache)
    assert np.abs(grad.sum(axis=1)).max() < 1e-16
    assert np.abs(grad).max() > 0.01


def test_a_class_ruled_out_by_minus_infinity_is_as_good_as_absent(dtype, rng):
    logits = normal(rng, 3, 5).astype(dtype)
    labels = np.array([0, 2, 3])
    logits[:, 4] = -np.inf
    loss, cache = functional.cross_entropy_forward(logits, labels)
    expected, _ = functional.cross_entropy_forward(logits[:, :4].copy(), labels)
    assert loss == pytest.approx(expected, rel=1e-6)
    grad = functional.cross_entropy_backward(1.0, cache)
    assert not grad[:, 4].any()
    assert np.isfinite(grad).all()


def test_any_integer_type_of_labels_will_do(backend, dtype, rng):
    logits = normal(rng, 3, 5).astype(dtype)
    expected, _ = functional.cross_entropy_forward(logits, np.array([0, 4, 2]))
    for kind in (np.uint8, np.int32):
        loss, _ = functional.cross_entropy_forward(logits, np.array([0, 4, 2], kind))
        assert loss == expected


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": np.array([0, 5])}, ValueError, "labels"),
        ({"labels": np.array([-1, 0])}, ValueError, "labels"),
        ({"labels": np.array([0, 1, 2])}, ValueError, "labels"),
        ({"labels": np.array([[0], [1]])}, ValueError, "labels"),
        ({"labels": np.array([0.0, 1.0])}, TypeError, "labels"),
        ({"logits": np.zeros(5)}, ValueError, "logits"),
        ({"logits": np.zeros((2, 5), np.int64)}, TypeError, "logits"),
        (
            {"logits": np.zeros((0, 5)), "labels": np.zeros(0, int)},
            ValueError,
            "logits",
        ),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing"),
        ({"label_smoothing": 1.01}, ValueError, "label_smoothing"),
    ],
    ids=[
        "too large",
        "negative",
        "too many",
        "2-d",
        "floats",
        "1-d logits",
        "integers",
        "empty",
        "smoothing below 0",
        "smoothing of everything",
    ],
)
def test_bad_arguments_are_named(change, error, message, backend):
    arguments = {"logits": np.zeros((2, 5)), "labels": np.array([0, 1])}
    with pytest.raises(error, match=message) as caught:
        functional.cross_entropy_forward(**{**arguments, **change})
    assert "\n" not in str(caught.value)
