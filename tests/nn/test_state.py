"""State dicts: copies out, all or nothing in, and other people's names."""

import numpy as np
import pytest

from npresnet import nn
from tests.oracle.compare import normal


class Net(nn.Module):
    """The names that are translated: downsample and fc."""

    def __init__(self, rng=0):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False, rng=rng)
        self.downsample = nn.Sequential(
            nn.Conv2d(3, 4, 1, bias=False, rng=rng), nn.BatchNorm2d(4)
        )
        self.fc = nn.Linear(4, 2, rng=rng)


NAMES = [
    "conv1.weight",
    "downsample.0.weight",
    "downsample.1.weight",
    "downsample.1.bias",
    "downsample.1.running_mean",
    "downsample.1.running_var",
    "downsample.1.num_batches_tracked",
    "fc.weight",
    "fc.bias",
]


def random_state(rng):
    """Return a state that fits `Net` and that no new one has."""
    return {
        name: np.array(7, np.int64)
        if value.dtype == np.int64
        else normal(rng, *value.shape).astype(np.float32)
        for name, value in Net().state_dict().items()
    }


def assert_holds(net, state):
    for name, value in net.state_dict().items():
        assert np.array_equal(value, state[name]), name


def test_names_are_in_torchs_order():
    assert list(Net().state_dict()) == NAMES


def test_state_dict_copies():
    net = Net()
    state = net.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    for value in state.values():
        value[...] = 5
    assert_holds(net, before)


def test_num_batches_tracked_is_an_int64_scalar_that_counts(rng):
    net = nn.BatchNorm2d(3)
    x = normal(rng, 2, 3, 4, 4).astype(np.float32)
    net(x)
    net(x)
    net.eval()
    net(x)
    count = net.state_dict()["num_batches_tracked"]
    assert (count.dtype, count.shape, int(count)) == (np.int64, (), 2)


def test_loading_copies(rng):
    net, state = Net(), random_state(rng)
    net.load_state_dict(state)
    before = {name: value.copy() for name, value in state.items()}
    assert_holds(net, before)
    for value in state.values():
        value[...] = 5
    assert_holds(net, before)


def test_loading_keeps_the_models_dtype(rng):
    state = {
        name: value.astype(np.float64) for name, value in random_state(rng).items()
    }
    net = Net()
    net.load_state_dict(state)
    for name, value in net.state_dict().items():
        expected = np.int64 if name.endswith("tracked") else np.float32
        assert value.dtype == expected, name


def test_loading_keeps_the_parameters_that_an_optimiser_holds(rng):
    net = Net()
    before = list(net.parameters())
    net.load_state_dict(random_state(rng))
    assert all(a is b for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: name.replace("downsample", "shortcut"),
        lambda name: name.replace("fc", "linear"),
        lambda name: f"module.{name}".replace("downsample", "shortcut").replace(
            "fc", "linear"
        ),
    ],
    ids=["module.", "shortcut.", "linear.", "all three"],
)
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "in a checkpoint"])
def test_other_peoples_names_are_understood(rename, nested, rng):
    state = random_state(rng)
    renamed = {rename(name): value for name, value in state.items()}
    if nested:
        renamed = {"state_dict": renamed, "best_prec1": 91.7, "epoch": 200}
    net = Net()
    net.load_state_dict(renamed)
    assert_holds(net, state)


def test_a_name_that_the_model_has_is_not_translated(rng):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2, rng=0)
            self.fc = nn.Linear(3, 2, rng=1)

    net, state = Other(), Other().state_dict()
    state["linear.weight"] += 1
    net.load_state_dict(state)
    assert_holds(net, state)


def test_a_part_may_itself_be_called_module(rng):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(3, 2, rng=0)

    net, state = Wrapper(), Wrapper().state_dict()
    state["module.weight"] += 1
    net.load_state_dict(state)
    assert_holds(net, state)


def test_a_name_without_a_place_is_told_as_it_was_given(rng):
    state = {**random_state(rng), "shortcut.7.weight": np.ones(3)}
    result = Net().load_state_dict(state, strict=False)
    assert result.unexpected == ["shortcut.7.weight"]


def test_a_misfit_is_told_in_one_line_word_for_word(rng):
    state = {f"other.{i}": np.ones(1) for i in range(5)}
    state["conv1.weight"] = np.ones((4, 3, 1, 1))
    with pytest.raises(ValueError) as caught:
        Net().load_state_dict(state)
    assert str(caught.value) == (
        "state_dict does not fit the model: missing: downsample.0.weight, "
        "downsample.1.weight, downsample.1.bias, downsample.1.running_mean, "
        "downsample.1.running_var and 2 more; unexpected: other.0, other.1, other.2, "
        "other.3, other.4; wrong shape: conv1.weight (4, 3, 1, 1) instead of "
        "(4, 3, 3, 3)"
    )
    with pytest.raises(TypeError) as caught:
        Net().load_state_dict([1])
    assert str(caught.value) == "state_dict must be a dict of name to array, got list"
    with pytest.raises(TypeError) as caught:
        Net().load_state_dict({"fc.weight": "hello"})
    assert str(caught.value) == (
        "state_dict['fc.weight'] must be an array of numbers, got str of <U5"
    )


def test_two_names_that_become_one_are_refused(rng):
    state = random_state(rng)
    state["linear.weight"] = state["fc.weight"]
    with pytest.raises(ValueError, match=r"fc\.weight"):
        Net().load_state_dict(state)


def test_an_absent_batch_count_is_tolerated(rng):
    state = random_state(rng)
    absent = {k: v for k, v in state.items() if not k.endswith("tracked")}
    net = Net()
    result = net.load_state_dict(absent)
    assert (result.missing, result.unexpected) == ([], [])
    state["downsample.1.num_batches_tracked"] = np.array(0)
    assert_holds(net, state)


def spoil(state, what):
    if what == "missing":
        del state["fc.bias"]
    elif what == "unexpected":
        state["fc.scale"] = np.ones(3, np.float32)
    elif what == "wrong shape":
        state["fc.bias"] = np.ones(3, np.float32)
    else:  # the last entry, so that all others have been looked at
        state["fc.bias"] = state.pop("fc.bias").reshape(1, 2)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", ["missing", "fc.bias"]),
        ("unexpected", ["unexpected", "fc.scale"]),
        ("wrong shape", ["shape", "fc.bias", r"\(3,\)", r"\(2,\)"]),
        ("wrong number of axes", ["shape", "fc.bias", r"\(1, 2\)"]),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_changes(what, words, rng):
    net, state = Net(), random_state(rng)
    before = net.state_dict()
    spoil(state, what)
    for word in words:
        with pytest.raises(ValueError, match=word) as caught:
            net.load_state_dict(state)
        assert "\n" not in str(caught.value)
    assert_holds(net, before)


def test_everything_that_does_not_fit_is_listed_at_once(rng):
    net, state = Net(), random_state(rng)
    for what in ("missing", "unexpected"):
        spoil(state, what)
    state["conv1.weight"] = state["conv1.weight"][:2]
    with pytest.raises(ValueError, match=r"fc\.bias.*fc\.scale.*conv1\.weight"):
        net.load_state_dict(state)


def test_not_strict_takes_what_there_is_and_tells_the_rest(rng):
    net, state = Net(), random_state(rng)
    untouched = net.state_dict()["fc.bias"]
    spoil(state, "missing")
    spoil(state, "unexpected")
    result = net.load_state_dict(state, strict=False)
    assert result.missing == ["fc.bias"]
    assert result.unexpected == ["fc.scale"]
    assert_holds(net, {**state, "fc.bias": untouched})


def test_not_strict_still_refuses_a_wrong_shape(rng):
    net, state = Net(), random_state(rng)
    before = net.state_dict()
    spoil(state, "wrong shape")
    with pytest.raises(ValueError, match=r"fc\.bias"):
        net.load_state_dict(state, strict=False)
    assert_holds(net, before)


def test_what_is_no_state_dict_is_refused():
    with pytest.raises(TypeError, match="state_dict"):
        Net().load_state_dict([1, 2, 3])
    with pytest.raises(TypeError, match=r"fc\.weight"):
        Net().load_state_dict({"fc.weight": "hello"})
