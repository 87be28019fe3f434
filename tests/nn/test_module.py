"""What a module keeps, forgets and adds up."""

import pickle
import threading

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from tests.oracle.compare import assert_matches, normal


def small_net():
    """Conv, batch norm, ReLU, convolution: everything that keeps something."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, dtype=np.float64, rng=0),
        nn.BatchNorm2d(4, dtype=np.float64),
        nn.ReLU(),
        nn.Conv2d(4, 2, 1, dtype=np.float64, rng=1),
    )


def gradients(module):
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def kept(module):
    return sum(len(part.caches) for part in module.modules())


LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 5, 5)),
    "ReLU": (lambda: nn.ReLU(), (2, 3, 5, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 3, 5, 5)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 3, 5, 5)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(2), (2, 3, 5, 5)),
    "Linear": (lambda: nn.Linear(5, 4), (2, 5)),
    "ZeroPadShortcut": (lambda: nn.ZeroPadShortcut(3, 5, 2), (2, 3, 5, 5)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request, rng):
    make, shape = LAYERS[request.param]
    return make(), normal(rng, *shape).astype(np.float32)


def test_backward_before_forward_says_so(layer_and_input):
    layer, x = layer_and_input
    with pytest.raises(RuntimeError, match=type(layer).__name__) as caught:
        layer.backward(x)
    assert "forward" in str(caught.value)


def test_each_forward_goes_backward_once(layer_and_input):
    layer, x = layer_and_input
    grad_output = np.ones_like(layer(x))
    layer.backward(grad_output)
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(grad_output)


def test_no_grad_keeps_nothing_in_either_mode(layer_and_input):
    layer, x = layer_and_input
    for mode in (True, False):
        layer.train(mode)
        with nr.no_grad():
            out = layer(x)
        assert kept(layer) == 0
        with pytest.raises(RuntimeError, match="forward"):
            layer.backward(np.ones_like(out))


def test_no_grad_changes_no_number(layer_and_input):
    layer, x = layer_and_input
    expected = layer(x)
    with nr.no_grad():
        assert np.array_equal(layer(x), expected)


def test_no_grad_ends_with_its_block_even_after_an_error(layer_and_input):
    layer, x = layer_and_input
    with pytest.raises(KeyError), nr.no_grad():
        raise KeyError
    layer(x)
    assert kept(layer) == 1
    layer.discard_caches()
    with nr.no_grad():
        with nr.no_grad():
            pass
        layer(x)  # the outer block is still on
    assert kept(layer) == 0


def test_a_call_under_no_grad_leaves_a_pass_under_way_alone(rng):
    x, other = normal(rng, 3, 3, 5, 5), normal(rng, 2, 3, 6, 6)
    grad_output = normal(rng, 3, 2, 5, 5)
    net, undisturbed = small_net(), small_net()
    net(x)
    undisturbed(x)
    with nr.no_grad():
        net.eval()(other)
        net.train()
    expected = undisturbed.backward(grad_output)
    assert np.array_equal(net.backward(grad_output), expected)


def test_a_new_thread_starts_with_all_switches_at_rest(rng):
    # Each thread has switches of its own: gradients add up, a new call starts afresh.
    net, x = small_net(), normal(rng, 3, 3, 5, 5)
    seen = []

    def step():
        net(x)
        net(x)  # the outermost call discards what the first one left
        with nn.watching(lambda module, inputs, output: seen.append(module)):
            grad_output = np.ones_like(net(x))
        net.backward(grad_output)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert seen
    assert kept(net) == 0
    assert all(grad is not None for grad in gradients(net).values())


def test_both_modes_go_backward(layer_and_input):
    layer, x = layer_and_input
    for mode in (True, False):
        layer.train(mode)
        out = layer(x)
        assert layer.backward(np.ones_like(out)).shape == x.shape


def test_sparing_the_input_gradient_returns_none_and_changes_no_other(rng):
    x = normal(rng, 3, 3, 5, 5)
    grad_output = normal(rng, 3, 2, 5, 5)
    net, same = small_net(), small_net()
    net(x)
    assert net.backward(grad_output).shape == x.shape
    same(x)
    assert same.backward(grad_output, input_grad=False) is None
    expected = gradients(net)
    for name, grad in gradients(same).items():
        assert np.array_equal(grad, expected[name]), name


def test_every_layer_spares_the_input_gradient(layer_and_input):
    layer, x = layer_and_input
    out = layer(x)
    assert layer.backward(np.ones_like(out), input_grad=False) is None
    assert kept(layer) == 0


def test_gradients_are_added_up_until_zero_grad(rng):
    net = small_net()
    assert all(grad is None for grad in gradients(net).values())
    x, grad_output = normal(rng, 3, 3, 5, 5), normal(rng, 3, 2, 5, 5)
    net(x)
    net.backward(grad_output)
    once = {name: grad.copy() for name, grad in gradients(net).items()}
    net(x)
    net.backward(grad_output)
    for name, grad in gradients(net).items():
        assert_matches(grad, 2 * once[name], name, rtol=1e-14)
    net.zero_grad()
    net(x)
    net.backward(grad_output)
    for name, grad in gradients(net).items():
        assert np.array_equal(grad, once[name]), name


def test_gradients_do_not_share_memory_with_what_was_passed(rng):
    # `grad += ...` on an alias would change somebody else's numbers.
    net = nn.Sequential(nn.Conv2d(3, 4, 1, rng=0), nn.BatchNorm2d(4))
    x = normal(rng, 2, 3, 4, 4).astype(np.float32)
    grad_output = normal(rng, 2, 4, 4, 4).astype(np.float32)
    net(x)
    net.backward(grad_output)
    for name, grad in gradients(net).items():
        assert not np.shares_memory(grad, grad_output), name


def test_a_gradient_that_someone_keeps_does_not_grow_with_the_next(rng):
    net = small_net()
    x, grad_output = normal(rng, 3, 3, 5, 5), normal(rng, 3, 2, 5, 5)
    net(x)
    net.backward(grad_output)
    kept_by_someone = gradients(net)
    before = {name: grad.copy() for name, grad in kept_by_someone.items()}
    net(x)
    net.backward(grad_output)
    for name, grad in kept_by_someone.items():
        assert np.array_equal(grad, before[name]), name


class Twice(nn.Module):
    """One module, two calls, with something in between."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(2 * self.module(x))

    def backward(self, grad_output, input_grad=True):
        grad = 2 * self.module.backward(grad_output)
        return self.module.backward(grad, input_grad=input_grad)


def test_a_module_may_be_used_twice(rng):
    x, grad_output = normal(rng, 3, 3, 5, 5), normal(rng, 3, 3, 5, 5)
    shared = nn.Conv2d(3, 3, 3, padding=1, dtype=np.float64, rng=0)
    apart = [nn.Conv2d(3, 3, 3, padding=1, dtype=np.float64, rng=0) for _ in range(2)]
    twice = Twice(shared)
    assert np.array_equal(twice(x), apart[1](2 * apart[0](x)))
    expected = apart[0].backward(2 * apart[1].backward(grad_output))
    assert np.array_equal(twice.backward(grad_output), expected)
    for name, parameter in shared.named_parameters():
        both = [gradients(module)[name] for module in apart]
        assert_matches(parameter.grad, both[0] + both[1], name, rtol=1e-14)


def test_the_latest_forward_goes_backward_first(rng):
    x = normal(rng, 2, 3, 4, 4)
    outer = Twice(nn.ReLU())
    outer(x)
    assert len(outer.module.caches) == 2
    outer.backward(np.ones_like(x))
    assert kept(outer) == 0


def test_a_new_outermost_forward_discards_what_an_unfinished_one_left(rng):
    x, other = normal(rng, 3, 3, 5, 5), normal(rng, 4, 3, 6, 6)
    grad_output = normal(rng, 4, 2, 6, 6)
    net, fresh = small_net(), small_net()
    net(x)  # never goes backward
    net.train(False).train(True)
    net(other)
    fresh(other)
    assert kept(net) == kept(fresh)
    assert np.array_equal(net.backward(grad_output), fresh.backward(grad_output))
    assert kept(net) == 0


def test_a_forward_that_fails_leaves_a_module_usable(rng):
    net = small_net()
    with pytest.raises(ValueError, match="x"):
        net(normal(rng, 3, 5, 5, 5))  # five channels instead of three
    x, grad_output = normal(rng, 3, 3, 5, 5), normal(rng, 3, 2, 5, 5)
    net(x)
    assert net.backward(grad_output).shape == x.shape
    assert kept(net) == 0


def test_an_error_says_in_which_layer_it_arose(rng):
    net = nr.models.resnet8(dtype=np.float64)
    x = normal(rng, 2, 3, 8, 8)
    inner = net.layer2[0].conv2
    inner.weight.data = normal(rng, 32, 31, 3, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="channels") as caught:
            net(x)
        assert str(caught.value) == (
            "layer2.0.conv2 (Conv2d): x must have 31 channels for a weight of shape "
            "(32, 31, 3, 3) and groups=1, got 32"
        )
    with pytest.raises(ValueError, match=r"^layer2\.0\.conv2 "):
        net(x)
    with pytest.raises(ValueError, match=r"^0.conv2 \(Conv2d\): x must"):
        net.layer2(normal(rng, 2, 16, 8, 8))
    # A layer alone needs no name.
    with pytest.raises(ValueError, match=r"^x must have 31 channels"):
        inner(normal(rng, 2, 32, 8, 8))
    net.layer1[0].bn1.eps = -1.0
    with pytest.raises(ValueError, match=r"^layer1.0.bn1 \(BatchNorm2d\): eps must"):
        net(x)


def test_an_error_that_names_its_layer_is_otherwise_what_it_was(rng):
    class Odd(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def forward(self, x):
            raise self.error

    class OfOurs(ValueError):
        pass

    for error, message in [
        (OfOurs("no"), "1.0 (Odd): no"),
        (TypeError("no"), "1.0 (Odd): no"),
        (ValueError("a", "b"), "('a', 'b')"),
        (ValueError(), ""),
        (RuntimeError("no"), "no"),
        (KeyError("no"), "'no'"),
    ]:
        net = nn.Sequential(nn.ReLU(), nn.Sequential(Odd(error)))
        with pytest.raises(type(error)) as caught:
            net(normal(rng, 2, 2))
        assert caught.value is error
        assert str(error) == message
        again = (
            pickle.loads(pickle.dumps(error)) if type(error) is not OfOurs else error
        )
        assert str(again) == message


def test_replaying_leaves_caches_and_gradients_as_they_are(rng):
    x = normal(rng, 3, 3, 5, 5)
    net, same = small_net(), small_net()
    first, second = normal(rng, 3, 2, 5, 5), normal(rng, 3, 2, 5, 5)
    net(x)
    same(x)
    with nn.replaying(net):
        replayed = net.backward(first)
    with nn.replaying(net):
        again = net.backward(first)
    assert np.array_equal(replayed, again)
    assert all(grad is None for grad in gradients(net).values())
    assert np.array_equal(net.backward(second), same.backward(second))
    expected = gradients(same)
    for name, grad in gradients(net).items():
        assert np.array_equal(grad, expected[name]), name


@pytest.mark.parametrize(
    ("layer", "shape", "spared"),
    [
        (nn.Conv2d(3, 2, 3, rng=0), (2, 3, 5, 5), "conv2d_grad_weight"),
        (nn.Linear(3, 2, rng=0), (2, 3), "linear_grad_weight"),
    ],
    ids=["conv2d", "linear"],
)
def test_replaying_spares_the_work_of_weight_gradients(
    layer, shape, spared, rng, monkeypatch
):
    out = layer(normal(rng, *shape).astype(np.float32))

    def refuse(*arguments):
        raise AssertionError(f"{spared} was called")

    with nr.using_backend("reference"):
        monkeypatch.setattr(nr.backend.reference, spared, refuse)
        with nn.replaying(layer):
            layer.backward(np.ones_like(out))
        with pytest.raises(AssertionError, match=spared):
            layer.backward(np.ones_like(out))


def test_train_and_eval_reach_every_module():
    net = nn.Sequential(small_net(), nn.Sequential(nn.BatchNorm2d(2)))
    assert all(module.training for module in net.modules())  # new ones train
    assert net.eval() is net
    assert all(module.training is False for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())


def test_an_empty_sequential_is_the_identity(rng):
    x, identity = normal(rng, 2, 3, 4, 4), nn.Sequential()
    assert np.array_equal(identity(x), x)
    assert np.array_equal(identity.backward(x), x)
    assert list(identity.parameters()) == []


def test_a_sequential_can_be_walked_and_cut():
    net = small_net()
    assert len(net) == 4
    assert isinstance(net[2], nn.ReLU)
    assert isinstance(net[-1], nn.Conv2d)
    assert list(net[1:3]) == [net[1], net[2]]


def test_a_tree_is_printed_like_torchs():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), nn.ReLU()))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): ReLU()\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): ReLU()\n"
        "  )\n"
        ")"
    )


def test_inventory_is_in_the_order_of_definition():
    net = nn.Sequential(small_net(), nn.ReLU())
    assert [name for name, _ in net.named_modules()] == [
        "",
        "0",
        "0.0",
        "0.1",
        "0.2",
        "0.3",
        "1",
    ]
    assert [name for name, _ in net.named_parameters()] == [
        "0.0.weight",
        "0.0.bias",
        "0.1.weight",
        "0.1.bias",
        "0.3.weight",
        "0.3.bias",
    ]
    assert [name for name, _ in net.named_buffers()] == [
        "0.1.running_mean",
        "0.1.running_var",
        "0.1.num_batches_tracked",
    ]
    assert list(net.children()) == [net[0], net[1]]
    assert list(net.parameters()) == [p for _, p in net.named_parameters()]


def test_watching_shows_every_module_its_input_and_output(rng):
    net, x, seen = small_net(), normal(rng, 3, 3, 5, 5), []
    with nn.watching(lambda module, inputs, out: seen.append((module, inputs[0], out))):
        out = net(x)
    assert [module for module, _, _ in seen] == [*net, net]
    assert seen[0][1] is x
    assert seen[-1][2] is out
    net(x)
    assert len(seen) == 5  # the block has ended
