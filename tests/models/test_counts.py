"""Parameters, multiply-adds and sizes: what a wrong architecture changes.

Parameter counts alone miss a stride in the wrong place; the numbers of multiply-adds
and the sizes after each stage do not.
"""

import numpy as np
import pytest

import npresnet as nr
from tests.models.built import undrawn

# Parameters with 1000 classes, with 10; GMACs at 224x224 of v1.5 and of v1.
IMAGENET = {
    "resnet18": (11_689_512, 11_181_642, 1.814, 1.814),
    "resnet34": (21_797_672, 21_289_802, 3.664, 3.664),
    "resnet50": (25_557_032, 23_528_522, 4.089, 3.858),
    "resnet101": (44_549_160, 42_520_650, 7.801, 7.570),
    "resnet152": (60_192_808, 58_164_298, 11.514, 11.282),
}
# Convolutions, and how many of them are projections.
CONVOLUTIONS = {
    "resnet18": (20, 3),
    "resnet34": (36, 3),
    "resnet50": (53, 4),
    "resnet101": (104, 4),
    "resnet152": (155, 4),
}
# Parameters with shortcuts A, B and C; millions of multiply-adds with A at 32x32.
CIFAR = {
    8: (75_290, 78_042, 78_330, 12.24),
    14: (172_506, 175_258, 181_146, 26.40),
    20: (269_722, 272_474, 283_962, 40.55),
    32: (464_154, 466_906, 489_594, 68.86),
    44: (658_586, 661_338, 695_226, 97.17),
    56: (853_018, 855_770, 900_858, 125.49),
    110: (1_727_962, 1_730_714, 1_826_202, 252.89),
}


def layouts(name):
    """List the options of v1.5 and, where a network has the choice, of v1."""
    if name in ("resnet18", "resnet34"):
        return [{}]
    return [{"stride_in": "3x3"}, {"stride_in": "1x1"}]


def count(model):
    return sum(parameter.data.size for parameter in model.parameters())


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_parameters_and_convolutions(name):
    model = undrawn(name)
    parameters, parameters_for_10, *_ = IMAGENET[name]
    assert count(model) == parameters
    features = model.fc.weight.data.shape[1]
    assert count(model) - 990 * (features + 1) == parameters_for_10
    names = [key for key, p in model.named_parameters() if p.data.ndim == 4]
    projections = sum("downsample" in key for key in names)
    assert (len(names), projections) == CONVOLUTIONS[name]
    # One convolution or linear layer per unit of depth, projections not counted.
    assert len(names) - projections + 1 == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_ten_classes_and_the_papers_layout_change_the_classifier_only(name):
    for options in layouts(name):
        model = undrawn(name, num_classes=10, **options)
        assert count(model) == IMAGENET[name][1]


@pytest.mark.parametrize("depth", CIFAR)
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_cifar_parameter_counts(depth, shortcut):
    model = undrawn(f"resnet{depth}", shortcut=shortcut)
    assert count(model) == CIFAR[depth]["ABC".index(shortcut)]


@pytest.mark.parametrize("depth", CIFAR)
def test_plain_twins_have_the_parameters_of_option_a(depth):
    assert count(undrawn(f"plain{depth}")) == CIFAR[depth][0]


def test_resnet1202_has_19_million_parameters():
    assert count(undrawn("resnet1202", shortcut="A")) == 19_421_274
    assert count(undrawn("resnet1202", shortcut="B")) == 19_424_026


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if "1" in name[-3:-2] else ())
        for name in IMAGENET
    ],
)
def test_imagenet_multiply_adds(name):
    for options, gmacs in zip(layouts(name), IMAGENET[name][2:], strict=False):
        model = undrawn(name, **options)
        cost = nr.lens.cost(model, (3, 224, 224))
        assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.0006)
        assert cost.torchvision.name == name
        assert cost.torchvision.parameters == cost.parameters
        assert cost.torchvision.gmacs == IMAGENET[name][2]


@pytest.mark.parametrize("depth", CIFAR)
def test_cifar_multiply_adds(depth):
    model = undrawn(f"resnet{depth}", shortcut="A")
    macs = nr.lens.cost(model, (3, 32, 32)).macs
    assert macs / 1e6 == pytest.approx(CIFAR[depth][3], abs=0.006)


@pytest.mark.parametrize(
    ("name", "wide"), [("resnet11", 256), ("resnet11_narrow", 128)]
)
def test_resnet11_counts(name, wide):
    # Channels into and out of the 3x3 convolutions, and the pixels that they see.
    convolutions = [(3, 32, 32), (32, 64, 32), *[(64, 64, 16)] * 2]
    convolutions += [(64, wide, 16), *[(wide, wide, 8)] * 2]
    convolutions += [(wide, 256, 8), *[(256, 256, 4)] * 2]
    model = undrawn(name)
    weights = sum(9 * into * out for into, out, _ in convolutions)
    norms = 2 * sum(out for _, out, _ in convolutions)
    assert count(model) == weights + norms + 256 * 10 + 10
    macs = sum(9 * into * out * side**2 for into, out, side in convolutions) + 2560
    assert nr.lens.cost(model, (3, 32, 32)).macs == macs


def stage_shapes(model, x):
    """Run the model child by child; the shape after each of them."""
    shapes = {}
    with nr.no_grad():
        for name, child in model.named_children():
            if name == "fc":
                x = x.reshape(len(x), -1)
            x = child(x)
            shapes[name] = x.shape
    return shapes


@pytest.mark.parametrize("name", IMAGENET)
def test_spatial_size_after_every_imagenet_stage(name):
    model = undrawn(name).eval()
    shapes = stage_shapes(model, np.zeros((1, 3, 64, 32), np.float32))
    widths = (64, 128, 256, 512)
    expansion = 4 if name in ("resnet50", "resnet101", "resnet152") else 1
    assert shapes["conv1"] == (1, 64, 32, 16)
    assert shapes["maxpool"] == (1, 64, 16, 8)
    for stage, width in enumerate(widths):
        assert shapes[f"layer{stage + 1}"] == (
            1,
            expansion * width,
            16 >> stage,
            8 >> stage,
        )
    assert shapes["avgpool"] == (1, 512 * expansion, 1, 1)
    assert shapes["fc"] == (1, 1000)


def test_resnet18_sees_224_pixels_as_the_paper_says():
    model = undrawn("resnet18").eval()
    shapes = stage_shapes(model, np.zeros((1, 3, 224, 224), np.float32))
    sizes = [shapes[f"layer{stage}"][2:] for stage in (1, 2, 3, 4)]
    assert sizes == [(56, 56), (28, 28), (14, 14), (7, 7)]


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "plain20", "resnet56"])
@pytest.mark.parametrize("size", [32, 31, 8])
def test_spatial_size_after_every_cifar_stage(name, size):
    model = nr.models.create(name).eval()
    shapes = stage_shapes(model, np.zeros((2, 3, size, size), np.float32))
    half, quarter = -(-size // 2), -(-size // 4)
    assert shapes["conv1"] == (2, 16, size, size)
    assert shapes["layer1"] == (2, 16, size, size)
    assert shapes["layer2"] == (2, 32, half, half)
    assert shapes["layer3"] == (2, 64, quarter, quarter)
    assert shapes["avgpool"] == (2, 64, 1, 1)
    assert shapes["fc"] == (2, 10)
