"""What is read is what runs: the lines of the layers and blocks, and no others."""

import ast
import bdb
import inspect
import sys
import textwrap

import numpy as np
import pytest

import npresnet as nr
from npresnet.models import BasicBlock, Bottleneck, PlainBlock, ResidualBlock
from npresnet.nn import BatchNorm2d, Conv2d, ReLU
from tests.oracle.compare import normal


def training_step(model, rng, shape=(4, 3, 16, 16), *, input_grad=False):
    """Do what a training loop does with a batch."""
    parameters = [*model.parameters()]
    optimizer = nr.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = nr.nn.CrossEntropyLoss()
    x = normal(rng, *shape).astype(parameters[0].dtype)
    loss = criterion(model(x), rng.integers(0, 10, len(x)))
    grad = model.backward(criterion.backward(), input_grad=input_grad)
    optimizer.step()
    return loss, grad


def passes_of(kind):
    """Find the methods of a class that compute, its own and those it inherits."""
    for owner in kind.__mro__[:-2]:  # without Module and object
        for name in ("forward", "backward"):
            for prefix in ("", "branch_", "shortcut_"):
                method = vars(owner).get(prefix + name)
                if method is not None and not _only_refuses(method):
                    yield method


def _only_refuses(method):
    return "raise TypeError" in inspect.getsource(method)


def lines_of(method):
    """List the numbers of the lines on which a method's statements begin."""
    source, first = inspect.getsourcelines(method)
    (function,) = ast.parse(textwrap.dedent("".join(source))).body
    return {
        node.lineno + first - 1
        for node in ast.walk(function)
        if isinstance(node, ast.stmt)
        and node is not function
        and not isinstance(getattr(node, "value", None), ast.Constant)
    }


def lines_run(work, methods):
    """Run some work; return the lines of each method that were executed."""
    codes = {method.__code__: set() for method in methods}

    def trace(frame, event, argument):
        lines = codes.get(frame.f_code)
        if lines is None:
            return None
        if event == "line":
            lines.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return codes


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (BasicBlock, lambda: nr.models.resnet8()),
        (PlainBlock, lambda: nr.models.plain8()),
        (Bottleneck, lambda: nr.models.resnet50(10)),
    ],
)
def test_a_training_step_runs_every_line_of_the_passes(kind, make, backend, rng):
    methods = [*passes_of(kind), *passes_of(ReLU)]
    if kind is PlainBlock:  # its own forward and backward stand for these
        methods = [m for m in methods if "ResidualBlock" not in m.__qualname__]
        methods = [m for m in methods if m.__qualname__ not in OVERRIDDEN]
    model = make()
    ran = lines_run(lambda: training_step(model, rng, (2, 3, 32, 32)), methods)
    for method in methods:
        missed = lines_of(method) - ran[method.__code__]
        spared = {line for line in missed if _is_spared(method, line)}
        assert missed == spared, method


OVERRIDDEN = {"BasicBlock.forward", "BasicBlock.backward"}


def _is_spared(method, line):
    """Tell whether a line is the answer to who asks for no gradient of the input.

    Nobody asks a block so in a network that has a stem.
    """
    source, first = inspect.getsourcelines(method)
    return source[line - first].strip() == "return None"


def test_a_block_asked_for_no_input_gradient_runs_the_rest(rng, backend):
    block = BasicBlock(3, 3)
    out = block(normal(rng, 2, 3, 5, 5).astype(np.float32))
    ran = lines_run(
        lambda: block.backward(np.ones_like(out), input_grad=False),
        [ResidualBlock.backward],
    )
    lines = lines_of(ResidualBlock.backward) - ran[ResidualBlock.backward.__code__]
    source, first = inspect.getsourcelines(ResidualBlock.backward)
    assert [source[line - first].split("#")[0].strip() for line in lines] == [
        "return grad_branch + grad_shortcut"
    ]


def test_modes_and_settings_together_reach_every_line_of_the_layers(backend, rng):
    methods = [*passes_of(BatchNorm2d), *passes_of(Conv2d)]

    def work():
        for training in (True, False):
            for options in ({}, {"affine": False}, {"track_running_stats": False}):
                layers = nr.nn.Sequential(
                    nr.nn.Conv2d(3, 4, 3, bias=training),
                    nr.nn.BatchNorm2d(4, **options),
                )
                x = normal(rng, 2, 3, 6, 6).astype(np.float32)
                out = layers.train(training)(x)
                layers.backward(np.ones_like(out), input_grad=training)

    ran = lines_run(work, methods)
    for method in methods:
        assert lines_of(method) == ran[method.__code__] & lines_of(method), method


def test_a_breakpoint_in_a_blocks_backward_is_hit_once_per_block(rng):
    class Debugger(bdb.Bdb):
        hits = 0

        def user_line(self, frame):
            if frame.f_code is ResidualBlock.backward.__code__ and self.break_here(
                frame
            ):
                self.hits += 1
            self.set_continue()

    source, first = inspect.getsourcelines(ResidualBlock.backward)
    last = first + len(source) - 1
    model, debugger = nr.models.resnet20(), Debugger()
    assert debugger.set_break(inspect.getsourcefile(ResidualBlock), last) is None
    debugger.runcall(training_step, model, rng)
    assert debugger.hits == 9


@pytest.mark.parametrize("name", ["forward", "backward"])
@pytest.mark.parametrize("kind", [BasicBlock, ReLU, BatchNorm2d, Conv2d])
def test_a_method_replaced_on_a_class_is_called(kind, name, rng, backend, monkeypatch):
    model = nr.models.resnet8()
    calls, right = [], getattr(kind, name)

    def counting(self, *arguments, **options):
        calls.append(self)
        return right(self, *arguments, **options)

    monkeypatch.setattr(kind, name, counting)
    training_step(model, rng)
    expected = {BasicBlock: 3, ReLU: 7, BatchNorm2d: 7, Conv2d: 7}
    assert len(calls) == expected[kind]


def test_a_branch_replaced_on_the_class_or_on_one_block_is_taken(rng, monkeypatch):
    block = BasicBlock(4, 4)
    x = normal(rng, 2, 4, 5, 5).astype(np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(BasicBlock, "branch_forward", lambda self, x: np.zeros_like(x))
        np.testing.assert_array_equal(block(x), np.maximum(x, 0))
    block.branch_backward = lambda grad_sum, input_grad=True: np.zeros_like(grad_sum)
    out = block(x)
    grad = normal(rng, *x.shape).astype(np.float32)
    np.testing.assert_array_equal(block.backward(grad), grad * (out > 0))


def test_a_plain_subclass_leaves_the_bits_of_its_class(rng):
    class Mine(BasicBlock):
        pass

    blocks = BasicBlock(4, 4, rng=0), Mine(4, 4, rng=0)
    x, grad = (normal(rng, 2, 4, 5, 5).astype(np.float32) for _ in range(2))
    ours, theirs = ((block(x), block.backward(grad)) for block in blocks)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_subclass_with_a_branch_of_its_own_computes_it(rng):
    class Halved(BasicBlock):
        def branch_forward(self, x):
            return super().branch_forward(x) / 2

    x = normal(rng, 2, 4, 5, 5).astype(np.float32)
    ours, theirs = BasicBlock(4, 4, rng=0), Halved(4, 4, rng=0)
    branch = ours.branch_forward(x)
    np.testing.assert_array_equal(theirs(x), np.maximum(branch / 2 + x, 0))


def test_backward_before_forward_says_so():
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        BasicBlock(4, 4).backward(np.ones((1, 4, 5, 5), np.float32))
