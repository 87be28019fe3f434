"""What `npresnet verify` differentiates: every operation, layer and block, and nets.

Shapes are small and awkward on purpose: odd and not square, pixels that a stride
leaves over, a single image, planes of one pixel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import functional, models, nn
from npresnet.models.blocks import projection
from npresnet.nn import Module
from npresnet.testing.gradients import Pair

Array = NDArray[np.floating[Any]]
Kind = Literal["operation", "layer", "block", "network"]
Shape = tuple[int, ...]
F64 = np.float64


class Case(NamedTuple):
    """One thing to check.

    Attributes
    ----------
    kind : {"operation", "layer", "block", "network"}
        Which of the four.
    name : str
        As in the code: ``conv2d``, ``BasicBlock``.
    detail : str
        What is special here; unique within a name.
    build : callable
        Makes the target and the inputs of `check_gradients`, the same each time.
    rtol : float
        Largest relative error allowed.
    """

    kind: Kind
    name: str
    detail: str
    build: Callable[[], tuple[Module | Pair, tuple[Any, ...]]]
    rtol: float

    def __str__(self) -> str:
        return f"{self.name}, {self.detail}"


def normal(label: str, shape: Shape) -> Array:
    """Draw standard normal numbers that depend on the label and nothing else."""
    return np.random.default_rng(zlib.crc32(label.encode())).standard_normal(shape)


def operation(name: str, detail: str, *shapes: Shape, **options: Any) -> Case:
    """Make a case of the pair ``name_forward``, ``name_backward``.

    Parameters
    ----------
    name, detail : str
        See `Case`.
    *shapes : tuple of int
        Of the arrays that need a gradient, in the forward's order.
    **options
        What else the forward takes.
    """

    def build() -> tuple[Pair, tuple[Array, ...]]:
        # Looked up late: whoever replaces a function sees the replacement checked.
        forward = getattr(functional, f"{name}_forward")
        backward = getattr(functional, f"{name}_backward")
        arrays = [normal(f"{name} {detail} {i}", s) for i, s in enumerate(shapes)]
        return (lambda *moved: forward(*moved, **options), backward), tuple(arrays)

    return Case("operation", name, detail, build, 1e-7)


def module(
    kind: Kind,
    name: str,
    detail: str,
    make: Callable[[], Module],
    shape: Shape,
    *others: Any,
    training: bool = True,
) -> Case:
    """Make a case of a module.

    Parameters
    ----------
    kind, name, detail
        See `Case`.
    make : callable
        Makes the module, in float64.
    shape : tuple of int
        Of its input.
    *others
        What else it is called with.
    training : bool
        The mode.
    """

    def build() -> tuple[Module, tuple[Any, ...]]:
        target = make().train(training)
        _shake(target, f"{name} {detail}")
        return target, (normal(f"{name} {detail} x", shape), *others)

    return Case(kind, name, detail, build, 1e-5)


def _shake(target: Module, label: str) -> None:
    """Move batch norm away from weight 1, bias 0, mean 0, variance 1.

    There a forgotten factor or term makes no difference.
    """
    for path, part in target.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            noise = normal(f"{label} {path}", (4, part.num_features))
            if part.weight is not None and part.bias is not None:
                part.weight.data = 1 + 0.3 * noise[0]
                part.bias.data = 0.3 * noise[1]
            if part.running_mean is not None:
                part.running_mean = 0.3 * noise[2]
                part.running_var = 0.5 + noise[3] ** 2


def _both_modes(
    kind: Kind, name: str, detail: str, make: Callable[[], Module], shape: Shape
) -> list[Case]:
    detail += ", " if detail else ""
    return [
        module(kind, name, detail + mode, make, shape, training=mode == "train")
        for mode in ("train", "eval")
    ]


# ---------------------------------------------------------------------- operations


def _conv(
    detail: str, x: Shape, weight: Shape, bias: bool = True, **options: Any
) -> Case:
    shapes = (x, weight, weight[:1]) if bias else (x, weight)
    return operation("conv2d", detail, *shapes, **options)


def _norm(detail: str, x: Shape, **options: Any) -> Case:
    C = x[1]
    mean = normal("running mean", (C,))
    options |= {"running_mean": mean, "running_var": 0.5 + mean**2}
    return operation("batch_norm", detail, x, (C,), (C,), **options)


_linear = partial(operation, "linear")
_relu = partial(operation, "relu")
_max = partial(operation, "max_pool2d")
_avg = partial(operation, "avg_pool2d")
_bins = partial(operation, "adaptive_avg_pool2d")
_zeros = partial(operation, "zero_pad_shortcut")
_loss = partial(operation, "cross_entropy")

_BOTH_WAYS: dict[str, Any] = {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 3)}
_STEM = {"stride": 2, "padding": 3}
_OVERLAP = {"kernel_size": 3, "stride": 2, "padding": 1}
_WEIGHTED: dict[str, Any] = {
    "labels": np.array([1, -100, 3, 0]),
    "weight": np.array([0.5, 2.0, 0.0, 1.5, 1.0]),
}
_SMOOTH_SUM: dict[str, Any] = {"label_smoothing": 0.2, "reduction": "sum"}

OPERATIONS: list[Case] = [
    # x (N, C, H, W), weight (K, C/groups, KH, KW)
    _conv("3x3", (2, 3, 7, 6), (4, 3, 3, 3)),
    _conv("padding, no bias", (2, 3, 5, 8), (4, 3, 3, 3), bias=False, padding=1),
    _conv("stride 2, a row left over", (2, 3, 8, 7), (4, 3, 3, 3), stride=2),
    _conv("stride 3 over 2x2 kernels", (1, 2, 10, 12), (3, 2, 2, 2), stride=3),
    _conv("dilation 2", (2, 2, 9, 8), (3, 2, 3, 3), dilation=2, stride=2, padding=2),
    _conv("not square in anything", (2, 2, 9, 11), (3, 2, 3, 2), **_BOTH_WAYS),
    _conv("2 groups", (2, 4, 6, 5), (6, 2, 3, 3), groups=2, padding=1),
    _conv("depthwise", (2, 4, 7, 6), (8, 1, 3, 3), groups=4, stride=2, padding=1),
    _conv("1x1", (2, 5, 4, 3), (6, 5, 1, 1)),
    _conv("1x1, stride 2", (2, 5, 5, 6), (6, 5, 1, 1), bias=False, stride=2),
    _conv("7x7, the stem", (2, 3, 11, 10), (4, 3, 7, 7), bias=False, **_STEM),
    _conv("kernel as large as the image", (2, 3, 4, 5), (2, 3, 4, 5)),
    _conv("1x1 planes", (3, 4, 1, 1), (5, 4, 3, 3), padding=1),
    _conv("one image, channel and pixel", (1, 1, 3, 3), (1, 1, 3, 3)),
    _conv("20 channels to 17", (2, 20, 9, 10), (17, 20, 3, 3), padding=1),
    # x (N, C, H, W); weight and bias are (C,)
    _norm("training", (3, 3, 4, 5), training=True),
    _norm("training, one image", (1, 2, 5, 3), training=True),
    _norm("training, 1x1 planes", (6, 4, 1, 1), training=True),
    _norm("training, large eps", (2, 3, 3, 4), training=True, eps=0.5),
    _norm("frozen", (3, 3, 4, 5), training=False),
    _norm("frozen, one value per channel", (1, 4, 1, 1), training=False),
    # x (N, C, H, W)
    _max("2x2", (2, 3, 6, 8), kernel_size=2),
    _max("overlapping, padded", (2, 3, 7, 8), **_OVERLAP),
    _max("stride 1", (2, 2, 5, 4), kernel_size=3, stride=1),
    _max("3x2, pixels left over", (1, 3, 8, 7), kernel_size=(3, 2)),
    _max("dilation 2", (2, 2, 7, 8), kernel_size=2, stride=1, dilation=2),
    _max("rounded up", (2, 3, 8, 7), kernel_size=3, stride=2, ceil_mode=True),
    _max("1x1 planes", (3, 4, 1, 1), kernel_size=1),
    _avg("2x2", (2, 3, 6, 8), kernel_size=2),
    _avg("overlapping, padded", (2, 3, 7, 8), **_OVERLAP),
    _avg("padding not counted", (2, 3, 7, 8), count_include_pad=False, **_OVERLAP),
    _avg("3x2, pixels left over", (1, 3, 8, 7), kernel_size=(3, 2)),
    _avg("rounded up", (2, 3, 8, 6), ceil_mode=True, **_OVERLAP),
    _avg("another divisor", (2, 3, 6, 8), kernel_size=2, divisor_override=3),
    _avg("1x1 planes", (3, 4, 1, 1), kernel_size=1),
    _bins("global", (2, 3, 5, 7), output_size=1),
    _bins("equal bins", (2, 3, 6, 8), output_size=(3, 4)),
    _bins("overlapping bins", (2, 3, 7, 6), output_size=(3, 4)),
    _bins("more bins than pixels", (1, 2, 2, 3), output_size=5),
    _bins("1x1 planes", (3, 4, 1, 1), output_size=1),
    # x of any shape
    _relu("images", (2, 3, 5, 4)),
    _relu("a vector", (17,)),
    # x (N, F), weight (K, F), bias (K,)
    _linear("with bias", (5, 7), (4, 7), (4,)),
    _linear("without bias", (3, 17), (9, 17)),
    _linear("one row, one output", (1, 6), (1, 6), (1,)),
    # x (N, C, H, W)
    _zeros("stride 2", (2, 4, 5, 6), out_channels=8, stride=2),
    _zeros("an odd number of zeros", (2, 4, 5, 3), out_channels=7),
    _zeros("1x1 planes", (3, 2, 1, 1), out_channels=4, stride=2),
    # logits (N, classes)
    _loss("mean", (4, 5), labels=np.array([1, 0, 3, 3])),
    _loss("smoothing", (4, 5), labels=np.array([4, 0, 2, 2]), label_smoothing=0.1),
    _loss("weights, an ignored label", (4, 5), **_WEIGHTED),
    _loss("weights, smoothing, sum", (4, 5), **_WEIGHTED, **_SMOOTH_SUM),
    _loss("one row, two classes", (1, 2), labels=np.array([1])),
]

# -------------------------------------------------------------------------- layers


def _relu_twice() -> Module:
    relu = nn.ReLU()
    first, second = (nn.Linear(n, n - 1, dtype=F64, rng=n) for n in (6, 5))
    return nn.Sequential(first, relu, second, relu)


_layer = partial(module, "layer")
_IMAGES = (2, 3, 7, 6)

LAYERS: list[Case] = [
    _layer("Conv2d", "bias", lambda: nn.Conv2d(3, 4, 3, dtype=F64, rng=0), _IMAGES),
    *_both_modes(
        "layer", "BatchNorm2d", "", lambda: nn.BatchNorm2d(3, dtype=F64), _IMAGES
    ),
    *_both_modes(
        "layer",
        "BatchNorm2d",
        "not affine",
        lambda: nn.BatchNorm2d(3, affine=False, dtype=F64),
        _IMAGES,
    ),
    *_both_modes(
        "layer",
        "BatchNorm2d",
        "not tracked",
        lambda: nn.BatchNorm2d(3, track_running_stats=False, dtype=F64),
        _IMAGES,
    ),
    *_both_modes(
        "layer",
        "BatchNorm2d",
        "plain average",
        lambda: nn.BatchNorm2d(3, momentum=None, dtype=F64),
        _IMAGES,
    ),
    _layer("MaxPool2d", "overlapping", lambda: nn.MaxPool2d(3, 2, 1), _IMAGES),
    _layer("AvgPool2d", "overlapping", lambda: nn.AvgPool2d(3, 2, 1), _IMAGES),
    _layer("AdaptiveAvgPool2d", "4x5", lambda: nn.AdaptiveAvgPool2d((4, 5)), _IMAGES),
    _layer("ReLU", "images", nn.ReLU, _IMAGES),
    _layer("Linear", "bias", lambda: nn.Linear(6, 4, dtype=F64, rng=0), (3, 6)),
    _layer("ZeroPadShortcut", "stride 2", lambda: nn.ZeroPadShortcut(3, 6, 2), _IMAGES),
    _layer("Sequential", "the same ReLU twice", _relu_twice, (3, 6)),
    _layer(
        "CrossEntropyLoss", "mean", nn.CrossEntropyLoss, (3, 5), np.array([4, 0, 2])
    ),
    _layer(
        "CrossEntropyLoss",
        "weights, one loss per image",
        lambda: nn.CrossEntropyLoss(np.arange(5.0), reduction="none"),
        (3, 5),
        np.array([4, -100, 2]),
    ),
]

# -------------------------------------------------------------------------- blocks

SHORTCUTS: dict[str, Callable[[int, int], Module | None]] = {
    "identity": lambda C, K: None,
    "projection": lambda C, K: projection(C, K, 2, dtype=F64, rng=1),
    "zero padding": lambda C, K: nn.ZeroPadShortcut(C, K, 2),
}


def _block(
    kind: type[models.BasicBlock] | type[models.Bottleneck],
    shortcut: str,
    in_channels: int,
    channels: int,
    **options: Any,
) -> list[Case]:
    """Make the cases of a block: stride 2 unless the shortcut is the identity."""

    def make() -> Module:
        stride = 1 if shortcut == "identity" else 2
        around = SHORTCUTS[shortcut](in_channels, channels * kind.expansion)
        return kind(in_channels, channels, stride, around, dtype=F64, rng=0, **options)

    where = "".join(f", stride in the {place}" for place in options.values())
    shape = (2, in_channels, 5, 6)
    return _both_modes("block", kind.__name__, shortcut + where, make, shape)


def _plain(stride: int) -> list[Case]:
    def make() -> Module:
        return models.PlainBlock(4, 6, stride, dtype=F64, rng=0)

    return _both_modes("block", "PlainBlock", f"stride {stride}", make, (2, 4, 5, 6))


BLOCKS: list[Case] = [
    *_block(models.BasicBlock, "identity", 4, 4),
    *_block(models.BasicBlock, "projection", 4, 6),
    *_block(models.BasicBlock, "zero padding", 4, 9),
    *_plain(1),
    *_plain(2),
    *_block(models.Bottleneck, "identity", 8, 2),
    *_block(models.Bottleneck, "projection", 4, 3, stride_in="3x3"),  # v1.5
    *_block(models.Bottleneck, "projection", 4, 3, stride_in="1x1"),  # the paper's
    *_block(models.Bottleneck, "zero padding", 4, 2),
]

# ------------------------------------------------------------------------ networks


_SMALL, _LARGE = (2, 3, 9, 10), (2, 3, 33, 34)


def _cifar(shortcut: models.resnet.Shortcut | None) -> list[Case]:
    def make() -> Module:
        return models.cifar_resnet(8, 4, shortcut=shortcut, dtype=F64)

    name, detail = ("resnet8", f"shortcut {shortcut}")
    if shortcut is None:
        name, detail = "plain8", "no shortcuts"
    return _both_modes("network", name, detail, make, _SMALL)


def _pooled() -> list[Case]:
    def make() -> Module:
        return models.pooled_resnet((3, 4, 6, 5), 4, dtype=F64)

    return _both_modes("network", "thin-resnet11", "3 to 6 channels", make, _SMALL)


def _imagenet(
    name: str,
    block: type[models.BasicBlock] | type[models.Bottleneck],
    layers: tuple[int, int, int, int],
    width: int,
) -> list[Case]:
    def make() -> Module:
        widths = width, 2 * width, 4 * width, 8 * width
        stem = models.Stem(width)
        return models.ResNet(
            block, layers, 5, widths=widths, stem=stem, dtype=F64, seed=1
        )

    detail = f"{width} channels for 64, {sum(layers)} blocks"
    return _both_modes("network", name, detail, make, _LARGE)


NETWORKS: list[Case] = [
    *_cifar("A"),
    *_cifar("B"),
    *_cifar("C"),
    *_cifar(None),
    *_pooled(),
    *_imagenet("thin-resnet18", models.BasicBlock, (2, 2, 2, 2), 4),
    *_imagenet("thin-resnet50", models.Bottleneck, (1, 2, 1, 1), 2),
]

CASES: list[Case] = [*OPERATIONS, *LAYERS, *BLOCKS, *NETWORKS]


def select(names: Sequence[str]) -> list[Case]:
    """Return the cases of these names, or all where none is given.

    Raises
    ------
    ValueError
        If no case has one of the names.
    """
    known = list(dict.fromkeys(case.name for case in CASES))
    for name in names:
        if name not in known:
            raise ValueError(f"nothing is called {name!r}; known: {', '.join(known)}")
    return [case for case in CASES if not names or case.name in names]
