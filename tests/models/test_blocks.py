"""The blocks by themselves: shapes, both ways of the gradient, what is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npresnet as nr
from npresnet.models import blocks
from tests.models.built import undrawn
from tests.oracle.compare import assert_matches, normal

CHANNELS = 4
KINDS = ["basic", "plain", "bottleneck", "bottleneck v1"]
SHORTCUTS = ["identity", "projection", "zeros"]


def build(kind, shortcut, stride, rng):
    """Make a block with random state; (block, input channels)."""
    expansion = 4 if "bottleneck" in kind else 1
    out_channels = expansion * CHANNELS
    in_channels = out_channels if shortcut != "zeros" else out_channels - 2
    options = {"dtype": np.float64, "rng": 0}
    downsample = None
    if shortcut == "projection":
        downsample = blocks.projection(in_channels, out_channels, stride, **options)
    elif shortcut == "zeros":
        downsample = nr.nn.ZeroPadShortcut(in_channels, out_channels, stride)
    if kind == "basic":
        make = blocks.BasicBlock
    elif kind == "plain":
        make, downsample = blocks.PlainBlock, None
    else:
        make = blocks.Bottleneck
        options["stride_in"] = "1x1" if kind == "bottleneck v1" else "3x3"
    block = make(in_channels, CHANNELS, stride, downsample, **options)
    state = {
        name: value + 0.3 * np.abs(normal(rng, *value.shape))
        if value.dtype == np.float64
        else value
        for name, value in block.state_dict().items()
    }
    block.load_state_dict(state)
    return block, in_channels


def build_twin(torch, oracle, kind, shortcut, stride, block, in_channels):
    expansion = 4 if "bottleneck" in kind else 1
    out_channels = expansion * CHANNELS
    downsample = None
    if kind == "plain":
        pass
    elif shortcut == "projection":
        downsample = oracle.projection(in_channels, out_channels, stride)
    elif shortcut == "zeros":
        downsample = oracle.ZeroPadShortcut(in_channels, out_channels, stride)
    kinds = {"basic": oracle.BasicBlock, "plain": oracle.PlainBlock}
    twin = kinds.get(kind, oracle.Bottleneck)(
        in_channels,
        CHANNELS,
        stride,
        downsample,
        "1x1" if kind == "bottleneck v1" else "3x3",
    ).double()
    state = {name: torch.tensor(value) for name, value in block.state_dict().items()}
    twin.load_state_dict(state, strict=True)
    return twin


@settings(max_examples=30)
@given(
    kind=st.sampled_from(KINDS),
    shortcut=st.sampled_from(SHORTCUTS),
    stride=st.integers(1, 3),
    size=st.tuples(st.integers(2, 3), st.integers(1, 9), st.integers(1, 9)),
    training=st.booleans(),
)
def test_blocks_match_torch_over_random_shapes(
    torch, oracle, backend, kind, shortcut, stride, size, training
):
    if shortcut == "identity":
        stride = 1
    rng = np.random.default_rng(0)
    block, in_channels = build(kind, shortcut, stride, rng)
    twin = build_twin(torch, oracle, kind, shortcut, stride, block, in_channels)
    block.train(training)
    twin.train(training)
    x = normal(rng, size[0], in_channels, *size[1:])
    images = torch.tensor(x, requires_grad=True)
    # Not in place: the twin's ReLU would overwrite what it is given.
    expected = twin(images.clone())
    out = block(x)
    assert_matches(out, expected.detach().numpy(), "out")
    grad_output = normal(rng, *out.shape)
    expected.backward(torch.tensor(grad_output))
    grad_x = block.backward(grad_output)
    # Two values per channel are normalised to -1 and 1 whatever they are: gradients
    # are differences of large numbers then, and their own size says little.
    size = 1.0 + np.abs(grad_output).max()
    assert_matches(grad_x, images.grad.numpy(), "grad_x", size=size)
    gradients = {name: p.grad for name, p in block.named_parameters()}
    for name, parameter in twin.named_parameters():
        expected_grad = parameter.grad.numpy()
        assert_matches(
            gradients[name],
            expected_grad,
            name,
            size=size * (1 + np.abs(expected_grad).max()),
        )
    buffers = dict(block.named_buffers())
    for name, buffer in twin.named_buffers():
        assert np.allclose(buffers[name], buffer.numpy(), rtol=1e-11, atol=1e-13), name


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_spares_its_input_gradient_and_keeps_nothing(kind, shortcut, rng):
    stride = 1 if shortcut == "identity" else 2
    block, in_channels = build(kind, shortcut, stride, rng)
    x = normal(rng, 3, in_channels, 6, 7)
    grad_output = normal(rng, *block(x).shape)
    block.backward(grad_output)
    expected = [parameter.grad for parameter in block.parameters()]
    assert not any(module.caches for module in block.modules())
    block.zero_grad()
    block(x)
    assert block.backward(grad_output, input_grad=False) is None
    assert not any(module.caches for module in block.modules())
    for parameter, grad in zip(block.parameters(), expected, strict=True):
        assert np.array_equal(parameter.grad, grad)


def test_the_gradients_of_both_paths_add(rng):
    block, in_channels = build("basic", "identity", 1, rng)
    x = normal(rng, 3, in_channels, 5, 5)
    grad_output = normal(rng, *block(x).shape)
    grad_sum = np.where(block(x) > 0, grad_output, 0)
    grad_x = block.backward(grad_output)
    # The branch alone: the same block without its shortcut, fed behind its last ReLU.
    block.branch_forward(x)
    grad_branch = block.branch_backward(grad_sum)
    assert_matches(grad_x, grad_branch + grad_sum, "grad_x", rtol=1e-13)


def test_an_identity_shortcut_is_an_empty_sequential_named_downsample():
    model = undrawn("resnet18")
    identity = model.layer1[0].downsample
    assert isinstance(identity, nr.nn.Sequential)
    assert len(identity) == 0
    assert len(model.layer2[0].downsample) == 2
    assert len(undrawn("resnet50").layer1[0].downsample) == 2


def test_a_block_with_an_explicit_empty_shortcut_is_the_default_one(rng):
    block, in_channels = build("basic", "identity", 1, rng)
    other = blocks.BasicBlock(
        in_channels, CHANNELS, 1, nr.nn.Sequential(), dtype=np.float64
    )
    other.load_state_dict(block.state_dict())
    x = normal(rng, 3, in_channels, 5, 5)
    assert np.array_equal(block(x), other(x))


@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet18"])
def test_a_finished_step_keeps_no_cache(name, rng):
    model = nr.models.create(name, num_classes=10)
    x = normal(rng, 2, 3, 33, 33).astype(np.float32)
    logits = model(x)
    assert any(module.caches for module in model.modules())
    model.backward(np.ones_like(logits))
    assert not any(module.caches for module in model.modules())
    with nr.no_grad():
        model(x)
    assert not any(module.caches for module in model.modules())


def test_the_number_of_threads_changes_no_bit_of_a_training_step(rng):
    x = normal(rng, 5, 3, 33, 31).astype(np.float32)
    labels = rng.integers(0, 10, 5)
    criterion = nr.nn.CrossEntropyLoss()
    before, steps = nr.get_threads(), []
    try:
        for threads in (1, 2):
            nr.set_threads(threads)
            model = nr.models.resnet20(shortcut="B", seed=1)
            loss = criterion(model(x), labels)
            grad = model.backward(criterion.backward())
            gradients = [parameter.grad for parameter in model.parameters()]
            steps.append([np.asarray(loss), grad, *gradients])
    finally:
        nr.set_threads(before)
    for one, other in zip(*steps, strict=True):
        assert np.array_equal(one, other)
