"""Whatever is made of nonsense says so at once, in one line that names the argument."""

import inspect
import math
import re

import numpy as np
import pytest

import npresnet as nr
from npresnet import data, models, nn, optim
from npresnet.models import registry
from npresnet.training import Recipe, recipes

NAN, INF = math.nan, math.inf
F32 = np.float32


class Unprintable:
    def __repr__(self):
        raise RuntimeError


class Lines:
    def __repr__(self):
        return "many\nlines\n" * 100


# Nothing that any argument takes.
NONSENSE = [Unprintable(), Lines(), {"a": 1}, 1j, np.zeros((50, 50))]
NO_NUMBER = [*NONSENSE, "1", None, [1], (1,), np.array([1, 1]), True, nn.ReLU()]


def whole(least):
    return [*NO_NUMBER, 1.5, 2.0, NAN, least - 1, -(10**12)]


def number(*bad):
    return [*NO_NUMBER, NAN, INF, -INF, *bad]


def pair(least):
    return [
        *NONSENSE,
        "same",
        1.5,
        True,
        np.array([2, 2]),
        (),
        (3, 3, 3),
        (3, None),
        (3, 2.0),
        [True, 3],
        least - 1,
        (least - 1, 3),
        [3, -7],
    ]


NOT_NONE = [None]
TRUTH = [*NONSENSE, 0, 1, "no", None, np.ones(2, bool)]
DTYPE = [np.float16, "f2", int, np.int64, "float31", None, complex, object, ">f8", 4]
RNG = [*NONSENSE, -1, "0", 1.5, True, [1]]
SEED = RNG
WORD = [*NONSENSE, "nonsense", "", 1, ["3x3"]]
ARRAY = [*NONSENSE[:4], None, [1.0], 1.0, np.ones(3, int), np.ones(3, np.float16)]
MODULE = [*NONSENSE, None, "relu", nn.ReLU, np.maximum, 3]
LR = number(-0.1)
SHARE = number(-0.1, 1.1)


def parameter():
    return nn.Parameter(np.ones(3, F32))


CONV = {
    "in_channels": whole(1),
    "out_channels": whole(1),
    "kernel_size": [*pair(1), *NOT_NONE],
    "stride": [*pair(1), *NOT_NONE],
    "padding": [*pair(0), *NOT_NONE],
    "dilation": [*pair(1), *NOT_NONE],
    "groups": [*whole(1), 3, 5],
    "bias": TRUTH,
    "dtype": DTYPE,
    "rng": RNG,
}
WINDOW = {
    "kernel_size": [*pair(1), *NOT_NONE],
    "stride": pair(1),
    "padding": [*pair(0), *NOT_NONE, 2, (1, 2)],  # more than half of 3
    "ceil_mode": TRUTH,
}
BLOCK = {
    "in_channels": whole(1),
    "channels": whole(1),
    "stride": [*whole(1), (2, 2)],
    "downsample": [*NONSENSE, "identity", nn.ReLU, True],
    "dtype": DTYPE,
    "rng": RNG,
}
NET = {
    "num_classes": whole(1),
    "in_channels": whole(1),
    "dtype": DTYPE,
    "seed": SEED,
}
FOUR = [*NONSENSE, None, 2, (2, 2, 2), (2, 2, 2, 0), (2, 2, 2, 1.0), "2222"]
PARAMS = [
    *[NONSENSE[0], None, 3, "weights", [], [{}], {}, nn.ReLU()],
    *[[1.0], [np.ones(3)], [{"params": 3}], [{"params": [3]}], parameter()],
]
MILESTONES = [*NONSENSE, None, 3, (3, 1), (-1,), (1.5,), "12", (None,), (True,)]
SCHEDULED = {"lr": LR, "total_steps": whole(1)}
IMAGES = np.zeros((2, 3, 4, 4), np.uint8)
MEANS = [Unprintable(), "grey", [NAN, 0, 0], [[0.5], [0.5, 1]], [None] * 3, {"a": 1}]
TRAIN = data.Dataset(
    np.zeros((6, 3, 4, 4), np.uint8),
    np.arange(6) % 2,
    ("a", "b"),
    [0.5] * 3,
    [1.0] * 3,
    "t",
)

# what is made -> (how, arguments with which that works, values that do not)
CONSTRUCTORS = {
    "nn.Conv2d": (nn.Conv2d, {"in_channels": 4, "out_channels": 6}, CONV),
    "nn.Linear": (
        nn.Linear,
        {},
        {
            "in_features": whole(1),
            "out_features": whole(1),
            "bias": TRUTH,
            "dtype": DTYPE,
            "rng": RNG,
        },
    ),
    "nn.BatchNorm2d": (
        nn.BatchNorm2d,
        {},
        {
            "num_features": whole(1),
            "eps": number(0, -1e-5),
            "momentum": [bad for bad in SHARE if bad is not None],
            "affine": TRUTH,
            "track_running_stats": TRUTH,
            "dtype": DTYPE,
        },
    ),
    "nn.MaxPool2d": (nn.MaxPool2d, {}, WINDOW | {"dilation": pair(1)}),
    "nn.AvgPool2d": (
        nn.AvgPool2d,
        {},
        WINDOW
        | {
            "count_include_pad": TRUTH,
            "divisor_override": [bad for bad in whole(1) if bad is not None],
        },
    ),
    "nn.AdaptiveAvgPool2d": (
        nn.AdaptiveAvgPool2d,
        {},
        {"output_size": [*pair(1), *NOT_NONE]},
    ),
    "nn.ReLU": (nn.ReLU, {}, {}),
    "nn.Module": (nn.Module, {}, {}),
    "nn.ZeroPadShortcut": (
        nn.ZeroPadShortcut,
        {},
        {
            "in_channels": whole(1),
            "out_channels": [*whole(3), 2],
            "stride": whole(1),
        },
    ),
    "nn.CrossEntropyLoss": (
        nn.CrossEntropyLoss,
        {},
        {
            "weight": [
                *[bad for bad in ARRAY if bad is not None],
                np.array([1.0, NAN]),
                np.array([1.0, -1.0]),
                np.ones((2, 2)),
                np.ones(0),
            ],
            "ignore_index": [*NO_NUMBER, 1.5],
            "reduction": [*WORD, None],
            "label_smoothing": SHARE,
        },
    ),
    "nn.Sequential": (lambda modules: nn.Sequential(modules), {}, {"modules": MODULE}),
    "nn.Parameter": (nn.Parameter, {}, {"data": ARRAY}),
    "nn.init.fans": (
        nn.init.fans,
        {},
        {"shape": [*NONSENSE, None, 3, (), (3,), (0, 3), (2.0, 3), "ab"]},
    ),
    "nn.init.kaiming_normal": (
        nn.init.kaiming_normal,
        {},
        {
            "shape": [*NONSENSE, None, 3, (), (3,), (0, 3), (2.0, 3), "ab"],
            "rng": [*RNG, None, 0],
            "dtype": DTYPE,
            "mode": [*WORD, None],
        },
    ),
    "nn.init.uniform_fan_in": (
        nn.init.uniform_fan_in,
        {},
        {
            "shape": [*NONSENSE, None, 3, (), (0, 3), (2.0, 3), "ab"],
            "fan_in": whole(1),
            "rng": [*RNG, None, 0],
            "dtype": DTYPE,
        },
    ),
    "nn.init.generator": (nn.init.generator, {}, {"rng": RNG}),
    "models.BasicBlock": (models.BasicBlock, {}, BLOCK),
    "models.PlainBlock": (models.PlainBlock, {}, BLOCK),
    "models.Bottleneck": (
        models.Bottleneck,
        {},
        BLOCK | {"stride_in": [*WORD, None, "2x2"]},
    ),
    "models.PooledConv": (
        models.PooledConv,
        {},
        {name: CONV[name] for name in ("in_channels", "out_channels", "dtype", "rng")},
    ),
    "models.ResNet": (
        models.ResNet,
        {"block": models.BasicBlock, "layers": (1, 1, 1, 1)},
        NET
        | {
            "block": [
                *NONSENSE,
                None,
                nn.Conv2d,
                "BasicBlock",
                models.BasicBlock(2, 2),
            ],
            "layers": FOUR,
            "zero_init_residual": TRUTH,
            "stride_in": [*WORD, None, "1x1"],
            # Three would be as good, for as many stages.
            "widths": [w for w in FOUR if not isinstance(w, tuple) or len(w) == 4],
            "stem": [*NONSENSE, None, 64, (64, 7, 2, True)],
            "shortcut": [*WORD, None, "D", "a"],
            "halving": [*WORD, None],
            "fan": [*WORD, None],
            "draw_classifier": TRUTH,
        },
    ),
    "models.cifar_resnet": (
        models.cifar_resnet,
        {"depth": 8},
        NET | {"depth": [*whole(8), 2, 9, 21], "shortcut": [*WORD, "D", "a"]},
    ),
    "models.pooled_resnet": (
        models.pooled_resnet,
        {"widths": (4, 4, 4, 4)},
        NET | {"widths": FOUR},
    ),
    "models.create": (models.create, {}, {"name": [*NONSENSE, None, 20, "resnet21"]}),
    "models.input_shape": (
        models.input_shape,
        {},
        {"name": [*NONSENSE, None, 20, "resnet21", ["resnet20"]]},
    ),
    "inference": (nr.inference, {}, {"model": MODULE}),
    "optim.Optimizer": (
        optim.Optimizer,
        {"params": [parameter()], "lr": 0.1, "defaults": {}},
        {"params": PARAMS, "lr": LR},
    ),
    "optim.SGD": (
        optim.SGD,
        {"params": [parameter()], "lr": 0.1, "momentum": 0.9},
        {
            "params": PARAMS,
            "lr": LR,
            "momentum": number(-0.1),
            "dampening": number(-0.1),
            "weight_decay": number(-0.1),
            "nesterov": TRUTH,
        },
    ),
    "optim.AdamW": (
        optim.AdamW,
        {"params": [parameter()]},
        {
            "params": PARAMS,
            "lr": LR,
            "betas": [
                *NONSENSE,
                None,
                0.9,
                (0.9,),
                (0.9, 1.0),
                ("0.9", 0.9),
                (0.9, NAN),
            ],
            "eps": number(-1e-8),
            "weight_decay": number(-0.1),
        },
    ),
    "optim.Constant": (optim.Constant, {}, {"lr": LR}),
    "optim.StepDecay": (
        optim.StepDecay,
        {},
        {"lr": LR, "milestones": MILESTONES, "gamma": number(-1)},
    ),
    "optim.Cosine": (
        optim.Cosine,
        {"total_steps": 9},
        SCHEDULED | {"warmup_steps": [*whole(0), 9], "final_lr": LR},
    ),
    "optim.OneCycle": (
        optim.OneCycle,
        {},
        {
            "lr": LR,
            "total_steps": [*whole(2), 1],
            "peak_at": [*number(0, 1), None],
            "start_lr": [bad for bad in LR if bad is not None],
            "final_lr": LR,
        },
    ),
    "optim.parameter_groups": (
        optim.parameter_groups,
        {"model": nn.Linear(2, 2)},
        {
            "model": [*NONSENSE, None, [parameter()]],
            "weight_decay": number(-0.1),
            "spare_norm_and_bias": TRUTH,
        },
    ),
    "data.RandomCropFlip": (
        data.RandomCropFlip,
        {},
        {
            "padding": whole(0),
            "flip": TRUTH,
            "fill": [*NONSENSE, 3, "grey", (0, 256), (0, -1), (0.5,), (None,), ()],
            "cutout": whole(0),
        },
    ),
    "data.mean_fill": (
        data.mean_fill,
        {},
        {"mean": [*MEANS, None, 0.5, [], np.zeros((2, 2))]},
    ),
    "data.normalize": (
        data.normalize,
        {},
        {
            "images": [*NONSENSE, None, [[0]], IMAGES.astype(F32), IMAGES[0]],
            "mean": [*MEANS, None, [0.5], 0.5],
            "std": [*MEANS, None, [1.0], [1, 1, 0], [1, 1, -1]],
            "dtype": DTYPE,
        },
    ),
    "data.batches": (
        data.batches,
        {"dataset": TRAIN, "batch_size": 2, "shuffle": True, "seed": 0, "epoch": 0},
        {
            "dataset": [*NONSENSE, None, IMAGES, (IMAGES, [0, 1])],
            "batch_size": whole(1),
            "shuffle": TRUTH,
            "join_single": TRUTH,
            "seed": whole(0),
            "epoch": whole(0),
            "augment": [Unprintable(), "flip", 3, {"a": 1}],
            "dtype": DTYPE,
            "mean": [*MEANS, [0.5]],
            "std": [*MEANS, [1.0], [1, 1, 0]],
            "drop_last": TRUTH,
            "start": whole(0),
        },
    ),
    "data.split": (
        data.split,
        {"dataset": TRAIN, "count": 2, "seed": 0},
        {
            "dataset": [*NONSENSE, None, IMAGES],
            "count": [*whole(1), 6, 7],
            "seed": whole(0),
        },
    ),
}
GOOD = {
    "in_channels": 4,
    "out_channels": 6,
    "channels": 4,
    "in_features": 3,
    "out_features": 2,
    "num_features": 3,
    "kernel_size": 3,
    "output_size": 2,
    "modules": nn.ReLU(),
    "data": np.ones(3),
    "shape": (4, 3),
    "fan_in": 3,
    "rng": np.random.default_rng(0),
    "dtype": np.float32,
    "name": "resnet8",
    "model": models.resnet8(),
    "lr": 0.1,
    "milestones": (1, 3),
    "total_steps": 9,
    "weight_decay": 1e-4,
    "mean": [0.5, 0.5, 0.5],
    "std": [1, 1, 1],
    "images": IMAGES,
}


def good_arguments(name):
    """Fill in what must be given."""
    make, given, _ = CONSTRUCTORS[name]
    needed = [
        argument.name
        for argument in inspect.signature(make).parameters.values()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
    ]
    return {key: GOOD[key] for key in needed if key not in given} | given


def assert_refused(make, arguments, name):
    with pytest.raises((TypeError, ValueError)) as caught:
        make(**arguments)
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message), message
    assert "\n" not in message
    assert len(message) < 350, message


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_what_makes_sense_is_accepted(name):
    CONSTRUCTORS[name][0](**good_arguments(name))


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, (*_, bad) in CONSTRUCTORS.items() for argument in bad],
)
def test_nonsense_is_refused_by_name(name, argument):
    make, _, bad = CONSTRUCTORS[name]
    arguments = good_arguments(name)
    for value in bad[argument]:
        assert_refused(make, arguments | {argument: value}, argument)


def public(room, module):
    """List what a room offers that is made or built with arguments."""
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing) and not (
            isinstance(thing, type) and issubclass(thing, tuple)
        ):
            yield f"{room}.{name}", thing


NOT_MADE = {
    # Switches, a base that nobody makes alone, lists and files.
    *("nn.no_grad", "nn.replaying", "nn.watching"),
    *("models.ResidualBlock", "models.names", "models.Stem"),
    *("data.Dataset", "data.cifar10", "data.digits", "data.download_cifar10"),
    *("data.load", "data.names", "nn.Gradient", "optim.Schedule"),
}


@pytest.mark.parametrize(
    ("room", "module"),
    [("nn", nn), ("models", models), ("optim", optim), ("data", data)],
)
def test_every_public_constructor_is_tried_with_every_argument(room, module):
    for name, thing in public(room, module):
        builder = name.removeprefix("models.")
        if name in NOT_MADE or builder in models.names():
            continue
        tried = CONSTRUCTORS[name][2]
        for argument in inspect.signature(thing).parameters.values():
            if argument.kind is not argument.VAR_KEYWORD:
                given = argument.name in tried or argument.name == "defaults"
                assert given, f"{name}: {argument.name}"


@pytest.mark.parametrize("name", models.names())
def test_every_builder_refuses_nonsense_by_name(name):
    options = dict(NET)
    if name in registry.IMAGENET:
        options |= {"zero_init_residual": TRUTH, "stride_in": [*WORD, None]}
    elif name.startswith("resnet") and name in registry.CIFAR:
        options |= {"shortcut": [*WORD, "D"]}
    for build in (getattr(models, name), lambda **o: models.create(name, **o)):
        for argument, bad in options.items():
            for value in (bad[1], bad[4], bad[-1]):
                assert_refused(build, {argument: value}, argument)
        # PyTorch's old `pretrained` came first.
        with pytest.raises(TypeError, match="num_classes"):
            getattr(models, name)(True)


RECIPE = {
    "epochs": whole(1),
    "batch_size": whole(1),
    "last_batch": [*WORD, None],
    "lr": number(0, -1),
    "momentum": number(-0.1, 1),
    "nesterov": TRUTH,
    "weight_decay": number(-1),
    "spare_norm_and_bias": TRUTH,
    "max_steps": [bad for bad in whole(1) if bad is not None],
    "schedule": [*WORD, None],
    "peak_at": number(0, 1),
    "start_lr": [bad for bad in number(-1) if bad is not None],
    "final_lr": number(-1),
    "warmup_epochs": number(-1),
    "milestones": [*NONSENSE, None, 3, (3, 1), (0,), "12", (None,), (True,)],
    "milestone_steps": [*MILESTONES, (0,)],
    "gamma": number(0, -1),
    "normalization": [*WORD, None],
    "crop_padding": whole(0),
    "crop_fill": [*WORD, None],
    "flip": TRUTH,
    "cutout": whole(0),
    "label_smoothing": number(-0.1, 1),
    "ema_decay": number(-0.1, 1),
    "average_epochs": whole(0),
    "validation": whole(0),
    "test_flip": TRUTH,
    "name": [*NONSENSE, None, "", 3],
    "description": [*NONSENSE, None, 3],
    "source": [*NONSENSE, None, 3],
    "dataset": [*NONSENSE, None, "", 3],
    "model": [*NONSENSE, None, "", 3, models.resnet8],
    "shortcut": [*WORD, "D"],
    "sources": [Unprintable(), None, "paper", {"lr": 3}, {3: "paper"}],
}


@pytest.mark.parametrize("argument", inspect.signature(Recipe).parameters)
def test_a_recipe_refuses_nonsense_by_name(argument):
    good = recipes.get("digits-quick")
    given = good.settings() | {
        name: getattr(good, name) for name in ("name", "description", "source")
    }
    for value in RECIPE[argument]:
        assert_refused(Recipe, given | {argument: value}, argument)


IMAGES_OF_A_NET = {
    "empty": (np.zeros((0, 3, 8, 8), F32), "x must not be empty"),
    "a list": ([[0.0]], "x must be a NumPy array, got list"),
    "one image": (np.zeros((3, 8, 8), F32), "x must have shape (N, C, H, W)"),
    "bytes": (np.zeros((2, 3, 8, 8), np.uint8), "x must be float32 or float64"),
    "float64": (np.zeros((2, 3, 8, 8)), "x and weight must share a dtype"),
    "5 channels": (np.zeros((2, 5, 8, 8), F32), "x must have 3 channels"),
}


@pytest.mark.parametrize("name", IMAGES_OF_A_NET)
@pytest.mark.parametrize("folded", [False, True])
def test_a_model_says_what_is_wrong_with_its_images(folded, name):
    model = models.resnet8().eval()
    x, words = IMAGES_OF_A_NET[name]
    if folded:
        model = nr.inference(model)
    with pytest.raises((TypeError, ValueError)) as caught:
        model(x)
    message = str(caught.value)
    assert message.startswith(f"conv1 ({type(model.conv1).__name__}): {words}")
    assert "\n" not in message
