"""Exercises of notebook 05: the residual block."""

# Functions as a reader writes them: conv2d_backward may return None, here it does not.
# mypy: check-untyped-defs=False

from __future__ import annotations

import numpy as np

from npresnet import functional as F
from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def line_backward(g, x, w):
    grad_sum = g * (x @ w + x > 0)
    return grad_sum @ w.T + grad_sum


def _unmasked(g, x, w):
    return g @ w.T + g


def _branch_masked_only(g, x, w):
    return (g * (x @ w + x > 0)) @ w.T + g


def _masked_by_x(g, x, w):
    grad_sum = g * (x > 0)
    return grad_sum @ w.T + grad_sum


def _masked_by_branch(g, x, w):
    grad_sum = g * (x @ w > 0)
    return grad_sum @ w.T + grad_sum


def _branch_only(g, x, w):
    return (g * (x @ w + x > 0)) @ w.T


def _shortcut_only(g, x, w):
    return g * (x @ w + x > 0)


def _averaged(g, x, w):
    return line_backward(g, x, w) / 2


def _not_transposed(g, x, w):
    grad_sum = g * (x @ w + x > 0)
    return grad_sum @ w + grad_sum


def block_backward(g, caches):
    from npresnet import functional as F

    grad_sum = F.relu_backward(g, caches["relu2"])
    grad, _, _ = F.batch_norm_backward(grad_sum, caches["bn2"])
    grad, grad_w2, _ = F.conv2d_backward(grad, caches["conv2"])
    grad = F.relu_backward(grad, caches["relu1"])
    grad, _, _ = F.batch_norm_backward(grad, caches["bn1"])
    grad_branch, grad_w1, _ = F.conv2d_backward(grad, caches["conv1"])
    return grad_branch + grad_sum, grad_w1, grad_w2


def _block_without_shortcut(g, caches):
    together, grad_w1, grad_w2 = block_backward(g, caches)
    return together - F.relu_backward(g, caches["relu2"]), grad_w1, grad_w2


def _block_shortcut_unmasked(g, caches):
    grad_branch, grad_w1, grad_w2 = _block_without_shortcut(g, caches)
    return grad_branch + g, grad_w1, grad_w2


def _block_last_relu_forgotten(g, caches):
    relu2 = caches["relu2"]
    open_everywhere = relu2._replace(mask=np.full_like(relu2.mask, 255))
    return block_backward(g, {**caches, "relu2": open_everywhere})


def _block_first_relu_forgotten(g, caches):
    relu1 = caches["relu1"]
    open_everywhere = relu1._replace(mask=np.full_like(relu1.mask, 255))
    return block_backward(g, {**caches, "relu1": open_everywhere})


def _block_relus_swapped(g, caches):
    swapped = {"relu1": caches["relu2"], "relu2": caches["relu1"]}
    return block_backward(g, {**caches, **swapped})


def _block_averaged(g, caches):
    together, grad_w1, grad_w2 = block_backward(g, caches)
    return together / 2, grad_w1, grad_w2


def _block_weights_exchanged(g, caches):
    together, grad_w1, grad_w2 = block_backward(g, caches)
    return together, grad_w2, grad_w1


def _random_lines():
    rng = np.random.default_rng(5)
    return [
        (
            rng.standard_normal((N, C)),
            rng.standard_normal((N, C)),
            rng.standard_normal((C, C)),
        )
        for N, C in [(2, 3), (4, 2), (1, 5)]
    ]


def _random_blocks():
    rng = np.random.default_rng(6)
    return [_forward(rng, N, C, size) for N, C, size in [(2, 3, 5), (3, 2, 4)]]


def _forward(rng, N, C, size):
    """Run a basic block forward on random numbers; return g and the caches."""
    x, g = rng.standard_normal((2, N, C, size, size))
    caches, out = {}, x
    for i in "12":
        weight = rng.standard_normal((C, C, 3, 3))
        gamma, beta, mean, var = rng.uniform(0.5, 1.5, (4, C))
        out, caches[f"conv{i}"] = F.conv2d_forward(out, weight, padding=1)
        out, caches[f"bn{i}"], _, _ = F.batch_norm_forward(
            out, gamma, beta, mean, var, training=True
        )
        added = out if i == "1" else out + x
        out, caches[f"relu{i}"] = F.relu_forward(added)
    return g, caches


EXERCISES = (
    Exercise(
        "05.1",
        solution=5.0,
        judge=by_value(),
        hints=(
            "Is the ReLU open? Compute the sum first.",
            "The sum is -0.5*2 + 2 = 1. Its slope by x is that of the branch plus 1.",
        ),
        because="The sum is 1, so the ReLU is open: 10 * (-0.5 + 1) = 5.",
        mistakes=(
            Mistake(-5.0, "that is the branch's share; the shortcut has one as well."),
            Mistake(10.0, "that is the shortcut's share; x is used a second time."),
            Mistake(0.0, "the ReLU sees the sum, and the sum is positive."),
            Mistake(2.5, "the two gradients add up; nothing is averaged."),
            Mistake(15.0, "the branch falls with x: its slope is negative."),
            Mistake(0.5, "that is the slope; g = 10 comes from above."),
        ),
    ),
    Exercise(
        "05.2",
        solution=line_backward,
        judge=by_cases(_random_lines),
        hints=(
            "Backward in three moves: the ReLU, the addition, the fork.",
            "The mask is where x @ w + x is positive. What does the branch make of the "
            "gradient with respect to x @ w? It is a linear layer: grad @ w.T.",
        ),
        because="One mask for both ways, the branch's transpose, and a sum.",
        mistakes=(
            Mistake(_unmasked, "the ReLU behind the addition has a backward pass."),
            Mistake(
                _branch_masked_only,
                "the shortcut is added before the ReLU: its gradient is masked, too.",
            ),
            Mistake(_masked_by_x, "the ReLU saw the sum, not x."),
            Mistake(_masked_by_branch, "the ReLU saw the sum, not the branch alone."),
            Mistake(_branch_only, "x is used twice; the shortcut is missing."),
            Mistake(_shortcut_only, "x is used twice; the branch is missing."),
            Mistake(_averaged, "a fork's gradients add up; nothing is averaged."),
            Mistake(_not_transposed, "backward, a matrix is transposed."),
        ),
    ),
    Exercise(
        "05.3",
        solution=block_backward,
        judge=by_cases(_random_blocks),
        hints=(
            "Walk the forward pass from its end: relu2, the addition, then bn2, conv2, "
            "relu1, bn1, conv1, and at last the fork.",
            "Keep the gradient behind relu2 under a name of its own: the branch begins "
            "with it, and the shortcut ends with it.",
            "F.conv2d_backward returns (grad_x, grad_weight, grad_bias), "
            "F.batch_norm_backward (grad_x, grad_weight, grad_bias).",
        ),
        because="Seven operations backward, one array that is used twice, one sum: "
        "that is all of it.",
        mistakes=(
            Mistake(
                _block_without_shortcut,
                "the weights are right, grad_x lacks a part: x is used twice.",
            ),
            Mistake(
                _block_shortcut_unmasked,
                "the shortcut carries what relu2 let through, not g itself.",
            ),
            Mistake(_block_last_relu_forgotten, "relu2 is not there: begin with it."),
            Mistake(
                _block_first_relu_forgotten, "there is a relu1 between bn1 and conv2."
            ),
            Mistake(
                _block_relus_swapped,
                "the masks are exchanged: relu2 is the one behind the addition.",
            ),
            Mistake(_block_averaged, "grad_x is half of what it should be."),
            Mistake(
                _block_weights_exchanged,
                "the two weights' gradients stand in each other's place.",
            ),
        ),
    ),
    Exercise(
        "05.4",
        solution=2,
        judge=by_value(),
        hints=(
            "The parameters: conv1.weight, bn1.weight, bn1.bias, conv2.weight, "
            "bn2.weight, bn2.bias. Which of them come behind the zero?",
            "Behind bn2 the gradient is multiplied with its weight, 0. Its own weight "
            "and bias get theirs before that.",
        ),
        because="bn2.weight and bn2.bias. One step later bn2.weight is no longer 0, "
        "and the others wake up.",
        mistakes=(
            Mistake(0, "bn2's own gradients do not pass through its weight."),
            Mistake(1, "bn2 has two parameters."),
            Mistake(6, "what has passed a factor of 0 is 0."),
            Mistake(4, "these are the four that get none."),
        ),
    ),
    Exercise(
        "05.5",
        solution=5.0625,
        judge=by_value(),
        hints=(
            "One block multiplies by the branch's slope plus the shortcut's.",
            "Four times 1.5.",
        ),
        because="1.5**4, which is also the sum over 16 paths: 1 + 4*0.5 + 6*0.25 + "
        "4*0.125 + 0.0625.",
        mistakes=(
            Mistake(0.0625, "that is the plain net, 0.5**4: one path of 16."),
            Mistake(1.0, "that is the path that takes every shortcut: one of 16."),
            Mistake(3.0, "paths that cross more than one branch count, too."),
            Mistake(6.0, "one block after the other: factors, not summands."),
            Mistake(16.0, "16 paths, but most of them carry less than 1."),
        ),
    ),
)
