"""Arguments stand where PyTorch's stand, with its defaults, or have to be named.

Whoever brings a call along from PyTorch gets PyTorch's meaning or an error, never
another number.
"""

import inspect

import numpy as np
import pytest

from npresnet import functional, models, nn, optim

EMPTY = inspect.Parameter.empty
POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def listed(*required, **optional):
    """Write a signature down that `inspect` cannot read: name -> default."""
    return dict.fromkeys(required, EMPTY) | optional


# Functions of PyTorch's that are written in C++, as its documentation has them, and
# torchvision's, which is not needed to run these tests.
CONV2D = listed("input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
LINEAR = listed("input", "weight", bias=None)
# The operator's order; torch.nn.functional.batch_norm, which has the statistics first,
# has these defaults.
BATCH_NORM = listed(
    *("input", "weight", "bias", "running_mean", "running_var", "training"),
    momentum=0.1,
    eps=1e-5,
)
MAX_POOL2D = listed(
    *("input", "kernel_size"),
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
)
AVG_POOL2D = listed(
    *("input", "kernel_size"),
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
)
RESNET = listed(
    *("block", "layers"),
    num_classes=1000,
    zero_init_residual=False,
    groups=1,
    width_per_group=64,
    replace_stride_with_dilation=None,
    norm_layer=None,
)
BLOCK = listed(
    *("inplanes", "planes"),
    stride=1,
    downsample=None,
    groups=1,
    base_width=64,
    dilation=1,
    norm_layer=None,
)

# ours -> PyTorch's: by name in torch, or as listed above.
COUNTERPARTS = {
    "nn.AdaptiveAvgPool2d": "nn.AdaptiveAvgPool2d",
    "nn.AvgPool2d": "nn.AvgPool2d",
    "nn.BatchNorm2d": "nn.BatchNorm2d",
    "nn.Conv2d": "nn.Conv2d",
    "nn.CrossEntropyLoss": "nn.CrossEntropyLoss",
    "nn.Linear": "nn.Linear",
    "nn.MaxPool2d": "nn.MaxPool2d",
    "nn.Module": "nn.Module",
    "nn.Parameter": "nn.Parameter",
    "nn.ReLU": "nn.ReLU",
    "nn.Sequential": "nn.Sequential",
    "nn.no_grad": "no_grad",
    "nn.init.kaiming_normal": "nn.init.kaiming_normal_",
    "functional.adaptive_avg_pool2d_forward": "nn.functional.adaptive_avg_pool2d",
    "functional.avg_pool2d_forward": AVG_POOL2D,
    "functional.batch_norm_forward": BATCH_NORM,
    "functional.conv2d_forward": CONV2D,
    "functional.cross_entropy_forward": "nn.functional.cross_entropy",
    "functional.linear_forward": LINEAR,
    "functional.max_pool2d_forward": MAX_POOL2D,
    "functional.relu_forward": "nn.functional.relu",
    "functional.softmax": "nn.functional.softmax",
    "optim.SGD": "optim.SGD",
    "optim.AdamW": "optim.AdamW",
    "optim.Optimizer": "optim.Optimizer",
    "optim.Constant": "optim.lr_scheduler.ConstantLR",
    "optim.Cosine": "optim.lr_scheduler.CosineAnnealingLR",
    "optim.OneCycle": "optim.lr_scheduler.OneCycleLR",
    "optim.StepDecay": "optim.lr_scheduler.MultiStepLR",
    "models.ResNet": RESNET,
    "models.BasicBlock": BLOCK,
    "models.Bottleneck": BLOCK,
    "models.PlainBlock": BLOCK,
}
# What PyTorch and torchvision do not have, and so cannot contradict.
OURS_ALONE = {
    "nn": {
        *("Gradient", "LoadResult", "ZeroPadShortcut"),
        *("replaying", "watching"),
    },
    "nn.init": {"skipped", "fans", "uniform_fan_in", "generator"},
    "functional": {"zero_pad_shortcut_forward"},
    "optim": {"Schedule", "parameter_groups"},
    "models": {
        *("PooledConv", "ResidualBlock", "Stem", "cifar_resnet", "pooled_resnet"),
        *("create", "input_shape", "names"),
        # torchvision's builders take no argument by position, ours the number of
        # classes, which must not be True: its old `pretrained` stood there.
        *models.names(),
    },
}
# Other words of ours, for the same thing.
WORDS = {
    "x": "input",
    "logits": "input",
    "labels": "target",
    "value": "tensor",
    "modules": "args",
    "inputs": "args",
    "in_channels": "inplanes",
    "channels": "planes",
    "shape": "tensor",
    "total_steps": "T_max",
}
# Only where they are named: where ours differ on purpose.
OTHER_DEFAULTS = {
    "dtype",  # None is float32 there, of whatever is the default
    "final_lr",
}


def find(root, path):
    for name in path.split("."):
        root = getattr(root, name)
    return root


def parameters(thing):
    signature = inspect.signature(thing)
    return [p for p in signature.parameters.values() if p.name != "self"]


def theirs_of(torch, name):
    """List PyTorch's arguments: (name, default) by position, and name -> default."""
    there = COUNTERPARTS[name]
    if isinstance(there, dict):
        return list(there.items()), there
    found = parameters(find(torch, there))
    if there.startswith("optim.lr_scheduler"):
        # A schedule here has a learning rate where there it has an optimiser, which
        # knows it; OneCycleLR has both.
        lr = inspect.Parameter("lr", POSITIONAL[1])
        found = [lr if p.name == "max_lr" else p for p in found[1:]]
        found = found if found[0].name == "lr" else [lr, *found]
    by_position = [
        (p.name, p.default) for p in found if p.kind in (*POSITIONAL, p.VAR_POSITIONAL)
    ]
    return by_position, {p.name: p.default for p in found}


def assert_agrees(name, ours, by_position, by_name):
    place = 0
    for argument in ours:
        if argument.kind in (*POSITIONAL, argument.VAR_POSITIONAL):
            assert place < len(by_position), f"{name}: {argument.name}: no such place"
            their_name, default = by_position[place]
            same = their_name in (argument.name, WORDS.get(argument.name))
            assert same, f"{name}: {argument.name} stands where {their_name} does"
            place += 1
        elif argument.name in by_name and argument.name not in OTHER_DEFAULTS:
            default = by_name[argument.name]
        else:
            continue
        if argument.default is EMPTY:
            continue  # has to be given: no other meaning is possible
        assert argument.default == default, f"{name}: {argument.name}={default}"


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_arguments_stand_where_torchs_stand(torch, name):
    ours = parameters(find(ROOMS, name))
    assert_agrees(name, ours, *theirs_of(torch, name))


class ROOMS:
    nn, functional, optim, models = nn, functional, optim, models


@pytest.mark.parametrize("room", OURS_ALONE)
def test_every_public_name_has_its_counterpart_or_is_ours_alone(room):
    module = find(ROOMS, room)
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]
    if room == "functional":
        # A cache is made by a forward pass; backward passes are PyTorch's autograd.
        names = [n for n in names if not n.endswith(("Cache", "_backward"))]
    for name in names:
        if inspect.ismodule(getattr(module, name)) or name == "contextmanager":
            continue
        known = f"{room}.{name}" in COUNTERPARTS
        assert known != (name in OURS_ALONE[room]), f"{room}.{name}"


# What modules and optimisers do, under PyTorch's names.
CLASSES = [
    name
    for name, there in COUNTERPARTS.items()
    if isinstance(there, str) and name.startswith(("nn.", "optim."))
]


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_torchs_arguments(torch, name):
    ours, theirs = find(ROOMS, name), find(torch, COUNTERPARTS[name])
    if not isinstance(ours, type) or name.startswith("optim.lr"):
        return
    for method, function in inspect.getmembers(ours, inspect.isfunction):
        there = getattr(theirs, method, None)
        if method.startswith("_") or not inspect.isfunction(there):
            continue
        found = parameters(there)
        kinds = (*POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
        by_position = [(p.name, p.default) for p in found if p.kind in kinds]
        if found and found[0].kind is inspect.Parameter.VAR_POSITIONAL:
            continue  # anything goes
        by_name = {p.name: p.default for p in found}
        assert_agrees(f"{name}.{method}", parameters(function), by_position, by_name)


def test_a_call_by_position_means_what_it_means_in_torch(torch, rng):
    x = rng.standard_normal((2, 3, 8, 8))
    pool = (3, 2, 1, False)
    theirs = torch.nn.AvgPool2d(*pool)(torch.tensor(x)).numpy()
    np.testing.assert_allclose(nn.AvgPool2d(*pool)(x), theirs, rtol=1e-12)
    weight = np.ones(3)
    ours = optim.SGD([nn.Parameter(weight)], 0.1, 0.9, 0.25, 0.5)
    ours.groups[0]["params"][0].grad = np.arange(3.0)
    tensor = torch.ones(3, dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.arange(3.0, dtype=torch.float64)
    other = torch.optim.SGD([tensor], 0.1, 0.9, 0.25, 0.5)
    for optimizer in (ours, other, ours, other):
        optimizer.step()
    np.testing.assert_allclose(weight, tensor.detach().numpy(), rtol=1e-12)
