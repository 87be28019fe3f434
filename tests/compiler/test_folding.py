"""inference(model) gives the model's logits in evaluation mode, and leaves it alone."""

import copy
import pickle

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.kernels import memory
from tests.oracle.networks import create, random_state


def trained(name, dtype, rng, **options):
    """Make a model whose batch norm is not the identity."""
    model = create(name, num_classes=7, dtype=dtype, **options)
    model.load_state_dict(random_state(model, rng))
    return model


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {"shortcut": "A"}),
        ("resnet8", {"shortcut": "B"}),
        ("resnet14", {"shortcut": "C"}),
        ("plain14", {}),
        ("resnet18", {}),
        ("four bottlenecks", {}),
        ("four bottlenecks", {"stride_in": "1x1"}),
    ],
)
def test_the_logits_are_the_models(name, options, backend, rng):
    model = trained(name, np.float64, rng, **options).eval()
    x = rng.standard_normal((2, 3, 33, 38))
    expected = model(x)
    size = np.abs(expected).max()
    np.testing.assert_allclose(
        nr.inference(model)(x), expected, rtol=0, atol=1e-10 * size
    )


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_float32_stays_float32_and_close(algorithm, rng):
    model = trained("resnet20", np.float32, rng).eval()
    x = rng.standard_normal((9, 3, 32, 32)).astype(np.float32)
    with nr.using_algorithm(algorithm):
        logits = nr.inference(model)(x)
    assert logits.dtype == np.float32
    expected = model(x)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_running_statistics_are_used_whatever_the_mode(rng):
    model = trained("resnet8", np.float64, rng)  # in training mode
    x = rng.standard_normal((3, 3, 16, 16))
    logits = nr.inference(model)(x)
    np.testing.assert_allclose(logits, model.eval()(x), rtol=1e-9)


def test_the_model_is_left_as_it_was_and_is_not_followed(rng):
    model = trained("resnet8", np.float64, rng)
    before = model.state_dict()
    twin = nr.inference(model)
    x = rng.standard_normal((3, 3, 16, 16))
    logits = twin(x)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert model.training
    assert not any(module.caches for module in model.modules())
    for parameter in model.parameters():
        parameter.data *= 3
    np.testing.assert_array_equal(twin(x), logits)


def test_it_has_no_backward_pass_and_says_so(rng):
    twin = nr.inference(nr.models.resnet8())
    twin(rng.standard_normal((1, 3, 8, 8)).astype(np.float32))
    with pytest.raises(RuntimeError, match=r"inference\(\) has no backward pass"):
        twin.backward(np.ones((1, 10), np.float32))


@pytest.mark.parametrize("model", [None, 3, "resnet8", nr.models.resnet8])
def test_what_is_no_module_is_refused(model):
    with pytest.raises(TypeError, match="model must be a Module"):
        nr.inference(model)


def assert_twin_agrees(model, x):
    expected = model.eval()(x)
    twin = nr.inference(model)
    size = np.abs(expected).max()
    np.testing.assert_allclose(twin(x), expected, rtol=0, atol=1e-10 * size)
    return twin


F64 = {"dtype": np.float64, "rng": 0}


def test_a_row_of_layers_is_folded_and_its_places_stay(rng):
    model = nr.nn.Sequential(
        nr.nn.Conv2d(3, 4, 3, **F64),
        nr.nn.BatchNorm2d(4, dtype=np.float64),
        nr.nn.ReLU(),
        nr.models.BasicBlock(4, 4, **F64),
        nr.nn.Conv2d(4, 5, 1, **F64),
        nr.nn.BatchNorm2d(5, dtype=np.float64),
        nr.nn.MaxPool2d(2),
        nr.nn.Conv2d(5, 2, 1, **F64),
    )
    model.load_state_dict(random_state(model, rng))
    twin = assert_twin_agrees(model, rng.standard_normal((2, 3, 9, 8)))
    kinds = [type(part).__name__ for part in twin.children()]
    empty = "Sequential"
    assert kinds == [
        *("FusedConv2d", empty, empty, "FusedBlock"),
        *("FusedConv2d", empty, "MaxPool2d", "Conv2d"),
    ]


class Doubled(nr.models.BasicBlock):
    def branch_forward(self, x):
        return 2 * super().branch_forward(x)


class TwoWays(nr.nn.Module):
    """Somebody's own network, with a block that is called twice."""

    def __init__(self):
        super().__init__()
        self.block = nr.models.BasicBlock(3, 3, **F64)
        self.own = Doubled(3, 3, **F64)

    def forward(self, x):
        return self.own(self.block(self.block(x))) - x


def test_classes_of_ones_own_keep_their_forward_pass(rng):
    model = TwoWays()
    model.load_state_dict(random_state(model, rng))
    twin = assert_twin_agrees(model, rng.standard_normal((2, 3, 6, 5)))
    assert type(twin.block).__name__ == "FusedBlock"
    assert type(twin.own) is Doubled


@pytest.mark.parametrize("where", ["on the class", "on one block", "on a layer"])
def test_replaced_methods_are_honoured(where, rng, monkeypatch):
    model = trained("resnet8", np.float64, rng)
    plain, right = nr.inference(model), model.layer2[0].branch_forward
    if where == "on the class":
        monkeypatch.setattr(
            nr.models.BasicBlock,
            "branch_forward",
            lambda self, x: self.bn2(self.conv2(self.conv1(x))),
        )
    elif where == "on one block":
        model.layer2[0].branch_forward = lambda x: 3 * right(x)
    else:
        model.layer2[0].relu.forward = np.tanh
    x = rng.standard_normal((2, 3, 9, 8))
    twin = assert_twin_agrees(model, x)
    assert type(twin.layer2[0]) is nr.models.BasicBlock
    assert np.abs(plain(x) - twin(x)).max() > 1e-3


@pytest.mark.parametrize(
    ("owner", "part"),
    [
        *(("block", part) for part in ("relu", "bn1", "bn2", "conv2")),
        *(("stem", part) for part in ("relu", "bn1")),
    ],
)
def test_other_layers_in_the_places_of_ours_are_honoured(owner, part, rng):
    model = trained("resnet8", np.float64, rng)
    where = model.layer1[0] if owner == "block" else model
    setattr(where, part, nr.nn.Sequential())  # the identity; all are 16 to 16 channels
    assert_twin_agrees(model, rng.standard_normal((2, 3, 9, 8)))


def test_a_stem_of_several_convolutions_is_taken(rng):
    model = trained("resnet8", np.float64, rng)
    model.conv1 = nr.nn.Sequential(
        nr.nn.Conv2d(3, 5, 3, padding=1, **F64),
        nr.nn.BatchNorm2d(5, dtype=np.float64),
        nr.nn.ReLU(),
        nr.nn.Conv2d(5, 16, 3, padding=1, **F64),
    )
    twin = assert_twin_agrees(model, rng.standard_normal((2, 3, 9, 8)))
    assert type(twin.layer1[0]).__name__ == "FusedBlock"


def test_a_twins_parts_have_the_models_names_and_can_be_replaced(rng):
    model = trained("resnet8", np.float64, rng)
    twin = nr.inference(model)
    assert [name for name, _ in twin.named_children()] == [
        *("conv1", "maxpool", "layer1", "layer2", "layer3", "avgpool", "fc")
    ]
    x = rng.standard_normal((2, 3, 9, 8))
    before = twin(x)
    twin.layer2 = nr.inference(trained("resnet8", np.float64, rng)).layer2
    assert np.abs(twin(x) - before).max() > 1e-3
    assert twin.fc.in_features == 64
    with pytest.raises(AttributeError):
        twin.no_such_part  # noqa: B018


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (np.zeros((1, 4, 8, 8), np.float32), ValueError),
        (np.zeros((1, 3, 8, 8)), TypeError),
        (np.zeros((3, 8), np.float32), ValueError),
        (np.zeros((0, 3, 8, 8), np.float32), ValueError),
        ([[[[1.0]]]], TypeError),
    ],
    ids=["4 channels", "float64", "2-d", "empty", "a list"],
)
def test_a_wrong_batch_is_refused(x, error):
    with pytest.raises(error, match=r"^conv1 \(FusedConv2d\): x "):
        nr.inference(nr.models.resnet8())(x)


@pytest.mark.parametrize(
    "options",
    [
        {"affine": False},
        {"track_running_stats": False},
        {"affine": False, "track_running_stats": False},
        {"momentum": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["resnet8", "plain8"])
def test_batch_norm_of_another_kind_gives_the_models_logits(name, options, rng):
    model = trained(name, np.float64, rng)
    stages = [stage for stage in (model.layer1, model.layer2, model.layer3)]
    for owner in [model, *(block for stage in stages for block in stage)]:
        for attribute in ("bn1", "bn2"):
            if hasattr(owner, attribute):
                bn = getattr(owner, attribute)
                other = nr.nn.BatchNorm2d(bn.num_features, **options, dtype=np.float64)
                other.load_state_dict(bn.state_dict(), strict=False)
                setattr(owner, attribute, other)
    x = rng.standard_normal((3, 3, 12, 11))
    expected = model.eval()(x)
    twin = nr.inference(model)
    size = np.abs(expected).max()
    np.testing.assert_allclose(twin(x), expected, rtol=0, atol=1e-10 * size)
    assert not any(module.caches for module in twin.modules())


def _edit(twin, x, change):
    """Compute before and after a change, and what a fresh computation says."""
    before = twin(x)
    change(twin)
    after = twin(x)
    with nr.using_backend("reference"):  # which keeps nothing between calls
        truth = twin(x)
    size = np.abs(truth).max()
    np.testing.assert_allclose(after, truth, rtol=0, atol=1e-10 * size)
    assert np.abs(after - before).max() > 1e-3 * size


def _replace_a_convolution(twin):
    twin.conv1.weight = twin.conv1.weight * 2


def _replace_the_classifier(twin):
    twin.fc.weight.data = twin.fc.weight.data[::-1]


def _load_other_weights(twin):
    state = {name: 1.5 * value for name, value in twin.state_dict().items()}
    twin.load_state_dict(state)


def _change_biases_in_place(twin):
    for module in twin.modules():
        if hasattr(module, "rectify"):
            module.bias += 1


def _change_the_stride(twin):
    twin.conv1.stride = (2, 2)


@pytest.mark.parametrize(
    "change",
    [
        _replace_a_convolution,
        _replace_the_classifier,
        _load_other_weights,
        _change_biases_in_place,
        _change_the_stride,
    ],
)
def test_an_edit_of_the_twin_is_seen_by_the_next_call(change, rng):
    twin = nr.inference(trained("resnet8", np.float64, rng))
    _edit(twin, rng.standard_normal((2, 3, 16, 16)), change)


def _twins(rng):
    twin = nr.inference(trained("resnet8", np.float32, rng))
    loaded = nr.inference(trained("resnet8", np.float32, rng))
    loaded.load_state_dict(twin.state_dict())
    return {
        "made": twin,
        "copied": copy.deepcopy(twin),
        "pickled": pickle.loads(pickle.dumps(twin)),
        "loaded": loaded,
    }


def test_the_twins_weights_cannot_be_changed_in_place_nor_thawed(rng):
    for twin in _twins(rng).values():
        for name, weight in _weights(twin):
            with pytest.raises(ValueError, match="read-only"):
                weight *= 2
            with pytest.raises(ValueError, match="cannot set WRITEABLE"):
                weight.flags.writeable = True
            assert name


def test_every_twin_puts_its_weights_in_order_once(rng, monkeypatch):
    # However it came about: else copies would be right, but slow.
    x = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
    twins = _twins(rng)
    expected = twins["made"](x)
    for twin in twins.values():
        np.testing.assert_array_equal(twin(x), expected)
    monkeypatch.setattr(memory, "scratch", None)  # where weights that may change go
    for twin in twins.values():
        np.testing.assert_array_equal(twin(x), expected)


def _weights(twin):
    for name, module in twin.named_modules():
        if hasattr(module, "rectify"):
            yield name, module.weight
    yield "fc", twin.fc.weight.data
