"""Optimisers follow PyTorch's formulas, in place, in the parameter's dtype."""

import numpy as np
import pytest

from npresnet import nn
from npresnet.optim import SGD, AdamW, parameter_groups

SHAPES = [(4, 3, 3, 3), (7,), (5, 2), (1,)]
SGD_SETTINGS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 5e-2},
    {"momentum": 0.9, "weight_decay": 5e-2},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 5e-2},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-2},
]
ADAMW_SETTINGS = [
    {},
    {"weight_decay": 0.0},
    {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
]


def make_parameters(rng, dtype=np.float64):
    parameters = []
    for shape in SHAPES:
        parameter = nn.Parameter(rng.standard_normal(shape).astype(dtype))
        parameter.grad = rng.standard_normal(shape).astype(dtype)
        parameters.append(parameter)
    return parameters


def renew_gradients(parameters, rng):
    for parameter in parameters:
        parameter.grad = rng.standard_normal(parameter.data.shape).astype(
            parameter.data.dtype
        )


def against_torch(ours_class, theirs_name, settings, lrs):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    ours = make_parameters(rng)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]
    optimizer = ours_class(ours, lr=lrs[0], **settings)
    oracle = getattr(torch.optim, theirs_name)(theirs, lr=lrs[0], **settings)
    for lr in lrs:
        renew_gradients(ours, rng)
        for mine, other in zip(ours, theirs, strict=True):
            other.grad = torch.from_numpy(mine.grad.copy())
        optimizer.lr = lr
        oracle.param_groups[0]["lr"] = lr
        optimizer.step()
        oracle.step()
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(
                mine.data, other.detach().numpy(), rtol=1e-10, atol=1e-14
            )


@pytest.mark.torch
@pytest.mark.parametrize("settings", SGD_SETTINGS, ids=str)
def test_sgd_follows_torch_for_ten_steps(settings):
    against_torch(SGD, "SGD", settings, [0.1] * 10)


@pytest.mark.torch
def test_sgd_follows_torch_while_the_learning_rate_changes():
    settings = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    against_torch(SGD, "SGD", settings, np.geomspace(0.5, 1e-3, 10))


@pytest.mark.torch
@pytest.mark.parametrize("settings", ADAMW_SETTINGS, ids=str)
def test_adamw_follows_torch_for_ten_steps(settings):
    against_torch(AdamW, "AdamW", settings, [1e-2] * 10)


@pytest.mark.torch
def test_groups_decay_as_torch_groups_do():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    ours = make_parameters(rng)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in ours]

    def groups(parameters):
        return [
            {"params": parameters[:2], "weight_decay": 0.1},
            {"params": parameters[2:], "weight_decay": 0.0},
        ]

    optimizer = SGD(groups(ours), lr=0.1, momentum=0.9)
    oracle = torch.optim.SGD(groups(theirs), lr=0.1, momentum=0.9)
    for _ in range(10):
        renew_gradients(ours, rng)
        for mine, other in zip(ours, theirs, strict=True):
            other.grad = torch.from_numpy(mine.grad.copy())
        optimizer.step()
        oracle.step()
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.data, other.detach().numpy(), rtol=1e-10)


OPTIMIZERS = [
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "dampening": 0.5}),
    (AdamW, {}),
]


# Two steps with gradients 1 and 3 from a weight of 2 at lr 0.1, worked out by hand.
BY_HAND = [
    (SGD, {}, [1.9, 1.6]),
    (SGD, {"momentum": 0.5}, [1.9, 1.55]),  # v = 1, then 0.5 + 3
    (SGD, {"momentum": 0.5, "dampening": 0.5}, [1.9, 1.7]),  # v = 1, then 0.5 + 1.5
    (SGD, {"weight_decay": 0.5}, [1.8, 1.41]),  # g = 1 + 1, then 3 + 0.9
    # v = 2, then 1 + 3.9
    (SGD, {"momentum": 0.5, "weight_decay": 0.5}, [1.8, 1.31]),
    # d = 1 + 0.5, then 3 + 0.5 * 3.5
    (SGD, {"momentum": 0.5, "nesterov": True}, [1.85, 1.375]),
    # m = 0.5, v = 0.5, both doubled by the correction: 1 / 1; then m = 1.75 and
    # v = 4.75, divided by 0.75.
    (AdamW, {"weight_decay": 0, "betas": (0.5, 0.5)}, [1.9, None]),
    # Decayed by 1 - 0.1 * 0.5 first; the gradient knows nothing of it.
    (AdamW, {"weight_decay": 0.5, "betas": (0.5, 0.5)}, [1.8, None]),
]


@pytest.mark.parametrize(("optimizer_class", "settings", "expected"), BY_HAND)
def test_two_steps_are_those_worked_out_by_hand(optimizer_class, settings, expected):
    weight = nn.Parameter(np.array([2.0]))
    optimizer = optimizer_class([weight], lr=0.1, **settings)
    for grad, value in zip((1.0, 3.0), expected, strict=True):
        weight.grad = np.array([grad])
        before = weight.data.item()
        optimizer.step()
        if value is None:
            decayed = before * (1 - 0.1 * settings["weight_decay"])
            value = decayed - 0.1 * (1.75 / 0.75) / (4.75 / 0.75) ** 0.5
        assert weight.data.item() == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(("optimizer_class", "settings"), OPTIMIZERS)
def test_float32_stays_float32_and_is_changed_in_place(optimizer_class, settings):
    rng = np.random.default_rng(5)
    parameters = make_parameters(rng, np.float32)
    arrays = [p.data for p in parameters]
    gradients = [p.grad.copy() for p in parameters]
    optimizer = optimizer_class(parameters, lr=np.float64(0.1), **settings)
    before = [a.copy() for a in arrays]
    optimizer.step()
    optimizer.step()
    for parameter, array, old, grad in zip(
        parameters, arrays, before, gradients, strict=True
    ):
        assert parameter.data is array
        assert array.dtype == np.float32
        assert not np.array_equal(array, old)
        np.testing.assert_array_equal(parameter.grad, grad)
    slots = optimizer.state_dict()
    steps = slots.pop("steps")
    assert steps == 2
    assert len(slots) >= len(parameters)
    assert {array.dtype for array in slots.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("optimizer_class", "settings"), OPTIMIZERS)
def test_a_loaded_state_continues_with_the_same_bits(optimizer_class, settings):
    def run(interrupt):
        rng = np.random.default_rng(6)
        parameters = make_parameters(rng, np.float32)
        optimizer = optimizer_class(parameters, lr=0.05, **settings)
        for step in range(6):
            if step == 3 and interrupt:
                state = optimizer.state_dict()
                optimizer = optimizer_class(parameters, lr=0.05, **settings)
                optimizer.load_state_dict(state)
            renew_gradients(parameters, rng)
            optimizer.step()
        return parameters

    for whole, continued in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(whole.data, continued.data)


def test_state_dict_holds_copies():
    parameters = make_parameters(np.random.default_rng(7))
    optimizer = SGD(parameters, lr=0.1, momentum=0.9)
    optimizer.step()
    state = optimizer.state_dict()
    kept = state["0.momentum_buffer"].copy()
    optimizer.step()
    np.testing.assert_array_equal(state["0.momentum_buffer"], kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("steps"), "steps"),
        (lambda s: s.update({"9.momentum_buffer": np.zeros(1)}), "9.momentum_buffer"),
        (lambda s: s.update({"0.exp_avg": np.zeros(1)}), "0.exp_avg"),
        (lambda s: s.update({"1.momentum_buffer": np.zeros(8)}), r"\(7,\)"),
        (
            lambda s: s.update({"1.momentum_buffer": np.zeros(7, np.float32)}),
            "float64",
        ),
    ],
)
def test_a_wrong_state_is_refused_and_nothing_changes(change, message):
    parameters = make_parameters(np.random.default_rng(8))
    optimizer = SGD(parameters, lr=0.1, momentum=0.9)
    optimizer.step()
    state = optimizer.state_dict()
    change(state)
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_what_lies_differently_in_memory_moves_all_the_same(rng):
    """Views, other dtypes and other layouts, together with a plain array."""
    wide = rng.standard_normal((6, 10)).astype(np.float32)
    members = [
        (rng.standard_normal(7).astype(np.float32), None),
        (wide[:, ::2], None),
        (wide.T[1::2], None),
        (rng.standard_normal((2, 3)), None),
        (rng.standard_normal(5).astype(np.float32), np.float64),
    ]
    before = [data.copy() for data, _ in members]
    parameters = [nn.Parameter(data) for data, _ in members]
    for parameter, (data, other) in zip(parameters, members, strict=True):
        grad = rng.standard_normal(data.shape).astype(other or data.dtype)
        parameter.grad = np.asfortranarray(grad)
    SGD(parameters, lr=0.5, momentum=0.9, weight_decay=0.25).step()
    for parameter, old in zip(parameters, before, strict=True):
        expected = old - 0.5 * (parameter.grad + 0.25 * old)
        np.testing.assert_allclose(parameter.data, expected, rtol=1e-5, atol=1e-6)


def test_parameters_without_gradient_stay():
    parameters = make_parameters(np.random.default_rng(9))
    parameters[0].grad = None
    before = parameters[0].data.copy()
    optimizer = SGD(parameters, lr=0.1, weight_decay=0.1)
    optimizer.step()
    np.testing.assert_array_equal(parameters[0].data, before)


def test_zero_grad_forgets_and_leaves_the_callers_arrays_alone():
    parameters = make_parameters(np.random.default_rng(9))
    given = [parameter.grad for parameter in parameters]
    before = [grad.copy() for grad in given]
    optimizer = SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1)
    optimizer.step()
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)
    moved = [parameter.data.copy() for parameter in parameters]
    optimizer.step()  # nothing has arrived, so nothing moves
    for i, parameter in enumerate(parameters):
        np.testing.assert_array_equal(given[i], before[i])
        np.testing.assert_array_equal(parameter.data, moved[i])


class FakeModel:
    def __init__(self, parameters):
        self.parameters = parameters

    def named_parameters(self):
        return ((str(i), p) for i, p in enumerate(self.parameters))


def test_parameter_groups_spare_one_dimensional_parameters_on_request():
    parameters = make_parameters(np.random.default_rng(10))
    (everything,) = parameter_groups(FakeModel(parameters), 0.1)
    assert everything["params"] == parameters
    assert everything["weight_decay"] == 0.1
    decayed, spared = parameter_groups(FakeModel(parameters), 0.1, True)
    assert [p.data.ndim for p in decayed["params"]] == [4, 2]
    assert [p.data.ndim for p in spared["params"]] == [1, 1]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: SGD([], lr=0.1), ValueError, "at least one parameter"),
        (lambda p: SGD(p, lr=-0.1), ValueError, "lr"),
        (lambda p: SGD(p, lr=float("nan")), ValueError, "lr"),
        (lambda p: SGD(p, lr=0.1, momentum=-1), ValueError, "momentum"),
        (lambda p: SGD(p, lr=0.1, nesterov=True), ValueError, "nesterov"),
        (lambda p: SGD([p[0], p[0]], lr=0.1), ValueError, "twice"),
        (lambda p: SGD([{"params": p, "lr": 1}], lr=0.1), ValueError, "'lr'"),
        (lambda p: SGD([{"params": p}, p[0]], lr=0.1), TypeError, "params"),
        (lambda p: AdamW(p, betas=(0.9, 1.0)), ValueError, "betas"),
    ],
)
def test_wrong_settings_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call(make_parameters(np.random.default_rng(11)))
