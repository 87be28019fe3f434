"""The ledger's books against autograd's, and against blocks that cheat."""

import importlib
import math
from itertools import pairwise

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.ledger.measure import ledger
from tests.lens.state import left_as_it_was
from tests.oracle.compare import RTOL64, normal
from tests.oracle.networks import classes_of, draw_batch, make_twins

CASES = [
    ("resnet14", {"shortcut": "A"}, (3, 3, 12, 9)),
    ("resnet8", {"shortcut": "B"}, (3, 3, 8, 11)),
    ("resnet8", {"shortcut": "C"}, (2, 3, 9, 9)),
    ("plain14", {}, (3, 3, 12, 9)),
    ("resnet18", {"num_classes": 7}, (2, 3, 40, 33)),
    ("four bottlenecks", {"num_classes": 7, "stride_in": "1x1"}, (2, 3, 33, 33)),
]


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


@pytest.fixture
def paths(torch):
    return importlib.import_module("tests.oracle.paths")


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("name", "options", "shape"), CASES, ids=[case[0] for case in CASES]
)
def test_every_norm_is_autograds(
    torch, oracle, paths, rng, name, options, shape, training
):
    model, twin = make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x, labels = draw_batch(rng, shape, classes_of(model))
    result = ledger(model, x, labels)
    expected, grad_images, loss = paths.books(twin, x, labels)

    assert [row.name for row in result.rows] == list(expected)
    assert result.loss == pytest.approx(loss, rel=RTOL64)
    assert result.grad_images_norm == pytest.approx(
        np.linalg.norm(grad_images), rel=RTOL64
    )
    assert result.training is training
    for row in result.rows:
        book = expected[row.name]
        norms = {
            key.removeprefix("grad_"): np.linalg.norm(value)
            for key, value in book.items()
            if key != "open"
        }
        for key, norm in norms.items():
            actual = getattr(row, f"grad_{key}_norm")
            assert actual == pytest.approx(norm, rel=RTOL64), f"{row.name} {key}"
        assert row.masked_fraction == pytest.approx(1 - book["open"].mean())
        stopped = 1 - norms["sum"] / norms["output"]
        assert row.stopped_share == pytest.approx(stopped, rel=1e-8)
        assert row.identity_error < 1e-14
        if "shortcut" in norms:
            product = (book["grad_shortcut"] * book["grad_branch"]).sum()
            cosine = product / (norms["shortcut"] * norms["branch"])
            assert row.cosine == pytest.approx(cosine, rel=1e-8, abs=1e-12)
        else:
            assert row.grad_shortcut_norm is None
            assert row.cosine is None


def batch(rng, N=3, dtype=np.float32):
    return normal(rng, N, 3, 8, 8).astype(dtype), rng.integers(0, 10, N)


@pytest.mark.parametrize(
    "bug",
    [
        "shortcut_gradient_forgotten",
        "branch_gradient_forgotten",
        "fork_gradient_averaged",
        "relu_after_sum_forgotten",
    ],
)
def test_a_block_that_adds_wrongly_is_found_out(rng, bug):
    model = nr.models.resnet14(shortcut="B")
    with nr.lens.bugs.inject(bug):
        rows = ledger(model, *batch(rng)).rows
    assert all(row.identity_error > 0.1 for row in rows)
    assert all(row.identity_error < 1e-6 for row in ledger(model, *batch(rng)).rows)


def test_the_books_hold_within_and_between_blocks(rng):
    rows = ledger(nr.models.resnet20(dtype=np.float64), *batch(rng, 4, float)).rows
    for row in rows:
        two, cosine = row.grad_shortcut_norm * row.grad_branch_norm, row.cosine
        squares = row.grad_shortcut_norm**2 + row.grad_branch_norm**2
        assert row.grad_input_norm**2 == pytest.approx(squares + 2 * two * cosine)
    for below, above in pairwise(rows):
        assert above.grad_input_norm == below.grad_output_norm


def test_a_block_that_is_called_twice_has_books_for_both_calls(rng):
    model = nr.models.resnet8(dtype=np.float64)
    block = model.layer1[0]
    model.layer1 = nr.nn.Sequential(block, block)
    x, y = normal(rng, 3, 3, 8, 8), np.array([0, 1, 2])
    first, second, *_ = rows = ledger(model, x, y).rows
    assert len(rows) == 4
    assert first.masked_fraction != second.masked_fraction
    assert first.grad_output_norm == second.grad_input_norm
    assert all(row.identity_error < 1e-14 for row in rows)


def test_branches_that_start_at_zero_hand_nothing_on(rng):
    model = nr.models.resnet18(num_classes=10, zero_init_residual=True)
    x = normal(rng, 2, 3, 32, 32).astype(np.float32)
    for row in ledger(model, x, np.array([1, 2])).rows:
        assert row.grad_branch_norm == 0
        assert row.cosine is None
        assert row.grad_input_norm == row.grad_shortcut_norm


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(rng, training):
    model = nr.models.resnet8(shortcut="B").train(training)
    criterion = nr.nn.CrossEntropyLoss()
    x, y = batch(rng)
    criterion(model(x), y)  # a step is under way
    with left_as_it_was(model):
        ledger(model, x, y)
    model.backward(criterion.backward())
    with left_as_it_was(model):
        ledger(model, x, y)


def test_the_model_is_left_as_it_was_when_something_breaks(rng):
    model = nr.models.resnet8()
    x, y = batch(rng)
    with left_as_it_was(model), pytest.raises(ValueError, match="labels"):
        ledger(model, x, y + 10)

    def breaks(*args, **kwargs):
        raise ZeroDivisionError

    model.layer2[0].conv1.backward = breaks
    with left_as_it_was(model), pytest.raises(ZeroDivisionError):
        ledger(model, x, y)


def test_what_does_not_fit_is_named(rng):
    model = nr.models.resnet8()
    x, y = batch(rng)
    with pytest.raises(TypeError, match="model must be a Module"):
        ledger("resnet8", x, y)
    with pytest.raises(ValueError, match="residual blocks; InferenceModel has none"):
        ledger(nr.inference(model), x, y)
    with pytest.raises(TypeError, match="float32, got float64"):
        ledger(model, x.astype(float), y)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        ledger(model, x[0], y)
    with pytest.raises(TypeError, match="integers, got list"):
        ledger(model, x, list(y))
    with pytest.raises(ValueError, match=r"\(3,\), one label per image"):
        ledger(model, x, y[:2])


def test_it_prints_the_rows_and_says_what_it_was_measured_on(rng):
    text = repr(ledger(nr.models.plain8().eval(), *batch(rng)))
    assert text.splitlines()[0].split()[:2] == ["block", "|grad_output|"]
    assert "Plain net, 8 layers, a batch of 3 images in evaluation mode" in text
    assert text.count("layer") == 3 + 1  # rows, and "8 layers"


def test_no_gradient_at_all_is_a_row_of_zeros(rng):
    model = nr.models.resnet8()
    model.fc.weight.data *= 0
    model.fc.bias.data *= 0
    model.fc.bias.data[4] = 1000  # the softmax is certain, and right
    x, _ = batch(rng)
    result = ledger(model, x, np.array([4, 4, 4]))
    assert result.rows[-1].grad_output_norm == result.rows[0].stopped_share == 0
    assert result.rows[0].cosine is None
    assert "with respect to the logits 0.000e+00" in repr(result)


def test_an_exploding_gradient_is_measured_not_hidden(rng):
    """float32 overflows in squares long before the norm does."""
    model = nr.models.resnet8()
    model.fc.weight.data *= np.float32(1e25)
    with np.errstate(all="ignore"):
        result = ledger(model, *batch(rng))
    assert result.rows[-1].grad_output_norm > 1e22
    assert math.isfinite(result.rows[0].grad_input_norm)
