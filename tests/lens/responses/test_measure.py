"""Layer responses against PyTorch's forward hooks."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.responses.measure import responses
from tests.lens.state import left_as_it_was
from tests.oracle.compare import normal
from tests.oracle.networks import make_twins

CASES = [
    ("resnet14", {"shortcut": "B"}, (4, 3, 12, 9)),
    ("plain14", {}, (4, 3, 12, 9)),
    ("resnet18", {"num_classes": 7}, (2, 3, 40, 33)),
    ("four bottlenecks", {"num_classes": 7}, (2, 3, 33, 33)),
]


def hooked(torch, twin, x):
    """Deviation and mean of every batch norm behind a 3x3 convolution, by hooks."""
    modules = dict(twin.named_modules())
    found, handles = {}, []
    for path, module in modules.items():
        if not isinstance(module, torch.nn.Conv2d) or module.kernel_size != (3, 3):
            continue
        parent, _, name = path.rpartition(".")
        bn = modules[f"{parent}.{name.replace('conv', 'bn')}".lstrip(".")]

        def hook(module, inputs, output, path=path):
            # Computed at once: the ReLU that follows works in place.
            found[path] = float(output.std(correction=0)), float(output.mean())

        handles.append(bn.register_forward_hook(hook))
    with torch.no_grad():
        twin(torch.tensor(x))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    ("name", "options", "shape"), CASES, ids=[case[0] for case in CASES]
)
def test_every_deviation_is_that_of_a_hook(
    torch, oracle, rng, name, options, shape, training
):
    model, twin = make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x = normal(rng, *shape)
    result = responses(model, x)
    expected = hooked(torch, twin, x)
    assert [row.name for row in result.rows] == list(expected)
    assert result.training is training
    for row in result.rows:
        deviation, mean = expected[row.name]
        assert row.deviation == pytest.approx(deviation, rel=1e-9), row.name
        assert row.mean == pytest.approx(mean, rel=1e-9, abs=1e-12), row.name
    ranked = sorted(result.rows, key=lambda row: row.rank)
    assert [row.rank for row in ranked] == list(range(1, len(ranked) + 1))
    assert sorted(expected.values(), reverse=True)[0][0] == pytest.approx(
        ranked[0].deviation
    )


def test_images_in_batches_are_one_set(rng):
    model = nr.models.resnet14(dtype=np.float64).eval()
    x = 30 + normal(rng, 7, 3, 9, 8)  # a mean that is large beside the deviation
    told = []
    whole = responses(model, x)
    parts = responses(model, x, batch_size=3, progress=lambda *now: told.append(now))
    assert parts.deviations == pytest.approx(whole.deviations, rel=1e-10)
    assert [row.mean for row in parts.rows] == pytest.approx(
        [row.mean for row in whole.rows], rel=1e-10
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert whole.images == parts.images == 7


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was_exceptions_included(rng, training):
    model = nr.models.resnet8(shortcut="B").train(training)
    x = rng.standard_normal((4, 3, 8, 8), dtype=np.float32)
    model(x)

    def stop(done, total):
        raise KeyboardInterrupt

    with left_as_it_was(model):
        responses(model, x)
        with pytest.raises(KeyboardInterrupt):
            responses(model, x, progress=stop)


def test_what_has_no_such_layers_is_refused(rng):
    x = rng.standard_normal((2, 3, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="residual blocks"):
        responses(nr.nn.Sequential(nr.nn.Conv2d(3, 4, 3)), x)
    with pytest.raises(TypeError, match="float32"):
        responses(nr.models.resnet8(), x.astype(np.float64))
    with pytest.raises(ValueError, match="batch_size"):
        responses(nr.models.resnet8(), x, batch_size=0)
    model = nr.models.resnet8()
    for module in model.modules():
        if isinstance(module, nr.nn.Conv2d):
            module.kernel_size = (5, 5)  # by its name: none is a 3x3 layer any more
            module.weight.data = np.zeros((*module.weight.shape[:2], 5, 5), np.float32)
            module.padding = (2, 2)
    with pytest.raises(ValueError, match="found none"):
        responses(model, x)


def test_it_prints_a_row_per_layer_and_draws_networks_together(rng):
    x = rng.standard_normal((3, 3, 8, 8), dtype=np.float32)
    result = responses(nr.models.resnet8(), x)
    assert "Residual net, 8 layers, 3 images in training mode" in repr(result)
    assert len(repr(result).splitlines()) == 1 + 7 + 2
    upper, lower = result.plot(beside=responses(nr.models.plain14(), x)).axes
    drawn = [line.get_ydata() for line in upper.lines]
    assert [len(values) for values in drawn] == [7, 13]
    np.testing.assert_array_equal(drawn[0], result.deviations)
    for line in lower.lines:
        assert list(line.get_ydata()) == sorted(line.get_ydata(), reverse=True)
