"""Models, and what belongs to training them, can be copied and sent elsewhere."""

import copy
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from tests.oracle.compare import normal

COPIES = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(params=COPIES)
def copied(request):
    return COPIES[request.param]


def kept(module):
    return sum(len(part.caches) for part in module.modules())


def images(rng, n=2):
    return normal(rng, n, 3, 8, 8).astype(np.float32)


@pytest.mark.parametrize("mode", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", ["resnet8", "plain8", "basic", "bottleneck"])
def test_a_model_is_copied_in_the_middle_of_a_step(name, mode, copied, rng):
    if name == "basic":
        model = nr.models.BasicBlock(12, 12, rng=0)
    elif name == "bottleneck":
        model = nr.models.Bottleneck(12, 3, rng=0)
    else:
        model = nr.models.create(name, in_channels=12, num_classes=4, seed=0)
    model.train(mode)
    x = normal(rng, 2, 12, 5, 7).astype(np.float32)
    out = model(x)
    twin = copied(model)
    assert kept(twin) == 0 and kept(model) > 0
    grad_output = normal(rng, *out.shape).astype(np.float32)
    gradient = model.backward(grad_output)

    if mode:  # the statistics have moved on since
        np.testing.assert_array_equal(twin(x), out)
    else:
        np.testing.assert_array_equal(twin(x), model(x))
    np.testing.assert_array_equal(twin.backward(grad_output), gradient)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(one.grad, other.grad)


def test_a_shallow_copy_keeps_caches_of_its_own(rng):
    model = nn.Sequential(nn.ReLU())
    model(images(rng))
    twin = copy.copy(model)
    assert twin.caches is not model.caches
    assert twin[0] is model[0]


def test_a_module_with_a_state_of_its_own_is_copied_without_caches(copied, rng):
    x = images(rng)
    model = OwnState(3)
    model(x)
    twin = copied(model)
    assert twin.size == 3 and kept(twin) == 0
    np.testing.assert_array_equal(twin(x), model(x))


class OwnState(nn.ReLU):
    """As somebody might write it who does not know of `Module.__getstate__`."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def __getstate__(self):
        return dict(self.__dict__)

    def __setstate__(self, state):
        self.__dict__.update(state)


def test_a_twin_for_inference_is_copied(copied, rng):
    twin, x = nr.inference(nr.models.resnet8(num_classes=4, seed=0)), images(rng)
    expected = twin(x)
    np.testing.assert_array_equal(copied(twin)(x), expected)


def test_a_copied_model_and_its_optimizer_still_belong_together(copied, rng):
    x, labels = images(rng), np.array([0, 1])

    def step(model, criterion, optimizer):
        optimizer.zero_grad()
        criterion(model(x), labels)
        model.backward(criterion.backward())
        optimizer.step()

    model = nr.models.resnet8(num_classes=4, seed=0)
    for kind in (nr.optim.SGD, nr.optim.AdamW):
        training = model, nn.CrossEntropyLoss(), kind(model.parameters(), lr=0.1)
        step(*training)
        elsewhere = copied(training)
        step(*training)
        step(*elsewhere)
        expected = model.state_dict()
        for name, value in elsewhere[0].state_dict().items():
            np.testing.assert_array_equal(value, expected[name])


def test_what_belongs_to_a_training_is_copied(copied):
    train, _ = nr.data.digits()
    things = [
        train,
        nr.data.RandomCropFlip(1),
        nr.training.recipes.get("digits-quick"),
        nr.optim.Constant(0.1),
        nr.optim.Cosine(0.1, 100),
        nr.optim.OneCycle(0.1, 100),
        nr.optim.StepDecay(0.1, (10, 20)),
    ]
    for thing in things:
        twin = copied(thing)
        assert type(twin) is type(thing)
        assert repr(twin) == repr(thing)


def test_instruments_results_are_copied(copied, rng):
    model, x, y = nr.models.resnet8(num_classes=4, seed=0), images(rng), np.arange(2)
    lens = nr.lens
    results = [
        lens.ledger(model, x, y),
        lens.spectrum(model, x, y),
        lens.lesion(model, x, y),
        lens.steps(model, x, y),
        lens.cost(model, (3, 8, 8)),
        lens.program(model, (3, 8, 8), batch=2),
        lens.activations(model, x),
        lens.responses(model, x),
        lens.filters(model),
        lens.grad_cam(model, x),
        lens.saliency(model, x),
        lens.landscape(model, x, y, points=3),
        lens.shattered(model, x),
    ]
    for result in results:
        # The last line may tell a size: views are arrays of their own in a copy.
        lines, expected = repr(copied(result)), repr(result)
        assert lines.splitlines()[:-1] == expected.splitlines()[:-1]


def test_an_interruption_is_copied(copied):
    # One that cannot be makes a pool of processes wait for ever.
    error = nr.training.TrainingInterrupted("stopped", Path("runs/first"), 15)
    twin = copied(error)
    assert str(twin) == str(error) == "stopped"
    assert (twin.folder, twin.signal_number) == (error.folder, 15)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_a_pool_of_processes_runs_a_model(start, rng):
    model = nr.models.resnet8(num_classes=4, seed=0).eval()
    inputs = [images(rng, n) for n in (1, 2, 3)]
    expected = [model(x) for x in inputs]
    with multiprocessing.get_context(start).Pool(2) as pool:
        answers = pool.map(model, inputs)
    for answer, right in zip(answers, expected, strict=True):
        # To rounding: processes do not know of the suite's block without Winograd.
        np.testing.assert_allclose(answer, right, rtol=1e-4, atol=1e-5)
