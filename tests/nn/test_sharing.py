"""One model, and several threads; one model, and what interrupts it."""

import asyncio
import contextvars
import gc
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet.nn import modes
from tests.interrupts import ctrl_c, moments
from tests.oracle.compare import normal


@pytest.fixture(params=["layers", "block", "inference"])
def shared(request, rng):
    """A model in evaluation mode; its batch norms have seen something."""
    if request.param == "layers":
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, rng=0), nn.BatchNorm2d(4), nn.ReLU()
        )
    else:
        model = nr.models.resnet8(num_classes=5, seed=0)
    with nr.no_grad():
        model(normal(rng, 5, 3, 9, 7).astype(np.float32))
    model.eval()
    return nr.inference(model) if request.param == "inference" else model


@pytest.fixture
def plain():
    with nr.using_backend("reference"):
        yield


def kept(module):
    return sum(len(part.caches) for part in module.modules())


def at_once(work, arguments):
    """Do some work in as many threads, which all begin at the same time.

    Each begins with the switches as they are here.
    """
    gate = threading.Barrier(len(arguments))

    def begin(context, argument):
        gate.wait()
        return context.run(work, argument)

    contexts = [contextvars.copy_context() for _ in arguments]
    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(begin, contexts, arguments))


def test_threads_share_a_model_in_evaluation_mode(shared, backend, rng):
    inputs = [normal(rng, n, 3, 9, 7).astype(np.float32) for n in (1, 2, 3, 4)]
    expected = [shared(x) for x in inputs]

    def serve(x):
        return [shared(x) for _ in range(12)]

    for answers, right in zip(at_once(serve, inputs), expected, strict=True):
        for answer in answers:
            np.testing.assert_array_equal(answer, right)


def test_each_thread_goes_backward_through_its_own_pass(backend, rng):
    model = nr.models.resnet8(num_classes=5, seed=0).eval()
    inputs = [normal(rng, n, 3, 9, 7).astype(np.float32) for n in (1, 2, 3, 4)]
    upstream = [normal(rng, len(x), 5).astype(np.float32) for x in inputs]

    def saliency(place):
        gradients = []
        for _ in range(6):
            model(inputs[place])
            with nn.replaying(model):  # parameters' gradients are shared
                gradients.append(model.backward(upstream[place]))
        return gradients

    expected = [saliency(place)[0] for place in range(4)]
    for gradients, right in zip(at_once(saliency, range(4)), expected, strict=True):
        for gradient in gradients:
            np.testing.assert_array_equal(gradient, right)


def test_a_pass_goes_backward_while_others_go_forward(rng):
    model = nr.models.resnet8(num_classes=5, seed=0).eval()
    x, other = (normal(rng, n, 3, 9, 7).astype(np.float32) for n in (2, 3))
    grad_output = normal(rng, 2, 5).astype(np.float32)
    model(x)
    expected = model.backward(grad_output)

    model(x)
    thread = threading.Thread(target=model, args=(other,))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(model.backward(grad_output), expected)
    assert kept(model) == 0


def test_a_pass_of_another_thread_cannot_be_gone_back_through():
    layer, x = nn.ReLU(), np.ones((1, 1, 2, 2))
    thread = threading.Thread(target=layer, args=(x,))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="in this thread"):
        layer.backward(x)


def test_what_a_thread_has_kept_goes_with_it():
    layer, seen = nn.ReLU(), []

    def go_forward():
        layer(np.ones((1, 1, 2, 2)))
        seen.append(weakref.ref(layer.caches[-1].mask))
        assert seen[0]() is not None

    thread = threading.Thread(target=go_forward)
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0]() is None
    assert len(layer._stacks) == 0


def test_a_model_goes_with_all_that_threads_have_kept():
    layer = nn.ReLU()
    layer(np.ones((1, 1, 2, 2)))
    cache = weakref.ref(layer.caches[-1].mask)
    del layer
    gc.collect()
    assert cache() is None


def test_evaluating_does_not_undo_statistics_that_are_loaded_meanwhile():
    # Between reading the statistics and the end of the pass, another thread may run.
    norm = nn.BatchNorm2d(3).eval()
    new = norm.state_dict() | {"running_mean": np.full(3, 7, np.float32)}
    right = norm.track

    def track(*statistics):
        norm.load_state_dict(new)
        right(*statistics)

    norm.track = track
    norm(np.ones((2, 3, 4, 4), np.float32))
    np.testing.assert_array_equal(norm.running_mean, 7)


def test_tasks_that_wait_do_not_make_passes_pile_up():
    layer, x = nn.Sequential(nn.ReLU()), np.ones((1, 1, 2, 2))

    async def one_after_the_other():
        started = []

        def start_another(module, inputs, output):
            if not started:
                started.append(asyncio.ensure_future(go_forward()))

        async def go_forward():
            layer(x)

        with nn.watching(start_another):
            layer(x)
        await started[0]
        await asyncio.gather(*(go_forward() for _ in range(3)))

    asyncio.run(one_after_the_other())
    assert kept(layer) == 1


# ------------------------------------------------------------------ Ctrl-C

MODULE = "nn/module.py", "nn/modes.py", "_switches.py", "contextlib.py"


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(2 * self.relu(x))

    def backward(self, grad_output, input_grad=True):
        return self.relu.backward(2 * self.relu.backward(grad_output))


def assert_sound(model, x):
    """Insist that a step is what it always is, and that nothing piles up."""
    assert modes.here.outermost is None
    assert modes.is_keeping() and not modes.is_replaying()
    for _ in range(2):
        out = model(x)
        assert kept(model) == 2
    np.testing.assert_array_equal(model.backward(np.ones_like(out)), 2 * (x > 0))
    assert kept(model) == 0


def test_ctrl_c_at_any_moment_of_a_step_leaves_the_model_sound(plain, rng):
    model, x = nn.Sequential(Twice()), normal(rng, 2, 3)

    def step():
        model.backward(model(x))

    interrupts = 0
    for caught in moments(step, ctrl_c, *MODULE):
        interrupts += caught is not None
        assert_sound(model, x)
    assert interrupts > 40


def test_ctrl_c_at_any_moment_of_replaying_and_no_grad_leaves_the_model_sound(
    plain, rng
):
    model, x = nn.Sequential(Twice()), normal(rng, 2, 3)

    def look():
        out = model(x)
        with nn.replaying(model):
            model.backward(out)
        with nr.no_grad():
            model(x)

    for _ in moments(look, ctrl_c, *MODULE):
        assert_sound(model, x)


# ------------------------------------------------- a signal handler evaluates


def evaluation(model, x):
    def evaluate():
        with nr.no_grad():
            evaluate.answers.append(model.eval()(x))
        model.train()

    evaluate.answers = []
    return evaluate


def test_evaluating_at_any_moment_of_a_step_changes_nothing_about_it(plain, rng):
    norms = nn.BatchNorm2d(3, dtype=np.float64), nn.BatchNorm2d(3, dtype=np.float64)
    model = nn.Sequential(norms[0], Twice(), norms[1])
    state = model.state_dict()
    x, grad_output = normal(rng, 4, 3, 2, 2), normal(rng, 4, 3, 2, 2)
    evaluate, results = evaluation(model, normal(rng, 2, 3, 3, 3)), []

    def step():
        model.load_state_dict(state)
        model.zero_grad()
        out = model(x)
        results.append((out, model.backward(grad_output), norms[0].weight.grad))

    step()
    (right,) = results
    files = "nn/module.py", "nn/modes.py", "nn/container.py", "nn/activation.py"
    for _ in moments(step, evaluate, *files):
        for value, expected in zip(results.pop(), right, strict=True):
            np.testing.assert_array_equal(value, expected)
        assert kept(model) == 0
    assert len(evaluate.answers) > 100


def test_a_handler_that_forgets_no_grad_does_not_mix_caches_up(plain, rng):
    model, x = nn.Sequential(Twice(), nn.ReLU()), normal(rng, 2, 3)
    grad_output, other = normal(rng, 2, 3), normal(rng, 5, 4)
    right = model.backward(model(x) * 0 + grad_output)
    results = []

    def go_forward():
        model(x)
        results.append(kept(model))

    # At every moment of the forward pass, between its layers and before the first.
    for _ in moments(go_forward, lambda: model(other), "nn/container.py"):
        assert results.pop() == 3
        np.testing.assert_array_equal(model.backward(grad_output), right)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer")
def test_a_timer_that_evaluates_while_a_model_is_trained(rng):
    model = nr.models.resnet8(num_classes=4, seed=0)
    x = normal(rng, 8, 3, 16, 16).astype(np.float32)
    labels, criterion = np.arange(8) % 4, nn.CrossEntropyLoss()
    evaluate = evaluation(model, x[:3])

    def train(count):
        model.load_state_dict(state)
        gradients = []
        for _ in range(count):
            model.zero_grad()
            criterion(model(x), labels)
            model.backward(criterion.backward())
            gradients += [parameter.grad for parameter in model.parameters()]
        return gradients

    state = model.state_dict()
    expected = train(8)

    def handle(number, frame):
        evaluate()
        signal.setitimer(signal.ITIMER_REAL, 0.01)  # the next one

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.003)
        disturbed = train(8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert evaluate.answers
    for value, right in zip(disturbed, expected, strict=True):
        np.testing.assert_array_equal(value, right)
