"""Everything a parity receipt states about one network in one mode, as numbers.

Runs on the same state and the same images: PyTorch in float64, which is the truth,
ours in float64, and both in float32. One more, PyTorch in float64 on images that are
changed by one rounding, shows how much the network itself makes of one.

A sum that rounds to the other side of 0 switches a ReLU, and with it a path of the
gradient; so does a window whose two largest pixels change places. That is no rounding
error, and in a deep network in float32 it happens to everyone. So each run is held
against the truth on its own branch: PyTorch in float64 with every ReLU as open or
closed, and every window's maximum at the place, as it was in that run.
"""

import math
from typing import NamedTuple

import numpy as np

import npresnet as nr
from tests.oracle import networks
from tests.oracle.compare import FLOOR32, TALLY, distance, largest, relative_error
from tests.oracle.networks import (
    NETWORK_FACTOR32,
    NETWORK_RTOL64,
    RESPONSE_FACTOR,
    TENSOR_FACTOR32,
)

SGD = {"momentum": 0.9, "nesterov": True, "weight_decay": 1.0}  # decay that counts
STEPS = 10
SMALL_STEP = 1e-5  # of a layer's weights
SMALL_CHANGE = 1e-1  # of what comes out
KINDS = {
    "activation": "activations and loss",
    "grad": "parameter gradients",
    "grad_input": "input gradient",
    "buffer": "running statistics",
    "weight after": "weights after ten steps",
    "buffer after": "statistics after ten steps",
}


class Errors(NamedTuple):
    """Relative errors of one tensor, each the largest over its elements."""

    ours64: float
    ours32: float
    torch32: float
    response: float  # what one rounding of the images does to it in PyTorch


class Mode(NamedTuple):
    """One network in one mode: the errors of every tensor by its name."""

    errors: dict[str, Errors]
    limits64: dict[str, float]  # by kind
    switched: tuple[int, int]  # choices made otherwise in float32: ours, PyTorch's
    switches: int  # of so many
    lr: float
    moved: float  # how far ten steps moved a layer's weights, relative, at most

    def of_kind(self, kind):
        return {k: e for k, e in self.errors.items() if kind_of(k) == kind}

    @property
    def typical32(self):
        """How many times as far from the truth as PyTorch's: geometric mean."""
        one = float(np.finfo(np.float32).eps)
        logarithms = [
            math.log(max(e.ours32, one) / max(e.torch32, one))
            for e in self.errors.values()
            if max(e.ours32, e.torch32) > one
        ]
        return math.exp(sum(logarithms) / len(logarithms))

    def worst64(self, kind):
        errors = self.of_kind(kind)
        name = max(errors, key=lambda name: errors[name].ours64)
        return errors[name].ours64, name

    def worst32(self, kind):
        """Give our worst error of this kind, and PyTorch's."""
        errors = self.of_kind(kind).values()
        return max(e.ours32 for e in errors), max(e.torch32 for e in errors)

    def ratio32(self, kind):
        """Tell how many times PyTorch's worst error ours is, as in compare.py."""
        ours, theirs = self.worst32(kind)
        floor = FLOOR32 * float(np.finfo(np.float32).eps)
        return ours / (theirs + floor / TENSOR_FACTOR32)

    def failures(self):
        for kind in KINDS:
            error, name = self.worst64(kind)
            if not error <= self.limits64[kind]:
                yield f"{name}: float64 error {error:.1e}"
            if not self.ratio32(kind) <= TENSOR_FACTOR32:
                yield f"{KINDS[kind]}: float32 {self.ratio32(kind):.1f} x PyTorch's"
        if not self.typical32 <= NETWORK_FACTOR32:
            yield f"float32: typically {self.typical32:.1f} x PyTorch's"


def kind_of(name):
    return "activation" if name == "loss" else name.partition(":")[0]


def choices(torch, module, x, output):
    """Tell which elements a ReLU or a max pooling let through; None for others."""
    kind = type(module).__name__
    if kind == "ReLU":
        return np.asarray(output > 0)
    if kind == "MaxPool2d":
        options = module.kernel_size, module.stride, module.padding
        x = torch.as_tensor(x)
        return torch.nn.functional.max_pool2d(x, *options, return_indices=True)[1]
    return None


def our_run(torch, model, batches, lr):
    """Run a step, list its tensors, then take ten steps of SGD.

    Returns the tensors, and the choices in all calls.
    """
    chosen = []

    def watch(module, inputs, output):
        chosen.append(choices(torch, module, inputs[0], output))

    with nr.nn.watching(watch):
        tensors = networks.ours(model, *batches[0])
        # They are the model's own arrays, and the steps will change them.
        for key, tensor in tensors.items():
            if kind_of(key) == "buffer":
                tensors[key] = tensor.copy()
        optimizer = nr.optim.SGD(model.parameters(), lr, **SGD)
        criterion = nr.nn.CrossEntropyLoss()
        for x, labels in batches[1:]:
            model.zero_grad()
            criterion(model(x), labels)
            model.backward(criterion.backward(), input_grad=False)
            optimizer.step()
    for name, parameter in model.named_parameters():
        tensors[f"weight after:{name}"] = parameter.data
    for name, buffer in model.named_buffers():
        tensors[f"buffer after:{name}"] = buffer
    return tensors, [choice for choice in chosen if choice is not None]


def their_run(torch, twin, batches, lr, forced=None):
    """Do the same by autograd and torch.optim, with other choices if `forced`."""
    chosen = []
    if forced is not None:
        force(torch, twin, iter(forced))

    def watch(module, inputs, output):
        chosen.append(choices(torch, module, inputs[0].detach(), output.detach()))

    for module in twin.modules():
        if isinstance(module, torch.nn.MaxPool2d):
            module.register_forward_hook(watch)
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(watch)
    tensors = networks.theirs(torch, twin, *batches[0])
    optimizer = torch.optim.SGD(twin.parameters(), lr, **SGD)
    dtype = next(twin.parameters()).dtype
    for x, labels in batches[1:]:
        optimizer.zero_grad()
        logits = twin(torch.tensor(x, dtype=dtype))
        torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
        optimizer.step()
    for name, parameter in twin.named_parameters():
        tensors[f"weight after:{name}"] = parameter.detach().numpy()
    for name, buffer in twin.named_buffers():
        tensors[f"buffer after:{name}"] = buffer.numpy()
    return tensors, [choice for choice in chosen if choice is not None]


def force(torch, twin, forced):
    """Put the given choices, one for each call, in the place of the twin's own."""

    class Mask(torch.nn.Module):
        def forward(self, x):
            return x * torch.as_tensor(next(forced)).to(x.dtype)

    class Pick(torch.nn.Module):
        def forward(self, x):
            places = next(forced)
            picked = x.flatten(2).gather(2, places.flatten(2))
            return picked.reshape(places.shape)

    for module in list(twin.modules()):
        if hasattr(module, "relu"):
            module.relu = Mask()
        if hasattr(module, "maxpool"):
            module.maxpool = Pick()


def calibrated(torch, oracle, name, state, x, options):
    """Give the running statistics that images like these have.

    With invented ones the activations of a deep network in evaluation mode would
    grow beyond all bounds.
    """
    twin = networks.make_twin(torch, oracle, name, state, np.float64, True, **options)
    for module in twin.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        twin(torch.tensor(x))
    return state | {
        key: tensor.numpy().astype(np.float32)
        for key, tensor in twin.state_dict().items()
        if key.endswith(("running_mean", "running_var"))
    }


def learning_rate(torch, twin, batches):
    """Give a power of ten with which ten steps are no chaos.

    With large steps the network itself, not the arithmetic, would decide how far two
    runs part. So a step changes no layer's weights by more than a small share, which
    is the smaller, the more the network magnifies a change.
    """
    gradients = []
    for x, labels in batches:
        images = torch.tensor(x, requires_grad=True)
        twin.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(images), torch.tensor(labels))
        loss.backward()
        gradients.append(images.grad.numpy())
    change = distance(gradients[1], gradients[0]) / largest(gradients[0])
    # Not at all where the softmax is saturated.
    magnified = max(change / np.finfo(np.float64).eps, 1.0)
    longest = min(
        float(parameter.detach().norm() / parameter.grad.norm())
        for parameter in twin.parameters()
    )
    share = min(SMALL_STEP, SMALL_CHANGE / magnified)
    return 10.0 ** math.floor(math.log10(share * longest))


def relative_errors(tensors, truth):
    errors = {}
    for key, tensor in truth.items():
        assert tensors[key].shape == tensor.shape, key
        error = relative_error(distance(tensors[key], tensor), largest(tensor))
        errors[key] = math.inf if math.isnan(error) else error
    return errors


def measure(torch, oracle, name, options, shape, training, seed=0):
    """Make the five runs and compare them tensor by tensor."""
    rng = np.random.default_rng(seed)
    model = nr.models.create(name, dtype=np.float64, seed=seed, **options)
    state = networks.random_state(model, rng)
    classes = networks.classes_of(model)
    batches = [networks.draw_batch(rng, shape, classes) for _ in range(STEPS + 1)]
    state = calibrated(torch, oracle, name, state, batches[-1][0], options)
    single = [(x.astype(np.float32), labels) for x, labels in batches]
    rounded = [(networks.round_once(x, rng), labels) for x, labels in batches]

    lr = learning_rate(
        torch,
        networks.make_twin(torch, oracle, name, state, np.float64, training, **options),
        [batches[0], rounded[0]],
    )

    def ours(dtype, batches):
        model = nr.models.create(name, dtype=dtype, seed=seed, **options)
        model.load_state_dict(state)
        # Winograd's algorithm has a test, and a tolerance, of its own.
        with nr.using_algorithm("direct"):
            return our_run(torch, model.train(training), batches, lr)

    def theirs(dtype, batches, forced=None):
        twin = networks.make_twin(
            torch, oracle, name, state, dtype, training, **options
        )
        return their_run(torch, twin, batches, lr, forced)

    truth, chosen = theirs(np.float64, batches)
    columns, switched = [], []
    for run, dtype, given in (
        (ours, np.float64, batches),
        (ours, np.float32, single),
        (theirs, np.float32, single),
    ):
        tensors, others = run(dtype, given)
        networks.assert_same_tensors(tensors, truth)
        switched.append(differences(others, chosen))
        branch = theirs(np.float64, batches, others)[0] if switched[-1] else truth
        columns.append(relative_errors(tensors, branch))
        del tensors, branch  # those of the large networks take gigabytes
    # On the same branch, too.
    columns.append(relative_errors(theirs(np.float64, rounded, chosen)[0], truth))
    errors = {key: Errors(*(column[key] for column in columns)) for key in truth}
    limits = {}
    for kind in KINDS:
        response = max(e.response for k, e in errors.items() if kind_of(k) == kind)
        limits[kind] = max(NETWORK_RTOL64, RESPONSE_FACTOR * response)
    moved = max(
        distance(truth[key], start) / largest(start)
        for key, start in ((f"weight after:{k}", v) for k, v in state.items())
        if key in truth
    )
    total = sum(np.asarray(choice).size for choice in chosen)
    mode = Mode(errors, limits, tuple(switched[1:]), total, lr, moved)
    count(mode)
    return mode


def differences(some, others):
    pairs = zip(some, others, strict=True)
    return sum(
        int(np.count_nonzero(np.asarray(one) != np.asarray(other)))
        for one, other in pairs
    )


def count(mode):
    """Enter the comparisons into the tally of the test run."""
    response = f"max(1e-10, {RESPONSE_FACTOR:g} x PyTorch's response to one rounding)"
    for key, error in mode.errors.items():
        share = error.ours64 / mode.limits64[kind_of(key)]
        TALLY.add("float64", response, share, error.ours64, key)
    for kind in KINDS:
        ratio = mode.ratio32(kind)
        limit = f"{TENSOR_FACTOR32:g} (worst of a kind)"
        TALLY.add("float32", limit, ratio / TENSOR_FACTOR32, ratio, KINDS[kind])
