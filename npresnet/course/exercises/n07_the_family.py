"""Exercises of notebook 07: the whole family, and what it costs."""

from __future__ import annotations

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def macs(in_channels, out_channels, kernel_size, size, stride, padding):
    places = ((size + 2 * padding - kernel_size) // stride + 1) ** 2
    return in_channels * out_channels * kernel_size**2 * places


def _at_every_pixel_in(in_channels, out_channels, kernel_size, size, stride, padding):
    return in_channels * out_channels * kernel_size**2 * size**2


def _weights_only(in_channels, out_channels, kernel_size, size, stride, padding):
    return in_channels * out_channels * kernel_size**2


def _additions_too(*arguments):
    return 2 * macs(*arguments)


def _one_axis(in_channels, out_channels, kernel_size, size, stride, padding):
    places = (size + 2 * padding - kernel_size) // stride + 1
    return in_channels * out_channels * kernel_size**2 * places


def _kernels_flat(in_channels, out_channels, kernel_size, size, stride, padding):
    places = ((size + 2 * padding - kernel_size) // stride + 1) ** 2
    return out_channels * kernel_size**2 * places


def parameters(depth):
    n = (depth - 2) // 6
    total = 16 * 3 * 9 + 2 * 16
    before = 16
    for channels in (16, 32, 64):
        total += channels * before * 9 + (2 * n - 1) * channels**2 * 9
        total += 2 * n * 2 * channels
        before = channels
    return total + 10 * 64 + 10


def _without_batch_norm(depth):
    n = (depth - 2) // 6
    return parameters(depth) - 2 * 16 - 2 * n * 2 * (16 + 32 + 64)


def _with_buffers(depth):
    n = (depth - 2) // 6
    return parameters(depth) + 2 * 16 + 2 * n * 2 * (16 + 32 + 64)


def _all_alike(depth):
    return parameters(depth) + 9 * (32 * 16 + 64 * 32)


def _one_per_block(depth):
    n = (depth - 2) // 6
    total = 16 * 3 * 9 + 2 * 16
    before = 16
    for channels in (16, 32, 64):
        total += channels * before * 9 + (n - 1) * channels**2 * 9
        total += n * 2 * channels
        before = channels
    return total + 10 * 64 + 10


def _without_classifier(depth):
    return parameters(depth) - 650


def _projections_too(depth):
    return parameters(depth) + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def bottleneck_weights(channels, narrow):
    inner = channels // narrow
    return channels * inner + 9 * inner**2 + inner * channels


def _wide_in_the_middle(channels, narrow):
    return 2 * channels * (channels // narrow) + 9 * channels**2


def _one_reduction(channels, narrow):
    inner = channels // narrow
    return channels * inner + 9 * inner**2


def _all_three_wide(channels, narrow):
    return 27 * (channels // narrow) ** 2


EXERCISES = (
    Exercise(
        "07.1",
        solution=36,
        judge=by_value(),
        hints=(
            "The stem, two in each block, and the projections.",
            "3 + 4 + 6 + 3 blocks. In which stages does the shape change?",
        ),
        because="1 + 2*16 = 33 on the way, and projections in stages 2, 3 and 4.",
        mistakes=(
            Mistake(
                34, "34 are the layers with weights on the way; fc is one of them."
            ),
            Mistake(33, "those are on the way; shortcuts have some, too."),
            Mistake(37, "the first stage keeps 64 channels: its shortcuts are empty."),
            Mistake(35, "three stages change the shape, and each has a projection."),
            Mistake(53, "that is ResNet-50."),
        ),
    ),
    Exercise(
        "07.2",
        solution=macs,
        judge=by_cases(
            [
                (3, 64, 7, 224, 2, 3),
                (64, 64, 3, 56, 1, 1),
                (64, 128, 3, 56, 2, 1),
                (64, 256, 1, 56, 1, 0),
                (16, 32, 1, 7, 2, 0),
                (5, 4, 3, 9, 1, 0),
            ]
        ),
        hints=(
            "Each weight is used once at each place of the output.",
            "The places: floor((size + 2*padding - kernel_size)/stride) + 1, squared.",
        ),
        because="Weights times places, and nothing else.",
        mistakes=(
            Mistake(_at_every_pixel_in, "count places of the output, not pixels in."),
            Mistake(_weights_only, "each weight is used at every place."),
            Mistake(
                _additions_too, "a MAC is a multiplication with its addition: one."
            ),
            Mistake(_one_axis, "places are counted in both directions."),
            Mistake(_kernels_flat, "each kernel has weights for every channel in."),
        ),
    ),
    Exercise(
        "07.3",
        solution=11_181_642,
        judge=by_value(rtol=0),  # one off is off
        hints=(
            "Only the classifier changes. It was 1000 * 512 + 1000.",
            "11,689,512 - 513,000 + ...",
        ),
        because="11,689,512 - 1000*(512 + 1) + 10*(512 + 1).",
        mistakes=(
            Mistake(11_176_512, "ten classes need a classifier, too."),
            Mistake(11_181_632, "the classifier has a bias for each class."),
            Mistake(11_182_632, "the old classifier's bias goes as well, all 1000."),
            Mistake(11_182_642, "the old classifier's bias goes as well."),
            Mistake(11_689_512, "that is for 1000 classes."),
        ),
    ),
    Exercise(
        "07.4",
        solution=parameters,
        judge=by_cases([(20,), (8,), (32,), (56,), (110,)]),
        hints=(
            "Stem, three stages, classifier. A stage has 2n convolutions, and the "
            "first of them has other channels in.",
            "Every convolution is followed by a batch norm: 2 per channel out. The "
            "classifier: 10*64 + 10. ResNet-20 has 269,722.",
        ),
        because="All but stem and classifier grows with n: 97,216 for six layers.",
        mistakes=(
            Mistake(_without_batch_norm, "batch norm has a scale and a shift."),
            Mistake(_with_buffers, "running mean and variance do not learn."),
            Mistake(
                _all_alike,
                "the first convolution of a stage comes from fewer channels.",
            ),
            Mistake(_one_per_block, "a block has two convolutions."),
            Mistake(_without_classifier, "the classifier is missing."),
            Mistake(_projections_too, "shortcut A has no parameters."),
        ),
    ),
    Exercise(
        "07.5",
        solution=bottleneck_weights,
        judge=by_cases([(256, 4), (256, 1), (512, 2), (2048, 4), (64, 8)]),
        hints=(
            "inner = channels // narrow is what the 3x3 sees.",
            "channels * inner, 9 * inner * inner, inner * channels.",
        ),
        because="With narrow = 4 it is 17 inner^2, where two 3x3 took 288 inner^2.",
        mistakes=(
            Mistake(_wide_in_the_middle, "the 3x3 works on the narrow middle."),
            Mistake(_one_reduction, "it has to be widened again at the end."),
            Mistake(_all_three_wide, "only the middle one has windows of 3x3."),
        ),
    ),
    Exercise(
        "07.6",
        solution="layer3.0.downsample.1.running_var",
        judge=by_value(),
        hints=(
            "stage.block.shortcut.place.what; stages count from 1, the rest from 0.",
            "In the shortcut, 0 is the convolution and 1 is batch norm.",
        ),
        because="It is the path through the tree that print(model) shows.",
        mistakes=(
            Mistake(
                "layer3.1.downsample.1.running_var",
                "blocks count from 0, and the second one has no projection.",
            ),
            Mistake("layer2.0.downsample.1.running_var", "stages count from 1."),
            Mistake(
                "layer3.0.downsample.0.running_var",
                "0 is the convolution; it has no running variance.",
            ),
            Mistake(
                "layer3.0.downsample.bn.running_var",
                "inside a Sequential, names are numbers.",
            ),
            Mistake(
                "layer3.0.bn2.running_var", "that is in the branch, not the shortcut."
            ),
            Mistake("layer3.0.downsample.1.running_mean", "that is the mean, running."),
        ),
    ),
)
