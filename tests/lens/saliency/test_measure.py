"""Saliency against autograd, finite differences, and networks that know nothing."""

import importlib
import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.saliency.measure import saliency
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import classes_of, draw_batch, make_twins

CASES = [
    ("resnet14", {"shortcut": "A"}, (3, 3, 12, 9), False),
    ("resnet14", {"shortcut": "A"}, (3, 3, 12, 9), True),
    ("resnet8", {"shortcut": "B", "in_channels": 1}, (1, 1, 9, 11), False),
    ("resnet8", {"shortcut": "C", "in_channels": 2}, (2, 2, 8, 8), True),
    ("plain14", {}, (3, 3, 12, 9), False),
    pytest.param(
        *("resnet50", {"num_classes": 7}, (2, 3, 33, 35), False),
        marks=pytest.mark.slow,
    ),
]


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


@pytest.mark.parametrize(("name", "options", "shape", "training"), CASES)
def test_gradients_are_autograds(torch, oracle, rng, name, options, shape, training):
    looks = importlib.import_module("tests.oracle.looks")
    model, twin = make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x, other = draw_batch(rng, shape, classes_of(model))
    for target in (None, other):
        result = saliency(model, x, target)
        logits, chosen, gradient = looks.saliency(twin, x, target)
        assert_matches(result.gradients, gradient, "gradients")
        assert_matches(result.maps, np.abs(gradient).max(axis=1), "maps")
        assert [row.target for row in result.rows] == chosen.tolist()
        assert [row.predicted for row in result.rows] == logits.argmax(1).tolist()
        for i, row in enumerate(result.rows):
            share = np.exp(logits[i] - logits[i].max())
            share /= share.sum()
            assert row.score == pytest.approx(logits[i, chosen[i]])
            assert row.probability == pytest.approx(share[chosen[i]])
        assert result.training is training


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_a_step_along_the_gradient_changes_the_score_as_promised(rng, backend):
    model = nr.models.resnet8(dtype=np.float64, seed=3).eval()
    x = normal(rng, 3, 3, 9, 7)
    target = [7, 0, 7]
    with nr.using_backend(backend):
        gradients = saliency(model, x, target).gradients
        for i in range(3):
            direction = np.zeros_like(x)
            direction[i] = normal(rng, 3, 9, 7)
            ahead, behind = (model(x + h * direction) for h in (1e-6, -1e-6))
            slope = (ahead - behind)[i, target[i]] / 2e-6
            assert slope == pytest.approx((gradients * direction).sum(), rel=1e-6)


def test_of_equal_channels_only_the_sum_counts(rng):
    one = nr.models.resnet8(in_channels=1, dtype=np.float64).eval()
    three = nr.models.resnet8(dtype=np.float64).eval()
    state = one.state_dict()
    parts = rng.dirichlet((1, 1, 1))  # the same filters, in three unequal parts
    state["conv1.weight"] = state["conv1.weight"] * parts[:, None, None]
    three.load_state_dict(state)
    x = normal(rng, 2, 1, 8, 8)
    expected = saliency(one, x)
    result = saliency(three, np.repeat(x, 3, axis=1), grey=True)
    assert_matches(result.maps, expected.maps, "maps")
    assert [row.peak for row in result.rows] == [row.peak for row in expected.rows]


def rank_correlation(one, other):
    """Spearman's, of maps (N, H, W), averaged over the images."""
    ranks = [a.reshape(len(a), -1).argsort(1).argsort(1) for a in (one, other)]
    pairs = zip(*ranks, strict=True)
    return np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])


@pytest.mark.parametrize("instrument", ["saliency", "grad_cam"])
def test_maps_depend_on_what_was_learned(trained, instrument):
    """Adebayo et al., arXiv 1810.03292, section 3.1: weights are randomised, from the
    logits down. A map that stays the same shows the image, not the network."""
    model, x, labels = trained
    measure = getattr(nr.lens, instrument)
    options = {} if instrument == "saliency" else {"layer": "layer2"}
    before = measure(model, x, labels, **options).maps
    blank = nr.models.create("resnet8", seed=99)
    learned, fresh = model.state_dict(), blank.state_dict()
    agreement = []
    with nr.lens.preserve_state(model):
        for part in ("", "fc", "layer3", "layer2", "layer1", "bn1", "conv1"):
            names = [name for name in learned if part and name.startswith(f"{part}.")]
            model.load_state_dict(
                {**model.state_dict(), **{n: fresh[n] for n in names}}
            )
            after = measure(model, x, labels, **options).maps
            agreement.append(rank_correlation(before, after))
    assert agreement[0] == pytest.approx(1)
    assert agreement[1] < 0.9  # already another classifier is another map
    assert abs(agreement[-1]) < 0.4  # digits are in the middle, for any network


def test_a_row_says_where_and_how_concentrated(rng):
    class Reader(nr.nn.Module):
        """Its only score is a pixel, three times, and a quarter of another."""

        def __init__(self):
            super().__init__()
            self.scale = nr.nn.Parameter(np.ones(1))

        def forward(self, x):
            return (3 * x[:, 0, 1, 2] + 0.25 * x[:, 0, 0, 0])[:, None]

        def backward(self, grad_output, input_grad=True):
            grad = np.zeros((len(grad_output), 1, 4, 4))
            grad[:, 0, 1, 2] = 3 * grad_output[:, 0]
            grad[:, 0, 0, 0] = 0.25 * grad_output[:, 0]
            return grad

    result = saliency(Reader(), normal(rng, 2, 1, 4, 4), classes=["lit"])
    for row in result.rows:
        assert row.peak == (1, 2)
        assert row.half_area == 1 / 16
        assert row.target == row.predicted == "lit"
        assert row.probability == 1
    assert "Reader, 0 layers" in repr(result)


def test_no_gradient_at_all_is_an_empty_map(rng):
    model = nr.models.resnet8().eval()
    model.fc.weight.data *= 0
    result = saliency(model, normal(rng, 2, 3, 8, 8).astype(np.float32))
    assert not result.maps.any()
    assert result.rows[0].peak is result.rows[0].half_area is None
    result.plot()


@pytest.mark.parametrize("instrument", ["saliency", "grad_cam"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(rng, instrument, training):
    measure = getattr(nr.lens, instrument)
    model = nr.models.resnet8(shortcut="B").train(training)
    criterion = nr.nn.CrossEntropyLoss()
    x = normal(rng, 3, 3, 8, 8).astype(np.float32)
    criterion(model(x), np.array([0, 1, 2]))  # a step is under way
    with left_as_it_was(model):
        measure(model, x)
    model.backward(criterion.backward())
    with left_as_it_was(model):
        measure(model, x, 4)

    def breaks(*args, **kwargs):
        raise ZeroDivisionError

    model.layer3[0].conv1.backward = breaks
    with left_as_it_was(model), pytest.raises(ZeroDivisionError):
        measure(model, x, **({} if instrument == "saliency" else {"layer": "layer1"}))
    with left_as_it_was(model), pytest.raises(ValueError, match=r"0\.\.9"):
        measure(model, x, 10)


@pytest.mark.parametrize("instrument", ["saliency", "grad_cam"])
def test_what_does_not_fit_is_named(rng, instrument):
    measure = getattr(nr.lens, instrument)
    model = nr.models.resnet8().eval()
    x = normal(rng, 3, 3, 8, 8).astype(np.float32)
    with pytest.raises(TypeError, match=r"inference\(\).*no backward pass"):
        measure(nr.inference(model), x)
    with pytest.raises(TypeError, match="model must be a Module"):
        measure("resnet8", x)
    with pytest.raises(TypeError, match="float32, got float64"):
        measure(model, x.astype(float))
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        measure(model, x[0])
    with pytest.raises(ValueError, match=r"one class, or 3.*\(2,\)"):
        measure(model, x, [1, 2])
    with pytest.raises(ValueError, match=r"0\.\.9, got \[-1\]"):
        measure(model, x, -1)
    with pytest.raises(TypeError, match="integers, got float64"):
        measure(model, x, 1.0)
    with pytest.raises(ValueError, match=r"10 names.*got 2"):
        measure(model, x, classes=["cat", "dog"])
    with pytest.raises(TypeError, match="sequence of names, got str"):
        measure(model, x, classes="0123456789")
    with pytest.raises(ValueError, match=r"3 names, one per image, got 1"):
        measure(model, x, names=["a.png"])
    with pytest.raises(TypeError, match="uint8, got float32"):
        measure(model, x, pictures=x)
    with pytest.raises(ValueError, match=r"shape \(3, 3, 8, 8\)"):
        measure(model, x, pictures=np.zeros((3, 3, 9, 8), np.uint8))


def test_it_is_plain_data_and_a_picture(rng, tmp_path):
    model = nr.models.resnet8().eval()
    x = normal(rng, 2, 3, 9, 8).astype(np.float32)
    classes = [f"class {k}" for k in range(10)]
    result = saliency(model, x, 3, classes=classes, names=["a.png", 7])
    for name in ("look.json", "look.csv", "look.png"):
        result.save(tmp_path / name)
    data = json.loads((tmp_path / "look.json").read_text())
    assert np.shape(data["gradients"]) == x.shape
    assert np.shape(data["maps"]) == (2, 9, 8)
    assert "pictures" not in data
    assert data["rows"][1]["target"] == "class 3"
    assert [row["image"] for row in data["rows"]] == ["a.png", 7]
    assert "evaluation mode" in repr(result)
    assert result.pictures.min() == 0
    assert result.pictures.max() == 255
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")
