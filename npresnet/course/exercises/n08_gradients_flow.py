"""Exercises of notebook 08: how gradients flow."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def norm_behind_fork(branch, shortcut, cosine):
    return np.sqrt(branch**2 + shortcut**2 + 2 * cosine * branch * shortcut)


def _norms_added(branch, shortcut, cosine):
    return branch + shortcut


def _always_right_angles(branch, shortcut, cosine):
    return np.sqrt(branch**2 + shortcut**2)


def _squared(branch, shortcut, cosine):
    return norm_behind_fork(branch, shortcut, cosine) ** 2


def _third_side(branch, shortcut, cosine):
    return norm_behind_fork(branch, shortcut, -cosine)


def _once(branch, shortcut, cosine):
    return np.sqrt(branch**2 + shortcut**2 + cosine * branch * shortcut)


def block_backward(g, y, J):
    grad_sum = g * (y > 0)
    return J.T @ grad_sum + grad_sum


def _shortcut_unmasked(g, y, J):
    return J.T @ (g * (y > 0)) + g


def _branch_unmasked(g, y, J):
    return J.T @ g + g * (y > 0)


def _nothing_masked(g, y, J):
    return J.T @ g + g


def _averaged(g, y, J):
    return block_backward(g, y, J) / 2


def _plain(g, y, J):
    return J.T @ (g * (y > 0))


def _not_transposed(g, y, J):
    grad_sum = g * (y > 0)
    return J @ grad_sum + grad_sum


def _masked_at_the_end(g, y, J):
    return (J.T @ g + g) * (y > 0)


def parts(branches, shortcuts):
    result = np.ones(1)
    for branch, shortcut in zip(branches, shortcuts, strict=True):
        new = np.zeros(len(result) + 1)
        new[:-1] += shortcut * result  # crossed no further branch
        new[1:] += branch * result
        result = new
    return result


def _shortcuts_of_one(branches, shortcuts):
    return parts(branches, np.ones(len(branches)))


def _longest_first(branches, shortcuts):
    return parts(branches, shortcuts)[::-1]


def _counted(branches, shortcuts):
    return parts(np.ones(len(branches)), np.ones(len(branches)))


def _first_k_blocks(branches, shortcuts):
    n = len(branches)
    return np.array(
        [np.prod(branches[:k]) * np.prod(shortcuts[k:]) for k in range(n + 1)]
    )


def _random_vectors():
    rng = np.random.default_rng(0)
    return [tuple(rng.standard_normal(s) for s in (n, n, (n, n))) for n in (3, 5)]


def _random_factors():
    rng = np.random.default_rng(1)
    return [tuple(rng.uniform(0.2, 1.5, (2, n))) for n in (1, 2, 4)]


EXERCISES = (
    Exercise(
        "08.1",
        solution=36,
        judge=by_value(),
        hints=(
            "ResNet-20 has nine blocks. Which two of them does the path cross?",
            "The binomial coefficient, 9 over 2; math.comb knows it.",
        ),
        because="9 over 2 = 9*8/2: two of nine blocks, in whatever order one names "
        "them.",
        mistakes=(
            Mistake(72, "this counts each pair of blocks twice."),
            Mistake(512, "these are the paths of any length."),
            Mistake(81, "a path cannot cross the same branch twice."),
            Mistake(
                190,
                "that is 20 over 2. A path chooses at blocks, not at layers: how many "
                "blocks has ResNet-20?",
            ),
            Mistake(45, "these are the passes that the spectrum needs, 9*10/2."),
        ),
    ),
    Exercise(
        "08.2",
        solution=norm_behind_fork,
        judge=by_cases([(3.0, 4.0, 0.0), (1.0, 1.0, -0.5), (2.0, 5.0, 0.3)]),
        hints=(
            "The square of the norm of a sum: the scalar product of the sum with "
            "itself.",
            "|a + b|^2 = |a|^2 + |b|^2 + 2 a.b, and a.b = cosine*|a|*|b|.",
        ),
        because="The law of cosines, for a sum instead of a difference.",
        mistakes=(
            Mistake(
                _norms_added,
                "norms add up only where both gradients point the same way.",
            ),
            Mistake(
                _always_right_angles,
                "this is right at right angles; the cosine has to come in.",
            ),
            Mistake(_squared, "this is the square of the norm."),
            Mistake(_third_side, "the sign: with a positive cosine the sum is longer."),
            Mistake(_once, "the mixed term comes twice: a.b and b.a."),
        ),
    ),
    Exercise(
        "08.3",
        solution=block_backward,
        judge=by_cases(_random_vectors),
        hints=(
            "Backwards: first the ReLU, then the copy, then the fork.",
            "g_s = g * (y > 0). Through the branch comes J.T @ g_s, along the shortcut "
            "g_s itself; they add.",
        ),
        because="The ReLU masks what goes both ways; the fork adds.",
        mistakes=(
            Mistake(
                _shortcut_unmasked,
                "the ReLU comes after the addition, so it masks the shortcut, too.",
            ),
            Mistake(_branch_unmasked, "the ReLU masks what enters the branch, too."),
            Mistake(_nothing_masked, "the ReLU after the addition is missing."),
            Mistake(_averaged, "at a fork gradients add; nobody divides by 2."),
            Mistake(_plain, "this is the plain block: where is the shortcut?"),
            Mistake(_not_transposed, "backward goes the Jacobian's transpose."),
            Mistake(
                _masked_at_the_end,
                "the mask comes first on the way back, before the branch.",
            ),
        ),
    ),
    Exercise(
        "08.4",
        solution=parts,
        judge=by_cases(_random_factors),
        hints=(
            "Begin with the array [1.0]: no block, one path, no branch crossed.",
            "At each block a part splits: times the shortcut's factor it stays at its "
            "index k, times the branch's factor it moves on to k + 1.",
        ),
        because="The product of (shortcut + branch t) over the blocks, sorted by "
        "powers of t.",
        mistakes=(
            Mistake(
                _shortcuts_of_one,
                "right for shortcuts of factor 1; here they have factors, too.",
            ),
            Mistake(
                _longest_first, "index k is the number of branches crossed: turn it."
            ),
            Mistake(_counted, "these are the numbers of paths; each has a factor."),
            Mistake(
                _first_k_blocks,
                "this is one path for each length; any k of the blocks will do.",
            ),
        ),
    ),
    Exercise(
        "08.5",
        solution=6600 ** (1 / 54),
        judge=by_value(rtol=1e-3),
        hints=(
            "Factors multiply. If each layer has the factor f, what have 54 of them?",
            "f**54 = 6600, so f is the 54th root.",
        ),
        because="6600**(1/54) = 1.177: eighteen percent a layer is enough.",
        mistakes=(
            Mistake(6600 / 54, "factors multiply, they do not add up."),
            Mistake(
                6600 ** (1 / 27), "that is the factor of a block, which has two layers."
            ),
            Mistake(
                6600 ** (1 / 56),
                "the first convolution and the classifier are outside the blocks.",
            ),
        ),
    ),
)
