"""Whole networks against their PyTorch twins: every tensor of a step, ten steps."""

import functools

import numpy as np
import pytest

import npresnet as nr
from tests.oracle import networks
from tests.oracle.compare import (
    assert_as_accurate,
    assert_equal,
    assert_matches,
    distance,
    largest,
)
from tests.oracle.networks import (
    NETWORK_FACTOR32,
    NETWORK_RTOL64,
    RESPONSE_FACTOR,
    TENSOR_FACTOR32,
    assert_same_tensors,
    classes_of,
    draw_batch,
    round_once,
)

# (name, options, input shape); the first ones take well under a second.
SMALL = {
    "resnet8 A": ("resnet8", {"shortcut": "A"}, (3, 3, 16, 16)),
    "resnet8 B": ("resnet8", {"shortcut": "B"}, (3, 3, 15, 17)),
    "resnet8 C": ("resnet8", {"shortcut": "C"}, (3, 3, 16, 16)),
    "plain8": ("plain8", {}, (3, 3, 16, 16)),
    "resnet20 A": ("resnet20", {"shortcut": "A"}, (3, 3, 16, 16)),
    "resnet20 B": ("resnet20", {"shortcut": "B"}, (3, 3, 13, 14)),
    "resnet20 C": ("resnet20", {"shortcut": "C"}, (3, 3, 16, 16)),
    "plain20": ("plain20", {}, (3, 3, 16, 16)),
    "resnet14, 1 channel": (
        "resnet14",
        {"in_channels": 1, "num_classes": 7},
        (4, 1, 8, 8),
    ),
    "resnet18": ("resnet18", {"num_classes": 11}, (2, 3, 40, 40)),
    "resnet11": ("resnet11", {"num_classes": 11}, (3, 3, 17, 21)),
}
MIDDLE = {
    "resnet18, odd size": (
        "resnet18",
        {"num_classes": 5, "in_channels": 4},
        (3, 4, 33, 45),
    ),
    "resnet50": ("resnet50", {}, (2, 3, 40, 40)),
    "four bottlenecks v1": (
        "four bottlenecks",
        {"stride_in": "1x1", "num_classes": 11},
        (2, 3, 40, 40),
    ),
    "resnet32 A": ("resnet32", {"shortcut": "A"}, (3, 3, 16, 16)),
    "resnet32 B": ("resnet32", {"shortcut": "B"}, (3, 3, 16, 16)),
    "resnet32 C": ("resnet32", {"shortcut": "C"}, (3, 3, 16, 16)),
    "resnet44 A": ("resnet44", {"shortcut": "A"}, (3, 3, 16, 16)),
    "resnet56 A": ("resnet56", {"shortcut": "A"}, (3, 3, 16, 16)),
    "plain32": ("plain32", {}, (3, 3, 16, 16)),
}
# What is built of the same blocks as one of these, but larger.
LARGER = {
    "resnet34": ("resnet34", {"num_classes": 11}, (2, 3, 40, 40)),
    "resnet50 v1": (
        "resnet50",
        {"stride_in": "1x1", "num_classes": 11},
        (2, 3, 40, 40),
    ),
}
# Deep residual networks have their receipts (tests/models/test_receipts.py), which
# compare the same tensors.
LARGE = {
    "plain56": ("plain56", {}, (3, 3, 16, 16)),
    "plain110": ("plain110", {}, (3, 3, 16, 16)),
}
training_and_evaluation = pytest.mark.parametrize(
    "training", [True, False], ids=["training", "evaluation"]
)


def check_network(
    torch,
    oracle,
    case,
    training,
    rng,
    rtol=NETWORK_RTOL64,
    limit=None,
    backends=("numba",),
):
    name, options, shape = case
    model, twin = networks.make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x, labels = draw_batch(rng, shape, classes_of(model))
    state = model.state_dict()
    expected = networks.theirs(torch, twin, x, labels, label_smoothing=0.1)
    for backend in backends:
        model.zero_grad()
        model.load_state_dict(state)  # the step moves running statistics
        with nr.using_backend(backend):
            actual = networks.ours(model, x, labels, label_smoothing=0.1)
        assert_same_tensors(actual, expected)
        for key, tensor in expected.items():
            what = f"{key}, {backend}"
            if tensor.dtype == np.int64:
                assert_equal(actual[key], tensor, what)
            else:
                assert_matches(actual[key], tensor, what, rtol=rtol, limit=limit)


def response_to_rounding(torch, oracle, case, training, rng):
    """Change the images by one rounding: the largest relative change it leads to."""
    name, options, shape = case
    model, twin = networks.make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    state = model.state_dict()
    other = networks.make_twin(
        torch, oracle, name, state, np.float64, training, **options
    )
    x, labels = draw_batch(rng, shape, classes_of(model))
    before = networks.theirs(torch, twin, x, labels)
    after = networks.theirs(torch, other, round_once(x, rng), labels)
    return max(
        distance(after[key], tensor) / largest(tensor)
        for key, tensor in before.items()
        if tensor.dtype != np.int64
    )


@training_and_evaluation
@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_every_tensor_of_a_step_matches_torch_on_both_backends(
    torch, oracle, case, training, rng
):
    both = ("reference", "numba")
    check_network(torch, oracle, case, training, rng, backends=both)


@training_and_evaluation
@pytest.mark.parametrize("case", MIDDLE.values(), ids=MIDDLE)
def test_every_tensor_of_a_step_matches_torch(torch, oracle, case, training, rng):
    check_network(torch, oracle, case, training, rng)


@pytest.mark.slow
@training_and_evaluation
@pytest.mark.parametrize("case", LARGER.values(), ids=LARGER)
def test_every_tensor_of_a_larger_networks_step_matches_torch(
    torch, oracle, case, training, rng
):
    check_network(torch, oracle, case, training, rng)


@pytest.mark.slow
@training_and_evaluation
@pytest.mark.parametrize("case", LARGE.values(), ids=LARGE)
def test_every_tensor_of_a_deep_networks_step_matches_torch(
    torch, oracle, case, training
):
    # The same seed for both: the same state and the same images.
    response = response_to_rounding(
        torch, oracle, case, training, np.random.default_rng(0)
    )
    rtol = max(NETWORK_RTOL64, RESPONSE_FACTOR * response)
    assert rtol < 1e-4  # or the comparison says nothing
    limit = f"{RESPONSE_FACTOR:g} x PyTorch's response to one rounding"
    check_network(torch, oracle, case, training, np.random.default_rng(0), rtol, limit)


def switches_agree(tensors, truth):
    """Tell whether every ReLU is open and closed where it truly is."""
    return all(
        np.array_equal(tensors[key] > 0, tensor > 0)
        for key, tensor in truth.items()
        if "relu" in key
    )


@functools.lru_cache(maxsize=8)  # for either backend
def float32_step(torch, oracle, case, training, seed):
    """Prepare a step; give PyTorch's and the true tensors of it, and what to run."""
    name, options, shape = SMALL[case]
    rng = np.random.default_rng(seed)
    model, twin = networks.make_twins(
        torch, oracle, name, np.float32, rng, training=training, **options
    )
    state = model.state_dict()
    true_twin = networks.make_twin(
        torch, oracle, name, state, np.float64, training, **options
    )
    x, labels = draw_batch(rng, shape, classes_of(model))
    return (
        networks.theirs(torch, twin, x, labels),
        networks.theirs(torch, true_twin, x, labels),
        (model, state, x.astype(np.float32), labels),
    )


@training_and_evaluation
@pytest.mark.parametrize(
    "name", ["resnet8 A", "resnet8 C", "resnet20 B", "plain20", "resnet18"]
)
def test_float32_is_as_near_the_truth_as_torch(torch, oracle, name, training, backend):
    # A sum that rounds to the other side of 0 switches a ReLU and with it a whole
    # path: that is no rounding error. A batch in which it happens, to us or to
    # PyTorch, is passed over.
    for seed in range(5):
        yardstick, truth, (model, state, *batch) = float32_step(
            torch, oracle, name, training, seed
        )
        model.zero_grad()
        model.load_state_dict(state)
        actual = networks.ours(model, *batch)
        assert_same_tensors(actual, truth)
        if switches_agree(actual, truth) and switches_agree(yardstick, truth):
            break
    else:
        pytest.fail("a ReLU was switched in each of five batches")
    logarithms = []
    for key, tensor in truth.items():
        if tensor.dtype == np.int64:
            assert_equal(actual[key], tensor, key)
            continue
        runs = actual, yardstick, truth
        # One number is often right by luck: the loss is judged with the logits.
        arrays = (
            [np.append(run["activation:fc#0"], run["loss"]) for run in runs]
            if key == "loss"
            else [run[key] for run in runs]
        )
        assert_as_accurate(*arrays, key, factor=TENSOR_FACTOR32)
        if one := np.finfo(np.float32).eps * largest(tensor):  # a rounding
            errors = [distance(run[key], tensor) for run in (actual, yardstick)]
            ratio = max(errors[0], one) / max(errors[1], one)
            logarithms.append(np.log(ratio))
    assert np.exp(np.mean(logarithms)) <= NETWORK_FACTOR32


@pytest.fixture(autouse=True, scope="module")
def _no_step_outlives_the_module():
    yield
    float32_step.cache_clear()


SETTINGS = {
    "plain": {"lr": 0.05},
    "momentum": {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4},
    "Nesterov": {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(
    "name", ["resnet8 A", "resnet8 B", "resnet20 A", "plain8", "resnet14, 1 channel"]
)
def test_ten_steps_of_sgd_follow_torch(torch, oracle, name, settings, rng):
    name, options, shape = SMALL[name]
    model, twin = networks.make_twins(torch, oracle, name, np.float64, rng, **options)
    optimizer = nr.optim.SGD(model.parameters(), **settings)
    their_optimizer = torch.optim.SGD(twin.parameters(), **settings)
    criterion = nr.nn.CrossEntropyLoss()
    for _ in range(10):
        x, labels = draw_batch(rng, shape, classes_of(model))
        model.zero_grad()
        loss = criterion(model(x), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()

        their_optimizer.zero_grad()
        their_loss = torch.nn.functional.cross_entropy(
            twin(torch.tensor(x)), torch.tensor(labels)
        )
        their_loss.backward()
        their_optimizer.step()
        assert_matches(loss, their_loss.detach().numpy(), "loss", rtol=1e-8)
    state = model.state_dict()
    for key, tensor in twin.state_dict().items():
        expected = tensor.numpy()
        if expected.dtype == np.int64:
            assert_equal(state[key], expected, key)
            assert expected == 13  # three before, ten now
        else:
            assert_matches(state[key], expected, key, rtol=1e-8)


@pytest.mark.parametrize("name", ["resnet20 C", "resnet18"])
def test_both_backends_take_the_same_step(name, rng):
    name, options, shape = SMALL[name]
    x, labels = draw_batch(rng, shape, 5)
    steps = []
    for backend in ("reference", "numba"):
        with nr.using_backend(backend):
            model = nr.models.create(name, dtype=np.float64, **options)
            steps.append(networks.ours(model, x, labels))
    for key, tensor in steps[0].items():
        if tensor.dtype != np.int64:
            assert_matches(steps[1][key], tensor, key, rtol=NETWORK_RTOL64)


def test_sparing_the_images_gradient_changes_no_parameters(rng):
    x, labels = draw_batch(rng, (4, 3, 16, 16), 10)
    criterion = nr.nn.CrossEntropyLoss()
    models = [nr.models.resnet8(seed=3), nr.models.resnet8(seed=3)]
    for model, input_grad in zip(models, (True, False), strict=True):
        criterion(model(x.astype(np.float32)), labels)
        grad = model.backward(criterion.backward(), input_grad=input_grad)
        assert (grad is not None) == input_grad
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert np.array_equal(one.grad, other.grad)
