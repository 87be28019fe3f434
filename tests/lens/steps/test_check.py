"""Checks of single steps: they pass where all is right, and find where it is not."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens import bugs
from tests.lens.steps.test_measure import NETWORKS, make, walk
from tests.oracle.compare import normal


@pytest.mark.parametrize("name", NETWORKS)
def test_every_step_of_every_kind_of_network_is_right(rng, name):
    for training in (True, False):
        steps = walk(name, rng, training)[3]
        if name in ("basic", "bottleneck"):  # their later stages are wide, and alike
            stem = [step for step in steps if not step.block]
            steps = steps["layer1"], *(steps[step.number - 1 :][:1] for step in stem)
        else:
            steps = (steps,)
        for part in steps:
            checks = part.check()
            assert checks.passed, checks.summary()
            assert len(checks.checks) == len(part)
            assert max(check.max_error for check in checks.checks) < 1e-6


def test_float32_is_judged_by_its_own_digits(rng):
    x = normal(rng, 4, 3, 8, 8).astype(np.float32)
    model = make("resnet8", np.float32, shortcut="B")
    checks = nr.lens.steps(model, x, np.array([0, 1, 2, 3])).check()
    assert checks.passed, checks.summary()
    errors = [check.max_error for check in checks.checks]
    assert 1e-9 < max(errors) < 1e-4
    assert {check.tolerance for check in checks.checks} == {1e-3}


def test_max_pooling_over_ties_and_relu_at_zero_are_right(rng):
    block = nr.models.BasicBlock
    model = nr.models.ResNet(block, (1, 1, 1, 1), 6, dtype=np.float64, seed=0)
    x = np.zeros((2, 3, 33, 40))
    x[:, :, :9, :9] = normal(rng, 2, 3, 9, 9)
    model.bn1.bias.data -= 1  # large windows in which all is equal, namely zero
    steps = nr.lens.steps(model.eval(), x, np.array([1, 2]))
    pooled = steps.find("maxpool")
    assert (pooled.outputs[0] == 0).mean() > 0.2
    assert pooled.check()
    model.bn1.bias.data += 1
    zeros = nr.lens.steps(model, x, np.array([1, 2])).find("relu")
    assert (zeros.inputs[0] == 0).any()
    check = zeros.check()
    assert check
    assert "at zero" in [row.name for row in check.rows]


def test_a_check_says_in_a_line_what_was_compared(rng):
    steps = walk("resnet8-A", rng)[3]
    check = steps.find("layer1.0.conv2").check()
    text = repr(check)
    assert "\n" not in text
    for part in ("layer1.0.conv2", "passed", "8 of 2,304 entries", "allowed 1e-06"):
        assert part in text
    small = steps.find("loss").check()
    assert "all 30 entries" in repr(small)
    data = check.to_dict()
    assert data["passed"] is True
    assert [row["name"] for row in data["rows"]] == [
        "input",
        "weight",
        "output",
        "arrival",
    ]
    assert data["max_error"] == check.max_error < check.tolerance
    assert bool(check) is True
    # The same seed draws the same entries.
    again = steps.find("layer1.0.conv2").check(seed=0)
    assert again == check != steps.find("layer1.0.conv2").check(seed=1)


# Bug: the operation whose check must fail, and what of it; all others must pass.
BUGS = {
    "col2im_overwrites": ("conv2d", {"input"}),
    "grad_input_kernel_not_turned": ("conv2d", {"input"}),
    "kernel_flipped": ("conv2d", {"output"}),
    "batch_norm_drops_variance_term": ("batch_norm", {"input"}),
    "batch_norm_drops_mean_term": ("batch_norm", {"input"}),
    "gamma_gradient_without_upstream": ("batch_norm", {"weight"}),
    "batch_normalised_with_unbiased_variance": ("batch_norm", {"output", "input"}),
    "relu_masked_by_gradient": ("relu", {"input"}),
    "average_gradient_not_divided": ("adaptive_avg_pool2d", {"input"}),
    "linear_gradient_divided_by_batch": ("linear", {"weight", "bias"}),
    "loss_gradient_not_divided": ("cross_entropy", {"input"}),
    "loss_divided_by_n_twice": ("cross_entropy", {"input"}),
    "option_a_gradient_repeated": ("zero_pad_shortcut", {"input"}),
    "shortcut_gradient_forgotten": ("fork", {"input"}),
    "branch_gradient_forgotten": ("fork", {"input"}),
    "fork_gradient_averaged": ("fork", {"input"}),
    "relu_masks_the_branch_only": ("addition", {"shortcut"}),
    "aliased_gradient_counts_branch_twice": ("addition", {"shortcut"}),
    "relu_after_sum_forgotten": ("relu", {"input"}),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_at_its_step_and_nowhere_else(rng, name):
    operation, wanted = BUGS[name]
    x, y = normal(rng, 3, 3, 9, 8), np.array([1, 2, 3])
    model = make("resnet8", shortcut="A")
    with bugs.inject(name):
        steps = nr.lens.steps(model, x, y)
        during = [step for step in steps if not step.check()]
    # What is right while batch norm's own forward pass is wrong?
    if name == "batch_normalised_with_unbiased_variance":
        wrong = [step for step in steps if not step.check()]
    else:
        wrong = [step for step in during if not step.check()]
        assert wrong == during
    assert wrong
    assert {step.operation for step in wrong} == {operation}
    for step in wrong:
        check = step.check()
        assert "FAILED" in repr(check)
        failed = {row.name for row in check.rows if not row.error <= check.tolerance}
        assert failed & wanted


def test_the_relu_behind_the_addition_is_told_from_the_one_inside(rng):
    x, y = normal(rng, 3, 3, 9, 8), np.array([1, 2, 3])
    with bugs.inject("relu_after_sum_forgotten"):
        steps = nr.lens.steps(make("resnet8"), x, y)
    wrong = [step for step in steps if not step.check()]
    assert [(step.path, step.way) for step in wrong] == [
        (f"layer{i}.0.relu", "trunk") for i in (3, 2, 1)
    ]


def test_a_gradient_that_goes_the_wrong_way_does_not_arrive(rng):
    class Crossed(nr.models.BasicBlock):
        """Hands on to its first batch norm twice what came."""

        def branch_backward(self, grad_sum, input_grad=True):
            grad = self.conv2.backward(self.bn2.backward(grad_sum))
            grad = self.bn1.backward(2 * self.relu.backward(grad))
            return self.conv1.backward(grad)

    model = make("resnet8")
    model.layer1 = nr.nn.Sequential(Crossed(16, 16, dtype=np.float64, rng=0))
    steps = nr.lens.steps(model, normal(rng, 3, 3, 9, 8), np.array([1, 2, 3]))
    (wrong,) = [step for step in steps if not step.check()]
    assert wrong.path == "layer1.0.bn1"
    failed = [row.name for row in wrong.check().rows if row.error > 1e-6]
    assert failed == ["arrival"]


def test_a_nan_is_no_pass(rng):
    x, y = normal(rng, 3, 3, 9, 8), np.array([1, 2, 3])
    model = make("resnet8")

    class Broken(nr.nn.ReLU):
        def backward(self, grad_output, input_grad=True):
            return super().backward(grad_output) * np.nan

    model.relu = Broken()
    step = nr.lens.steps(model, x, y).find("relu")
    assert not step.check()
    assert step.check().to_dict()["max_error"] is None


def test_checks_of_all_steps_are_a_table(rng):
    with bugs.inject("fork_gradient_averaged"):
        steps = walk("resnet8-A", rng)[3]
    checks = steps.check()
    assert not checks
    assert [check.path for check in checks.failed] == [
        "layer3.0",
        "layer2.0",
        "layer1.0",
    ]
    assert checks.summary().splitlines()[0] == "31 of 34 steps passed"
    assert len(checks.to_dict()["checks"]) == 34
    assert len(checks.rows) == 34
