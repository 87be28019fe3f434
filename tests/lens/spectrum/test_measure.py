"""The spectrum against every path, one by one, and against the ordinary gradient."""

import importlib
import math

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.spectrum.measure import spectrum, split_gradient
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import draw_batch, random_state


@pytest.fixture
def paths(torch):
    return importlib.import_module("tests.oracle.paths")


def four_blocks(kind):
    """The ImageNet family with one block a stage: max pooling, projections."""
    block = {"basic": nr.models.BasicBlock, "bottleneck": nr.models.Bottleneck}[kind]
    return nr.models.ResNet(block, (1, 1, 1, 1), 6, dtype=np.float64, seed=0)


NETWORKS = {
    "resnet8-A": lambda oracle: (
        nr.models.resnet8(dtype=np.float64),
        oracle.CifarResNet(8),
    ),
    "resnet8-C": lambda oracle: (
        nr.models.resnet8(shortcut="C", dtype=np.float64),
        oracle.CifarResNet(8, shortcut="C"),
    ),
    "plain8": lambda oracle: (
        nr.models.plain8(dtype=np.float64),
        oracle.CifarResNet(8, shortcut=None),
    ),
    "four basic blocks": lambda oracle: (
        four_blocks("basic"),
        oracle.ResNet(oracle.BasicBlock, (1, 1, 1, 1), 6),
    ),
    "four bottlenecks": lambda oracle: (
        four_blocks("bottleneck"),
        oracle.ResNet(oracle.Bottleneck, (1, 1, 1, 1), 6),
    ),
}


@pytest.mark.parametrize(
    ("name", "training"),
    [
        pytest.param(
            *(name, training),
            marks=pytest.mark.slow if name == "four bottlenecks" and training else (),
            id=f"{name}-{'training' if training else 'evaluation'}",
        )
        for name in NETWORKS
        for training in (True, False)
    ],
)
def test_each_part_is_the_sum_over_its_paths(torch, oracle, paths, rng, name, training):
    model, twin = NETWORKS[name](oracle)
    state = random_state(model, rng)
    model.load_state_dict(state)
    model.train(training)
    twin.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    twin.double().train(training)
    shape = (3, 3, 33, 40) if "four" in name else (3, 3, 9, 8)
    x, labels = draw_batch(rng, shape, len(state["fc.bias"]))

    expected, counts = {}, {}
    for crossed, gradient in paths.path_gradients(twin, x, labels):
        expected[crossed] = expected.get(crossed, 0) + gradient
        counts[crossed] = counts.get(crossed, 0) + 1
    split = split_gradient(model, x, labels)
    size = max(np.abs(part).max() for part in expected.values())
    for k, part in enumerate(split.parts):
        assert split.paths[k] == counts.get(k, 0)
        if part is None:
            assert k not in expected
        else:
            assert_matches(part, expected[k], f"{k} branches", size=size)

    result = spectrum(model, x, labels)
    whole = sum(expected.values())
    for k, part in expected.items():
        assert result.norms[k] == pytest.approx(np.linalg.norm(part), rel=1e-9)
        share = (part * whole).sum() / (whole * whole).sum()
        assert result.shares[k] == pytest.approx(share, rel=1e-8, abs=1e-12)


def make(name, rng, N, size=8, **options):
    options = {"num_classes": 10, "dtype": np.float64, **options}
    model = nr.models.create(name, **options)
    x = normal(rng, N, 3, size, size).astype(options["dtype"])
    return model, x, rng.integers(0, 10, N)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("name", "size"), [("resnet20", 8), ("resnet44", 8), ("resnet18", 32)]
)
def test_the_parts_add_up_to_the_gradient(rng, name, size, training):
    model, x, y = make(name, rng, 3, size)
    model.train(training)
    result = spectrum(model, x, y)
    L = len(result.rows) - 1
    assert result.total_error < 1e-10
    assert result.shares.sum() == pytest.approx(1, abs=1e-9)
    assert result.paths == tuple(math.comb(L, k) for k in range(L + 1))
    assert result.mean_branches_of_paths == L / 2

    criterion = nr.nn.CrossEntropyLoss()
    assert result.loss == criterion(model(x), y)
    grad_input = model.backward(criterion.backward())
    assert result.gradient_norm == pytest.approx(np.linalg.norm(grad_input))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet56", "resnet110"])
def test_the_parts_of_deep_networks_add_up_too(rng, name):
    model, x, y = make(name, rng, 3)
    assert spectrum(model, x, y).total_error < 1e-10
    assert spectrum(model.eval(), x, y).total_error < 1e-10


def test_float32_loses_a_few_roundings_only(rng):
    model, x, y = make("resnet20", rng, 4, dtype=np.float32)
    assert 0 < spectrum(model, x, y).total_error < 1e-4


def test_a_plain_network_has_one_path_through_all_branches(rng):
    result = spectrum(*make("plain14", rng, 3))
    assert result.paths == (0, 0, 0, 0, 0, 0, 1)
    assert result.norms[-1] == pytest.approx(result.gradient_norm)
    assert result.shares.tolist() == [0, 0, 0, 0, 0, 0, pytest.approx(1)]
    assert result.mean_branches == result.mean_branches_of_paths == pytest.approx(6)


def test_branches_that_start_at_zero_leave_the_shortcuts_alone(rng):
    model, x, y = make("resnet18", rng, 2, 32, zero_init_residual=True)
    result = spectrum(model, x, y)
    assert result.shortcut_share == pytest.approx(1)
    assert not result.norms[1:].any()


@pytest.mark.parametrize(
    ("name", "passes"), [("resnet20", 45), ("plain20", 9), ("resnet8", 6)]
)
def test_progress_is_told_pass_by_pass(rng, name, passes):
    told = []
    spectrum(*make(name, rng, 2), progress=lambda *now: told.append(now))
    assert told == [(i + 1, passes) for i in range(passes)]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(rng, training):
    model, x, y = make("resnet8", rng, 3, shortcut="B")
    model.train(training)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), y)
    with left_as_it_was(model):
        spectrum(model, x, y)
    model.backward(criterion.backward())
    with left_as_it_was(model):
        spectrum(model, x, y)


def test_the_model_is_left_as_it_was_when_it_is_stopped(rng):
    model, x, y = make("resnet14", rng, 3)

    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with left_as_it_was(model), pytest.raises(KeyboardInterrupt):
        spectrum(model, x, y, progress=stop)


def test_something_between_the_blocks_is_refused(rng):
    model, x, y = make("resnet14", rng, 2)
    model.layer2 = nr.nn.Sequential(*model.layer2, nr.nn.AvgPool2d(1))
    with left_as_it_was(model), pytest.raises(ValueError, match="one another directly"):
        spectrum(model, x, y)


def test_a_block_that_is_called_twice_is_refused(rng):
    model, x, y = make("resnet14", rng, 2)
    model.layer1 = nr.nn.Sequential(model.layer1[0], model.layer1[0])
    with left_as_it_was(model), pytest.raises(ValueError, match="called once"):
        spectrum(model, x, y)


def test_it_prints_a_row_per_length_and_says_what_matters(rng):
    text = repr(spectrum(*make("resnet8", rng, 2)))
    assert text.splitlines()[0].split() == ["branches", "paths", "norm", "share"]
    assert "where the average path crosses 1.50" in text
    data = spectrum(*make("resnet8", rng, 2)).to_dict()
    assert [row["paths"] for row in data["rows"]] == [1, 3, 3, 1]
    assert data["mean_branches_of_paths"] == 1.5
