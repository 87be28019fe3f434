"""Exercises of notebook 09: what skips fix."""

from __future__ import annotations

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def slope_of_block(f, x):
    return 1.0 + f if f * x + x > 0 else 0.0


def _at_least_one(f, x):
    return max(1.0, 1.0 + f) if f * x + x > 0 else 0.0


def _unmasked(f, x):
    return 1.0 + f


def _averaged(f, x):
    return slope_of_block(f, x) / 2


def _shortcut_unmasked(f, x):
    return 1.0 + (f if f * x + x > 0 else 0.0)


def _masked_by_the_input(f, x):
    return 1.0 + f if x > 0 else 0.0


def _no_shortcut(f, x):
    return slope_of_block(f, x) - (1.0 if f * x + x > 0 else 0.0)


def open_share(p, blocks):
    return p**blocks


def _once(p, blocks):
    return p


def _closed_everywhere(p, blocks):
    return (1 - p) ** blocks


def _closed_somewhere(p, blocks):
    return 1 - p**blocks


def _two_relus(p, blocks):
    return p ** (2 * blocks)


def share_of_branch(block):
    return 1 / (block + 1)


def _without_the_start(block):
    return 1 / block


def _of_the_input(block):
    return 1 / 2


def _deviation(block):
    return (1 / (block + 1)) ** 0.5


def _what_was_there(block):
    return block / (block + 1)


EXERCISES = (
    Exercise(
        "09.1",
        solution="larger",
        judge=by_value(),
        hints=(
            "The first table of this notebook has it.",
            "Batch norm divides by a deviation below 1, at every layer.",
        ),
        because="It grows some thousand times on the digits: batch norm's gradient is "
        "divided by a deviation of about 0.83 in each layer.",
        mistakes=(
            Mistake("smaller", "that is so without batch norm. Look at claim 1 again."),
            Mistake(
                "equal",
                "He's weights would keep it, but batch norm divides the gradient by a "
                "deviation below 1 at every layer.",
            ),
        ),
    ),
    Exercise(
        "09.2",
        solution=slope_of_block,
        judge=by_cases(
            [(0.5, 2.0), (-0.5, 2.0), (-1.5, 2.0), (-1.5, -2.0), (0.5, -2.0), (-1.0, 1)]
        ),
        hints=(
            "When is the ReLU open? Look at its argument, not at x.",
            "Where f*x + x > 0 the slope is 1 + f, elsewhere 0.",
        ),
        because="The ReLU masks both ways; where it is open, 1 and f add up.",
        mistakes=(
            Mistake(_at_least_one, "with a negative f the branch takes from the 1."),
            Mistake(_unmasked, "the ReLU after the addition is missing."),
            Mistake(_averaged, "at a fork gradients add; nobody divides by 2."),
            Mistake(
                _shortcut_unmasked,
                "the ReLU comes after the addition: it masks the shortcut, too.",
            ),
            Mistake(
                _masked_by_the_input,
                "the ReLU sees f*x + x, which may have another sign than x.",
            ),
            Mistake(_no_shortcut, "this is the branch alone."),
        ),
    ),
    Exercise(
        "09.3",
        solution=open_share,
        judge=by_cases([(0.65, 9), (0.5, 3), (0.9, 54)]),
        hints=(
            "How much passes two of them?",
            "p of what passed the first passes the second: p*p.",
        ),
        because="An element passes if all ReLUs are open: p times p times p ... In a "
        "network they are not independent, and more passes: the cell of claim 2.",
        mistakes=(
            Mistake(_once, "every block has a ReLU of its own."),
            Mistake(
                _closed_everywhere, "this is what is closed in every block; p is open."
            ),
            Mistake(_closed_somewhere, "this is the share that is stopped somewhere."),
            Mistake(
                _two_relus,
                "the ReLU inside the branch is not on the shortcut's way.",
            ),
        ),
    ),
    Exercise(
        "09.4",
        solution=("bn3.bias", "bn3.weight"),
        judge=by_value(),
        hints=(
            "Which batch norm is the last one of a bottleneck?",
            "Its own two parameters do not need its weight on the way back; everything "
            "before it does.",
        ),
        because="Gradients of weight and bias do not contain the weight; the gradient "
        "by the input does, and is 0.",
        mistakes=(
            Mistake(("bn3.weight",), "its bias gets one, too: the sum of g_s."),
            Mistake(
                ("bn2.bias", "bn2.weight"),
                "this is the basic block; a bottleneck has three convolutions.",
            ),
            Mistake(
                ("bn3.bias",),
                "the weight is 0, but its gradient, the sum of g_s * x_hat, is not.",
            ),
            Mistake(
                ("bn3.bias", "bn3.weight", "conv3.weight"),
                "the gradient with respect to the input of that batch norm is "
                "multiplied by its weight, 0, before it comes to conv3.",
            ),
        ),
    ),
    Exercise(
        "09.5",
        solution=share_of_branch,
        judge=by_cases([(1,), (2,), (9,), (54,)]),
        hints=(
            "What is the variance behind one block? Behind two?",
            "Behind block l it is l + 1, of which this block's branch gave 1.",
        ),
        because="1/2, 1/3, 1/4, ...: the deeper the block, the less its branch counts. "
        "Without batch norm a branch grows with its input, and the share stays.",
        mistakes=(
            Mistake(
                _without_the_start, "the stream began with a variance of 1: count it."
            ),
            Mistake(
                _of_the_input,
                "that holds for the first block; what the branch is added to grows.",
            ),
            Mistake(_deviation, "this is the ratio of deviations, not of variances."),
            Mistake(_what_was_there, "this is the share of what was there before."),
        ),
    ),
)
