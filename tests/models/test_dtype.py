"""dtype in, dtype out: through every tensor of a training step and a prediction."""

import numpy as np
import pytest

import npresnet as nr
from tests.oracle import networks
from tests.oracle.compare import normal

NETWORKS = [
    ("resnet8", {"shortcut": "A"}),
    ("resnet8", {"shortcut": "B"}),
    ("plain8", {}),
    ("four bottlenecks", {"num_classes": 10}),
]


@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=str)
def test_a_training_step_changes_no_dtype(name, options, backend, dtype, rng):
    model = networks.create(name, dtype=dtype, **options)
    x = normal(rng, 2, 3, 33, 33).astype(dtype)
    labels = np.array([3, 1])
    optimizer = nr.optim.SGD(
        model.parameters(),
        lr=np.float64(1e-3),  # NumPy's scalars promote, Python's do not
        momentum=0.9,
        weight_decay=1e-4,
        nesterov=True,
    )
    for _ in range(2):
        tensors = networks.ours(model, x, labels, label_smoothing=0.1)
        optimizer.step()
    tensors |= model.state_dict()
    tensors |= optimizer.state_dict()
    for name, tensor in tensors.items():
        if name.endswith(("num_batches_tracked", "steps")):
            assert tensor.dtype == np.int64, name
        else:
            assert tensor.dtype == dtype, name
    model.eval()
    with nr.no_grad():
        assert model(x).dtype == dtype


def test_a_step_leaves_images_and_labels_alone(backend, dtype, rng):
    model = nr.models.resnet8(dtype=dtype)
    x, labels = normal(rng, 4, 3, 16, 16).astype(dtype), np.array([3, 1, 0, 9])
    before, labels_before = x.copy(), labels.copy()
    networks.ours(model, x, labels)
    assert np.array_equal(x, before)
    assert np.array_equal(labels, labels_before)


def test_activations_are_not_overwritten_on_the_way(backend, rng):
    # The addition of the shortcut must not write into an array that someone keeps.
    model = nr.models.resnet8(shortcut="A")
    x = normal(rng, 4, 3, 16, 16).astype(np.float32)
    seen = []

    def watch(module, inputs, output):
        seen.append((output, output.copy()))

    with nr.nn.watching(watch):
        logits = model(x)
    model.backward(normal(rng, *logits.shape).astype(np.float32))
    for output, copy in seen:
        assert np.array_equal(output, copy)
