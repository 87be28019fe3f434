"""Subclasses of ndarray at every door: plain arrays behind it, or one clear line."""

import dataclasses
import warnings

import numpy as np
import pytest

import npresnet as nr
from npresnet import functional as f

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((2, 3, 6, 6))
ROWS = RNG.standard_normal((2, 5))
LABELS = np.array([1, 0])
KERNELS, MATRIX = RNG.standard_normal((4, 3, 3, 3)), RNG.standard_normal((4, 5))
C, K = RNG.random(3) + 0.5, RNG.random(4)
BYTES = RNG.integers(0, 256, (2, 3, 6, 6), np.uint8)


class Changed(np.ndarray):
    """An array of somebody's own, with other operators, indexing and shapes."""

    def __array_ufunc__(self, *arguments, **options):
        raise AssertionError("a ufunc saw the subclass")

    def __array_function__(self, *arguments, **options):
        raise AssertionError("a function of NumPy's saw the subclass")

    def __getitem__(self, index):
        raise AssertionError("indexing saw the subclass")

    def transpose(self, *axes):
        raise AssertionError("transpose saw the subclass")


class Silent(np.ndarray):
    """An array of somebody's own that only wants to be kept."""


TAKEN = {
    "memmap": lambda a: a.view(np.memmap),
    "recarray": lambda a: a.view(np.recarray),
    "silent": lambda a: a.view(Silent),
    "changed": lambda a: a.view(Changed),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}
REFUSED = {
    "masked": (lambda a: np.ma.array(a, mask=a > a.mean()), "masked array"),
    "unmasked": (np.ma.asarray, "masked array"),
}


def backward(forward, function, *arrays, **options):
    """Return a call of `function` with the gradient wrapped, for one forward pass."""

    def call(wrap):
        out, cache = forward(*arrays, **options)[:2]
        return function(wrap(np.cos(np.arange(out.size)).reshape(out.shape)), cache)

    return call


def batch_norm(x=IMAGES, weight=C, bias=C, mean=C, variance=C, training=True):
    return f.batch_norm_forward(x, weight, bias, mean, variance, training=training)


def frozen(*arrays):
    return batch_norm(*arrays, training=False)


FUNCTIONS = {
    "relu_forward x": lambda w: f.relu_forward(w(IMAGES)),
    "relu_backward grad_output": backward(f.relu_forward, f.relu_backward, ROWS),
    "conv2d_forward x": lambda w: f.conv2d_forward(w(IMAGES), KERNELS, K),
    "conv2d_forward weight": lambda w: f.conv2d_forward(IMAGES, w(KERNELS), K),
    "conv2d_forward bias": lambda w: f.conv2d_forward(IMAGES, KERNELS, w(K)),
    "conv2d_backward grad_output": backward(
        f.conv2d_forward, f.conv2d_backward, IMAGES, KERNELS, K
    ),
    "linear_forward x": lambda w: f.linear_forward(w(ROWS), MATRIX, K),
    "linear_forward weight": lambda w: f.linear_forward(ROWS, w(MATRIX), K),
    "linear_forward bias": lambda w: f.linear_forward(ROWS, MATRIX, w(K)),
    "linear_backward grad_output": backward(
        f.linear_forward, f.linear_backward, ROWS, MATRIX, K
    ),
    "batch_norm_forward x": lambda w: batch_norm(w(IMAGES)),
    "batch_norm_forward weight": lambda w: batch_norm(weight=w(C)),
    "batch_norm_forward bias": lambda w: batch_norm(bias=w(C)),
    "batch_norm_forward running_mean": lambda w: frozen(IMAGES, C, C, w(C)),
    "batch_norm_forward running_var": lambda w: batch_norm(variance=w(C)),
    "batch_norm_backward grad_output": backward(batch_norm, f.batch_norm_backward),
    "max_pool2d_forward x": lambda w: f.max_pool2d_forward(w(IMAGES), 2),
    "max_pool2d_backward grad_output": backward(
        f.max_pool2d_forward, f.max_pool2d_backward, IMAGES, 2
    ),
    "avg_pool2d_forward x": lambda w: f.avg_pool2d_forward(w(IMAGES), 2),
    "avg_pool2d_backward grad_output": backward(
        f.avg_pool2d_forward, f.avg_pool2d_backward, IMAGES, 2
    ),
    "adaptive_avg_pool2d_forward x": lambda w: f.adaptive_avg_pool2d_forward(
        w(IMAGES), 4
    ),
    "adaptive_avg_pool2d_backward grad_output": backward(
        f.adaptive_avg_pool2d_forward, f.adaptive_avg_pool2d_backward, IMAGES, 4
    ),
    "zero_pad_shortcut_forward x": lambda w: f.zero_pad_shortcut_forward(w(IMAGES), 4),
    "zero_pad_shortcut_backward grad_output": backward(
        f.zero_pad_shortcut_forward, f.zero_pad_shortcut_backward, IMAGES, 4, 2
    ),
    "softmax logits": lambda w: f.softmax(w(ROWS)),
    "cross_entropy_forward logits": lambda w: f.cross_entropy_forward(w(ROWS), LABELS),
    "cross_entropy_forward labels": lambda w: f.cross_entropy_forward(ROWS, w(LABELS)),
}


def model():
    return nr.models.resnet8(num_classes=3, dtype=np.float64, seed=0).eval()


def gradient_by(layer, *arrays):
    """Go forward, and backward from a wrapped gradient; return all gradients."""

    def call(wrap):
        module = layer()
        out = module(*arrays)
        grad = module.backward(wrap(np.ones_like(out)))
        return [grad, *(parameter.grad for parameter in module.parameters())]

    return call


def step(optimizer, wrap_data, wrap_grad):
    parameter = nr.nn.Parameter(np.ones(4))
    parameter.data = wrap_data(parameter.data)
    parameter.grad = wrap_grad(np.arange(4.0))
    made = optimizer([parameter])
    made.step()
    made.step()
    return np.asarray(parameter.data), made.state_dict()


def loaded(wrap):
    module = nr.nn.Linear(5, 4, dtype=np.float64)
    module.load_state_dict({"weight": wrap(MATRIX), "bias": K})
    return module.weight.data


def optimizer_loaded(wrap):
    optimizer = nr.optim.SGD([nr.nn.Parameter(K)], lr=1, momentum=0.5)
    optimizer.load_state_dict({"steps": np.array(1), "0.momentum_buffer": wrap(K)})
    return optimizer.state_dict()


def dataset(images=BYTES, labels=LABELS, mean=C, std=C):
    return nr.data.Dataset(images, labels, ("a", "b"), mean, std, "two")


def fields(value):
    return {
        field.name: getattr(value, field.name) for field in dataclasses.fields(value)
    }


SGD = {"lr": 0.1, "momentum": 0.9}
DOORS = {
    "layer x": lambda w: nr.nn.Conv2d(3, 4, 3, dtype=np.float64, rng=0)(w(IMAGES)),
    "empty Sequential x": lambda w: nr.nn.Sequential()(w(IMAGES)),
    "block x": lambda w: nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)(w(IMAGES)),
    "model x": lambda w: model()(w(IMAGES)),
    "twin x": lambda w: nr.inference(model())(w(IMAGES)),
    "loss x": lambda w: nr.nn.CrossEntropyLoss()(w(ROWS), LABELS),
    "loss labels": lambda w: nr.nn.CrossEntropyLoss()(ROWS, w(LABELS)),
    "layer grad_output": gradient_by(lambda: nr.nn.ReLU(), IMAGES),
    "model grad_output": gradient_by(model, IMAGES),
    "parameter data": lambda w: nr.nn.Parameter(w(K)).data,
    "state dict": loaded,
    "SGD data": lambda w: step(lambda p: nr.optim.SGD(p, **SGD), w, np.array),
    "SGD grad": lambda w: step(lambda p: nr.optim.SGD(p, **SGD), np.array, w),
    "AdamW data": lambda w: step(nr.optim.AdamW, w, np.array),
    "AdamW grad": lambda w: step(nr.optim.AdamW, np.array, w),
    "optimizer's state": optimizer_loaded,
    "dataset images": lambda w: fields(dataset(w(BYTES))),
    "dataset labels": lambda w: fields(dataset(labels=w(LABELS))),
    "dataset mean": lambda w: fields(dataset(mean=w(C))),
    "dataset std": lambda w: fields(dataset(std=w(C))),
    "subset indices": lambda w: fields(dataset().subset(w(LABELS))),
    "batches mean": lambda w: list(
        nr.data.batches(dataset(), 1, shuffle=False, mean=w(C))
    ),
    "batches std": lambda w: list(
        nr.data.batches(dataset(), 1, shuffle=False, std=w(C))
    ),
    "normalize images": lambda w: nr.data.normalize(w(BYTES), C, C),
    "normalize mean": lambda w: nr.data.normalize(BYTES, w(C), C),
    "normalize std": lambda w: nr.data.normalize(BYTES, C, w(C)),
    "mean_fill mean": lambda w: nr.data.mean_fill(w(C)),
    "augmentation images": lambda w: nr.data.RandomCropFlip(1, fill=(1, 2, 3))(
        w(BYTES), np.random.default_rng(0)
    ),
    "gradient check": lambda w: [
        check.analytic for check in nr.testing.check_gradients(nr.nn.ReLU(), w(IMAGES))
    ],
    "ledger x": lambda w: nr.lens.ledger(model(), w(IMAGES), LABELS).to_dict(),
    "ledger y": lambda w: nr.lens.ledger(model(), IMAGES, w(LABELS)).to_dict(),
    "spectrum x": lambda w: nr.lens.spectrum(model(), w(IMAGES), LABELS).to_dict(),
    "lesion x": lambda w: nr.lens.lesion(model(), w(IMAGES), LABELS).to_dict(),
    "responses x": lambda w: nr.lens.responses(model(), w(IMAGES)).to_dict(),
    "activations x": lambda w: nr.lens.activations(model(), w(IMAGES)).to_dict(),
    "feature maps x": lambda w: nr.lens.feature_maps(
        model(), w(IMAGES), "conv1"
    ).to_dict(),
    "saliency x": lambda w: nr.lens.saliency(model(), w(IMAGES)).to_dict(),
    "saliency target": lambda w: nr.lens.saliency(
        model(), IMAGES, target=w(LABELS)
    ).to_dict(),
    "saliency pictures": lambda w: nr.lens.saliency(
        model(), IMAGES, pictures=w(BYTES)
    ).to_dict(),
    "grad cam x": lambda w: nr.lens.grad_cam(model(), w(IMAGES)).to_dict(),
    "landscape x": lambda w: nr.lens.landscape(
        model(), w(IMAGES), LABELS, dimensions=1, points=3
    ).to_dict(),
    "steps x": lambda w: len(nr.lens.steps(model(), w(IMAGES), LABELS)),
}
CALLS = FUNCTIONS | DOORS


def arrays_in(value):
    """Go through all arrays in a result, whatever it is made of."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from arrays_in(entry)
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from arrays_in(entry)


def assert_same(result, expected):
    found, wanted = list(arrays_in(result)), list(arrays_in(expected))
    assert [type(array) for array in found] == [np.ndarray] * len(wanted)
    for array, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(array, other)
    if not wanted:
        assert result == expected


@pytest.mark.parametrize("kind", TAKEN)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_a_subclass_for_the_array_that_it_is(name, kind, backend):
    call = FUNCTIONS[name]
    assert_same(call(TAKEN[kind]), call(lambda a: a))


@pytest.mark.parametrize("name", DOORS)
def test_every_other_door_does_so_too(name):
    call = DOORS[name]
    expected = call(lambda a: a)
    for kind, wrap in TAKEN.items():
        if kind == "read-only" and name.endswith(" data"):
            continue  # an optimiser changes it in place
        assert_same(call(wrap), expected)


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", CALLS)
def test_a_masked_array_is_refused_in_one_line_that_names_the_argument(name, kind):
    wrap, what = REFUSED[kind]
    with pytest.raises(TypeError) as caught:
        CALLS[name](wrap)
    message = str(caught.value)
    assert what in message and "\n" not in message
    assert "must be a plain NumPy array" in message


def matrix(array):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.matrix(array)


@pytest.mark.parametrize(
    "name", [name for name in CALLS if name.split()[-1] in ("x", "weight", "logits")]
)
def test_a_matrix_is_refused_and_never_seen_by_a_kernel(name, backend):
    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[name](lambda a: matrix(a.reshape(len(a), -1)))
    assert "\n" not in str(caught.value)


def test_the_message_about_a_matrix_says_what_to_do():
    expected = "x must be a plain NumPy array, got a matrix: convert it with np.asarray"
    for call in (
        lambda x: f.linear_forward(x, MATRIX),
        f.relu_forward,
        nr.nn.Linear(5, 4, dtype=np.float64),
    ):
        with pytest.raises(TypeError) as caught:
            call(matrix(ROWS))
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    "dtype",
    [
        np.float16,
        np.longdouble,
        np.complex128,
        np.int64,
        np.bool_,
        object,
        "S8",
        "U3",
        "M8[s]",
        [("a", "f8"), ("b", "f4")],
        ">f4",
        ">f8",
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "call",
    [
        f.relu_forward,
        lambda x: f.max_pool2d_forward(x, 2),
        lambda x: f.avg_pool2d_forward(x, 2),
        lambda x: f.conv2d_forward(x, KERNELS),
        lambda x: f.conv2d_forward(IMAGES, x),
        lambda x: batch_norm(x),
        lambda x: model()(x),
    ],
)
def test_another_dtype_is_refused_whatever_it_is(call, dtype):
    with pytest.raises(TypeError) as caught:
        call(np.zeros((2, 3, 4, 4), dtype))
    message = str(caught.value).removeprefix("conv1 (Conv2d): ")  # where in a model
    assert message.startswith(("x must be float32", "weight must be float32"))
    assert "\n" not in message


def test_a_foreign_byte_order_is_named_and_saved_in_the_machines_own(tmp_path):
    foreign = IMAGES.astype(IMAGES.dtype.newbyteorder())
    with pytest.raises(TypeError) as caught:
        f.relu_forward(foreign)
    assert str(caught.value) == (
        "x must be float32 or float64, got float64 in the byte order of other machines"
    )
    for suffix in ("safetensors", "npz"):
        nr.weights.save(tmp_path / f"w.{suffix}", {"w": foreign})
        loaded = nr.weights.load(tmp_path / f"w.{suffix}")["w"]
        assert loaded.dtype.isnative
        np.testing.assert_array_equal(loaded, IMAGES)


def test_a_dtype_with_notes_is_the_dtype(backend):
    noted = np.dtype(np.float64, metadata={"unit": "mV"})
    for name, call in FUNCTIONS.items():
        if "labels" not in name:
            assert_same(call(lambda a: a.astype(noted)), call(lambda a: a))


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_weights_are_saved_from_subclasses_but_not_without_their_mask(suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    for wrap in TAKEN.values():
        nr.weights.save(path, {"w": wrap(IMAGES)})
        loaded = nr.weights.load(path)["w"]
        assert type(loaded) is np.ndarray
        np.testing.assert_array_equal(loaded, IMAGES)
    before = path.read_bytes()
    for wrap in (REFUSED["masked"][0], lambda a: matrix(a.reshape(2, -1))):
        with pytest.raises(TypeError, match="'w' must be a plain NumPy array"):
            nr.weights.save(path, {"w": wrap(IMAGES)})
    assert path.read_bytes() == before


def test_a_real_memmap_is_a_batch_like_any_other(tmp_path, backend):
    file = tmp_path / "x.npy"
    np.save(file, IMAGES)
    for mode in ("r", "r+", "c"):
        x = np.load(file, mmap_mode=mode)
        assert isinstance(x, np.memmap)
        assert_same(model()(x), model()(IMAGES))


def test_every_pair_of_functions_is_among_the_cases():
    functions = {n for n in f.__all__ if n.endswith(("_forward", "_backward"))}
    functions -= {"cross_entropy_backward"}  # its gradient is a number
    assert {name.split()[0] for name in FUNCTIONS} == {*functions, "softmax"}
