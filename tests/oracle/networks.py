"""A network and its PyTorch twin, brought to the same state and taken apart by name.

`ours` and `theirs` both give every tensor of one step: "activation:<module>",
"loss", "grad_input", "grad:<parameter>" and "buffer:<name>".
"""

import copy
import functools
import pickle
from collections import Counter

import numpy as np

import npresnet as nr
from tests.oracle.compare import normal

# float64 may differ by this much of a tensor's largest magnitude. (Up to ResNet-56,
# what is seen is 1e-13.)
NETWORK_RTOL64 = 1e-10

# In training mode, rounding grows exponentially with depth where no identity carries
# the signal: 1e-7 in plain-110. There the yardstick is what PyTorch's own network
# makes of one rounding in the images; ours may be this many times as far away.
RESPONSE_FACTOR = 10.0

# float32: any tensor may be this many times as far from the truth as PyTorch's, and
# the typical one (the geometric mean over all of them) this many times.
TENSOR_FACTOR32 = 8.0
NETWORK_FACTOR32 = 2.5


def create(name, **options):
    """Build a network of the registry, or the shallowest with bottlenecks."""
    if name == "four bottlenecks":
        return nr.models.ResNet(nr.models.Bottleneck, (1, 1, 1, 1), **options)
    return nr.models.create(name, **options)


def random_state(model, rng):
    """Invent a state that no initialisation gives, so that each number counts.

    Weights keep their size, so that activations keep theirs; batch norm's vectors
    are no longer 0 and 1.
    """
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(3, np.int64)
        elif name.endswith("running_var"):
            state[name] = 0.5 + np.abs(normal(rng, *value.shape))
        elif name.endswith("running_mean") or value.ndim == 1:
            shift = 1.0 if name.endswith("weight") else 0.0  # batch norm's scale
            state[name] = shift + normal(rng, *value.shape, scale=0.3)
        else:
            deviation = float(value.std())
            state[name] = normal(rng, *value.shape, scale=deviation)
    return {
        name: value if value.dtype == np.int64 else value.astype(np.float32)
        for name, value in state.items()
    }


def draw_batch(rng, shape, classes):
    return normal(rng, *shape), rng.integers(0, classes, shape[0])


def classes_of(model):
    return model.state_dict()["fc.bias"].size


def assert_same_tensors(actual, expected):
    """Compare by name; ours may hold more (an identity is a module here)."""
    missing = [name for name in expected if name not in actual]
    assert not missing
    extra = [name for name in actual if name not in expected]
    assert all("downsample" in name for name in extra), extra


def round_once(x, rng):
    """Change every number by one rounding, up or down."""
    return x * (1 + np.finfo(x.dtype).eps * rng.choice([-1, 1], x.shape))


def make_twins(torch, oracle, name, dtype, rng, *, training=True, **options):
    """`create` a network on both sides with the same random state.

    Returns the model and its twin, the latter in `dtype` too.
    """
    model, state, drawn = _invented(
        name, np.dtype(dtype), tuple(options.items()), pickle.dumps(rng)
    )
    rng.bit_generator.state = drawn
    model = copy.deepcopy(model).train(training)
    return model, make_twin(torch, oracle, name, state, dtype, training, **options)


@functools.lru_cache(maxsize=1)  # neighbours ask for the same, in the other mode
def _invented(name, dtype, options, rng):
    """Return a model in a random state, that state, and how far `rng` has come."""
    rng = pickle.loads(rng)
    model = create(name, dtype=dtype, seed=0, **dict(options))
    state = random_state(model, rng)
    model.load_state_dict(state)
    return model, state, rng.bit_generator.state


def make_twin(torch, oracle, name, state, dtype, training, **options):
    # On this device nothing is drawn: the state takes the place of all there is.
    with torch.device("meta"):
        twin = oracle.create(name, **options)
    single_or_double = torch.float64 if dtype == np.float64 else torch.float32
    tensors = {
        key: torch.tensor(value, dtype=single_or_double if value.ndim else torch.int64)
        for key, value in state.items()
    }
    twin.load_state_dict(tensors, strict=True, assign=True)
    return twin.train(training)


def ours(model, x, labels, label_smoothing=0.0):
    """Run one step and list all its tensors."""
    paths = {id(module): path for path, module in model.named_modules()}
    tensors, calls = {}, Counter()

    def watch(module, inputs, output):
        path = paths[id(module)]
        tensors[f"activation:{path}#{calls[path]}"] = output
        calls[path] += 1

    criterion = nr.nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    with nr.nn.watching(watch):
        logits = model(x)
    tensors["loss"] = criterion(logits, labels)
    tensors["grad_input"] = model.backward(criterion.backward())
    for name, parameter in model.named_parameters():
        tensors[f"grad:{name}"] = parameter.grad
    for name, buffer in model.named_buffers():
        tensors[f"buffer:{name}"] = buffer
    return tensors


def theirs(torch, twin, x, labels, label_smoothing=0.0):
    """The same, by autograd."""
    tensors, calls, handles = {}, Counter(), []
    dtype = next(twin.parameters()).dtype

    def watch(path):
        def hook(module, inputs, output):
            # A copy: the ReLU that follows works in place.
            copy = output.detach().clone().numpy()
            tensors[f"activation:{path}#{calls[path]}"] = copy
            calls[path] += 1

        return hook

    for path, module in twin.named_modules():
        handles.append(module.register_forward_hook(watch(path)))
    images = torch.tensor(x, dtype=dtype, requires_grad=True)
    twin.zero_grad()
    loss = torch.nn.functional.cross_entropy(
        twin(images), torch.tensor(labels), label_smoothing=label_smoothing
    )
    loss.backward()
    for handle in handles:
        handle.remove()
    tensors["loss"] = loss.detach().numpy()
    tensors["grad_input"] = images.grad.numpy()
    for name, parameter in twin.named_parameters():
        tensors[f"grad:{name}"] = parameter.grad.numpy()
    for name, buffer in twin.named_buffers():
        tensors[f"buffer:{name}"] = buffer.numpy().copy()
    return tensors
