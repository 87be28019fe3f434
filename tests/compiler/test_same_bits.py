"""A compiled step leaves the bits that the layers leave, whatever it is made of."""

import copy

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet.models import BasicBlock, Bottleneck, PlainBlock, ResNet
from npresnet.models.pooled import pooled_resnet
from npresnet.models.resnet import Stem

STEPS = 10
STEM = Stem(16, 3, 1, False)


def small(block, **options):
    """A network with all that its family has, of few channels."""
    options = {"stem": STEM, "widths": (16, 24), "num_classes": 5, **options}
    return ResNet(block, (2, 1), **options)


class TwoShared(nn.Module):
    """Uses one convolution and one batch norm twice, and adds a bias."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, rng=0)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=2, rng=1)
        self.bn = nn.BatchNorm2d(8, momentum=None)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(3, 2, padding=1, ceil_mode=True)
        self.flat = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5, rng=2)

    def forward(self, x):
        x = self.first(x)
        x = self.relu(self.bn(self.conv(x)))
        x = x + self.bn(self.conv(x))
        x = self.relu(self.pool(x))
        return self.fc(self.flat(x)[:, :, 0, 0])

    def backward(self, grad_output, input_grad=True):
        grad = self.fc.backward(grad_output)
        grad = self.pool.backward(
            self.relu.backward(self.flat.backward(grad[:, :, None, None]))
        )
        inner = self.conv.backward(self.bn.backward(grad))
        grad = grad + inner
        grad = self.conv.backward(self.bn.backward(self.relu.backward(grad)))
        return self.first.backward(grad, input_grad)


class ShortcutBehind(nn.Module):
    """A block of one's own: the ReLU stands before the addition, nothing behind."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False, rng=3)
        self.bn = nn.BatchNorm2d(channels, affine=False)
        self.relu = nn.ReLU()

    def forward(self, x):
        return x + self.relu(self.bn(self.conv(x)))

    def backward(self, grad_output, input_grad=True):
        grad = self.conv.backward(self.bn.backward(self.relu.backward(grad_output)))
        return grad + grad_output


def with_a_block_of_ones_own():
    model = small(BasicBlock)
    model.layer2.own = ShortcutBehind(24)
    return model


def untracked():
    model = small(BasicBlock)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = None
            module.num_batches_tracked = None
    return model


NETWORKS = {
    "basic, zeros": lambda: small(BasicBlock, shortcut="A"),
    "basic, projection": lambda: small(BasicBlock, shortcut="C"),
    "bottleneck": lambda: small(Bottleneck, stem=Stem(), widths=(16, 16)),
    "bottleneck, stride in 1x1": lambda: small(Bottleneck, stride_in="1x1"),
    "plain": lambda: small(PlainBlock),
    "zero init": lambda: small(BasicBlock, zero_init_residual=True),
    "float64": lambda: small(BasicBlock, dtype=np.float64),
    "pooled": lambda: pooled_resnet((16, 16, 24, 24), num_classes=5),
    "shared layers": TwoShared,
    "a block of one's own": with_a_block_of_ones_own,
    "no running statistics": untracked,
}


def sgd(**settings):
    return lambda model: nr.optim.SGD(model.parameters(), lr=0.05, **settings)


def in_groups(model):
    vectors = [p for p in model.parameters() if p.data.ndim == 1]
    others = [p for p in model.parameters() if p.data.ndim > 1]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": others}]
    return nr.optim.SGD(groups, lr=0.05, momentum=0.9, weight_decay=5e-4)


OPTIMIZERS = {
    "plain": sgd(),
    "momentum": sgd(momentum=0.9, weight_decay=1e-4),
    "nesterov": sgd(momentum=0.9, nesterov=True),
    "dampening": sgd(momentum=0.8, dampening=0.3),
    "groups": in_groups,
    "AdamW": lambda model: nr.optim.AdamW(model.parameters(), lr=1e-3),
}


def batch(model, number, size=5):
    rng = np.random.default_rng(number)
    dtype = next(iter(model.parameters())).dtype
    x = rng.standard_normal((size, 3, 18, 14)).astype(dtype)
    return x, rng.integers(0, 5, size)


def layered_step(model, criterion, optimizer, x, labels):
    logits = model(x)
    loss = criterion(logits, labels)
    model.zero_grad()
    model.backward(criterion.backward(), input_grad=False)
    optimizer.step()
    return loss, logits


def assert_same(model, twin, optimizers=None):
    """Compare everything that a step can change, bit by bit."""
    for (name, one), (_, other) in zip(
        model.named_parameters(), twin.named_parameters(), strict=True
    ):
        np.testing.assert_array_equal(one.data, other.data, name)
        np.testing.assert_array_equal(one.grad, other.grad, f"gradient of {name}")
    for (name, one), (_, other) in zip(
        model.named_buffers(), twin.named_buffers(), strict=True
    ):
        np.testing.assert_array_equal(one, other, name)
    if optimizers is not None:
        states = [optimizer.state_dict() for optimizer in optimizers]
        assert states[0].keys() == states[1].keys()
        for name in states[0]:
            np.testing.assert_array_equal(states[0][name], states[1][name], name)


def take_steps(build, optimizer, *, sizes=(5,) * STEPS, prepare=None):
    model = build()
    if prepare is not None:
        prepare(model)
    twin = copy.deepcopy(model)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    ours, theirs = optimizer(model), optimizer(twin)
    step = nr.compile(model, criterion, ours)
    for number, size in enumerate(sizes):
        x, labels = batch(model, number, size)
        ours.lr = theirs.lr = 0.05 / (1 + number)
        loss, logits = step(x, labels)
        true_loss, true_logits = layered_step(twin, criterion, theirs, x, labels)
        np.testing.assert_array_equal(logits, true_logits)
        assert loss == true_loss
        assert_same(model, twin, (ours, theirs))
    return step


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name):
    step = take_steps(NETWORKS[name], OPTIMIZERS["momentum"])
    assert any(line.operation == "conv2d" for line in step.plan.lines)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name):
    take_steps(NETWORKS["basic, zeros"], OPTIMIZERS[name])


@pytest.mark.parametrize("name", ["basic, projection", "bottleneck", "plain"])
def test_frozen_batch_norm(name):
    def prepare(model):
        for number in range(3):  # running statistics that are not 0 and 1
            model(batch(model, 100 + number)[0])
        model.eval()

    take_steps(NETWORKS[name], OPTIMIZERS["momentum"], prepare=prepare)


def test_some_batch_norms_frozen():
    def prepare(model):
        model.layer1.eval()

    take_steps(NETWORKS["basic, zeros"], OPTIMIZERS["momentum"], prepare=prepare)


def test_direct_algorithm():
    with nr.using_algorithm("direct"):
        take_steps(NETWORKS["basic, zeros"], OPTIMIZERS["momentum"])


def test_batches_of_several_sizes():
    take_steps(
        NETWORKS["basic, zeros"],
        OPTIMIZERS["momentum"],
        sizes=(5, 5, 3, 8, 5, 1, 3),
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(threads):
    before = nr.get_threads()
    nr.set_threads(threads)
    try:
        take_steps(NETWORKS["bottleneck"], OPTIMIZERS["momentum"], sizes=(5, 5, 5))
    finally:
        nr.set_threads(before)


@pytest.mark.parametrize("name", ["basic, projection", "shared layers", "float64"])
@pytest.mark.parametrize("input_grad", [True, False])
def test_a_model_goes_forward_and_back(name, input_grad):
    model = NETWORKS[name]()
    twin = copy.deepcopy(model)
    program = nr.compile(model)
    for number in range(3):
        x, _ = batch(model, number)
        out, true_out = program(x), twin(x)
        np.testing.assert_array_equal(out, true_out)
        grad = np.random.default_rng(number).standard_normal(out.shape)
        grad = grad.astype(out.dtype)
        grad_x = program.backward(grad, input_grad)
        true_grad_x = twin.backward(grad, input_grad)
        if input_grad:
            np.testing.assert_array_equal(grad_x, true_grad_x)
        else:
            assert grad_x is None
        assert_same(model, twin)  # gradients of all passes added up
