# %% [markdown]
# # 11 · Break it
#
# **Which check sees which mistake, and which mistakes does no gradient check see?**
#
# A wrong backward pass raises no error. The shapes are right, the loss falls, a little
# slower, and nobody knows why. The package can make such mistakes on purpose: each was
# made by somebody in public. In this notebook you predict a symptom, let the bug in,
# and watch which instrument notices.
#
# The instruments, from cheap to dear:
#
# - the **first loss** and its fall,
# - **one batch by heart**: a network that cannot learn 32 images by heart is broken,
# - the **ledger**: does every block hand on the sum of its two gradients?
# - the **stepper's check**: is every single operation the derivative of itself?
# - the **definition**: a number worked out by hand.

# %%
import math
from contextlib import nullcontext
from functools import cache

import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.lens import bugs
from npresnet.plots import style

train, test = nr.data.digits()
x, y = next(nr.data.batches(train, 32, shuffle=True, seed=0, epoch=1))
print("x", x.shape, " y", y.shape, " bugs to choose from:", len(bugs.names()))
assert len(bugs.names()) > 40

# %% [markdown]
# ## The instruments
#
# Each takes a fresh network, so that nothing is left over from the bug before.


# %%
def fresh():
    """Make the same network every time."""
    return nr.models.resnet8(seed=0)


def let_in(bug):
    """Inject a bug, or none."""
    return bugs.inject(bug) if bug else nullcontext()


@cache
def books(bug=None):
    """Open the gradient ledger: the largest error of a sum, and the ledger."""
    with let_in(bug):
        ledger = nr.lens.ledger(fresh(), x[:8], y[:8])
    return max(row.identity_error for row in ledger.rows), ledger


@cache
def failed_steps(bug=None):
    """Check every operation of one backward pass; name those that are wrong."""
    with let_in(bug):
        steps = nr.lens.steps(fresh(), x[:4], y[:4])
        checks = steps.check()
    return [f"{one.path} ({one.operation})" for one in checks.failed]


def learn(bug=None, epochs=1, by_heart=False, lr=0.05):
    """Train for a moment; return the loss of every step."""
    with let_in(bug), np.errstate(all="ignore"):
        model = fresh().train()
        optimizer = nr.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        criterion = nr.nn.CrossEntropyLoss()
        losses = []
        for epoch in range(1, epochs + 1):
            draw = nr.data.batching.batches
            size = 32 if by_heart else 64
            pairs = draw(train, size, shuffle=True, seed=0, epoch=epoch)
            if by_heart:
                pairs = [next(pairs)] * 30
            for images, labels in pairs:
                loss = float(criterion(model(images), labels))
                losses.append(loss)
                if not math.isfinite(loss):
                    return losses
                optimizer.zero_grad()
                model.backward(criterion.backward(), input_grad=False)
                optimizer.step()
    return losses


def level(losses):
    """Average the last five losses."""
    return float(np.mean(losses[-5:]))


error, right_ledger = books()
right_losses = learn()
right_heart = learn(by_heart=True)
print(f"ledger: largest error {error:.0e}")
print("steps that fail:", failed_steps() or "none")
print(f"by heart: {right_heart[0]:.2f} -> {right_heart[-1]:.2f}")
print(f"one epoch: {right_losses[0]:.2f} -> {level(right_losses):.2f}")
assert error < 1e-6
assert not failed_steps()
assert right_heart[-1] < 0.2
assert level(right_losses) < 1.3

# %% [markdown]
# That is what right looks like. Now eight mistakes.
#
# ## 1 · The shortcut's gradient, forgotten
#
# **"Addition has no weights, so it needs no backward pass."**
#
# **Predict.** Will the loss still fall? Which of the two, ledger or first loss, notices?

# %%
about = bugs.describe("shortcut_gradient_forgotten")
print(about.wrong, "\nIn", about.where)
error, wrong_ledger = books("shortcut_gradient_forgotten")
losses = learn("shortcut_gradient_forgotten", by_heart=True)
print(f"by heart: {losses[0]:.2f} -> {losses[-1]:.2f}")
print(f"ledger: largest error {error:.2f}")
nr.course.show(
    right_ledger.plot(beside=wrong_ledger),
    "The river of the gradient, from the loss down to the images: left as it should "
    "be, right with the bug. Blue went along the shortcut and orange through the "
    "branch. At `layer3.0` the same comes in on both sides, but on the right less goes "
    "on (the numbers): the branch alone. It still looks like a river; only the sum "
    "tells.",
)
right_row, wrong_row = right_ledger.rows[-1], wrong_ledger.rows[-1]  # layer3.0
assert wrong_row.grad_output_norm == right_row.grad_output_norm
assert wrong_row.grad_input_norm < right_row.grad_input_norm
assert losses[-1] < losses[0] / 2  # it learns all the same!
assert losses[0] == right_heart[0]  # the forward pass is untouched
assert error > 0.1

# %% [markdown]
# The loss falls. A learner who looks at the loss alone would go home. The ledger
# compares what a block hands on with the sum of the two gradients, computed one by one,
# and the stepper names the place where they should have been added:

# %%
print("\n".join(failed_steps("shortcut_gradient_forgotten")))
assert all("fork" in name for name in failed_steps("shortcut_gradient_forgotten"))

# %% [markdown]
# At such a place you drive. In a running notebook, and on the web, too: slider, buttons,
# arrow keys. Go to a step called *fork*: two gradients come, and one goes on.

# %%
with bugs.inject("shortcut_gradient_forgotten"):
    wrong = nr.lens.steps(fresh(), x[:4], y[:4], within="layer1")
fork = next(step for step in wrong if step.operation == "fork")
branch, shortcut = fork.grad_output
print("branch", branch.shape, " shortcut", shortcut.shape)
print("handed on the sum:", np.allclose(fork.grad_input, branch + shortcut))
print("handed on the branch alone:", np.array_equal(fork.grad_input, branch))
assert not np.allclose(fork.grad_input, branch + shortcut)
fork.check()

# %%
wrong.widget()

# %% [markdown]
# ## 2 · col2im with `=` for `+=`
#
# The most copied mistake of all ([notebook 02](02_im2col.ipynb)): of overlapping
# windows, one is left.
#
# **Predict.** Which convolutions are wrong: 3x3, 1x1, or both? And does the ledger
# notice, which is about additions?

# %%
failed = failed_steps("col2im_overwrites")
error, _ = books("col2im_overwrites")
print("\n".join(failed))
print(f"ledger: largest error {error:.0e}")
assert failed
assert all("conv2d" in name for name in failed)
assert error < 1e-6

kernel = np.random.default_rng(0).standard_normal((2, 3, 1, 1))
image = np.random.default_rng(1).standard_normal((1, 3, 5, 5))
with bugs.inject("col2im_overwrites"):
    out, kept = F.conv2d_forward(image, kernel)
    grad_x = F.conv2d_backward(np.ones_like(out), kept)[0]
assert np.allclose(grad_x, kernel.sum(axis=0)[None].repeat(5, 2).repeat(5, 3))
print("1x1: right, for its windows do not overlap")

# %% [markdown]
# **"The ledger is balanced, so the gradients are right."** It is balanced: a block hands
# on the sum of two gradients, one of which is wrong. Every instrument answers *its*
# question.
#
# ## 3 · Batch norm without its last term
#
# The variance depends on $x$ as well ([derivation](../docs/derivations/batch_norm.md)):
#
# $$ \frac{\partial \ell}{\partial x} = \frac{\gamma}{\sigma} \Big( g - \frac{1}{m} \sum
# g - \hat x \, \frac{1}{m} \sum g \hat x \Big) $$
#
# The bug forgets the last term. **Predict**: you test it with a gradient of ones from
# above, $g = 1$. What does the test say?

# %%
rng = np.random.default_rng(0)
features = rng.standard_normal((4, 3, 5, 5))
gamma, beta = rng.standard_normal(3), rng.standard_normal(3)


def both(grad_output):
    """Run batch norm's backward pass, right and wrong; give their difference."""
    found = []
    for bug in (None, "batch_norm_drops_variance_term"):
        with let_in(bug):
            _, kept, *_ = F.batch_norm_forward(
                features, gamma, beta, np.zeros(3), np.ones(3), training=True
            )
            found.append(F.batch_norm_backward(grad_output, kept)[0])
    return np.abs(found[0] - found[1]).max()


of_ones = both(np.ones_like(features))
of_noise = both(rng.standard_normal(features.shape))
print(f"gradient of ones from above: {of_ones:.0e} away from right")
print(f"random gradient from above:  {of_noise:.2f} away from right")
assert of_ones < 1e-12
assert of_noise > 0.01

# %% [markdown]
# <details><summary>Why</summary>
#
# With $g = 1$ the last sum is $\sum \hat x = 0$: the term that was forgotten is zero
# anyway. So is everything else: the sum of a normalised channel cannot change. A test
# whose upstream gradient is all ones tests nothing. This is why tests here draw theirs
# at random.
#
# </details>

# %%
failed = failed_steps("batch_norm_drops_variance_term")
print(f"{len(failed)} steps fail, the first: {failed[0]}")
assert failed
assert all("batch_norm" in name for name in failed)

# %% [markdown]
# ## 4 · The mean that is not divided
#
# The loss is a mean over the batch; the $1/N$ of the mean belongs into its gradient.
# The bug forgets it.
#
# **Predict.** How many times too large are the gradients of *all* weights, with 8 images
# in the batch?

# %%
_, wrong_ledger = books("loss_gradient_not_divided")
pairs = zip(wrong_ledger.rows, right_ledger.rows, strict=True)
factors = [a.grad_output_norm / b.grad_output_norm for a, b in pairs]
failed = failed_steps("loss_gradient_not_divided")
print("factors, block by block:", [round(factor, 3) for factor in factors])
print("steps that fail:", failed)
assert np.allclose(factors, 8, rtol=1e-3)
assert len(failed) == 1
assert failed[0].startswith("loss")

# %% [markdown]
# One step fails, not all: every operation is checked on the gradient that *came*. The
# mistake is found where it was made, although it spoils everything behind it.
#
# ## 5 · Another network
#
# `relu(F(x)) + x` instead of `relu(F(x) + x)`, and a backward pass that fits it.
#
# **Predict.** Do finite differences over the whole block disagree? Does the ledger? Can
# this network learn?

# %%
losses = learn("relu_before_the_addition", by_heart=True)
failed = failed_steps("relu_before_the_addition")
block = nr.models.BasicBlock(16, 16, rng=0).eval()
features = rng.standard_normal((2, 16, 6, 6)).astype(np.float32)
with nr.nn.no_grad():
    by_definition = np.maximum(block.branch_forward(features) + features, 0)
with bugs.inject("relu_before_the_addition"):
    out = block(features)
    gradients = nr.testing.check_gradients(
        nr.models.BasicBlock(4, 4, rng=0, dtype=np.float64),
        rng.standard_normal((2, 4, 5, 5)),
    )
print(f"by heart: {losses[0]:.2f} -> {losses[-1]:.2f}")
print(f"finite differences: largest error {max(one.error for one in gradients):.0e}")
print("smallest out - x:", (out - features).min(), " by definition: it may be negative")
error, _ = books("relu_before_the_addition")
print(f"ledger: largest error {error:.2f}; steps that fail:", failed or "none")
print("as defined:", np.allclose(out, by_definition, atol=1e-5))
assert losses[-1] < 0.5
assert max(one.error for one in gradients) < 1e-5
assert not np.allclose(out, by_definition, atol=1e-2)
assert (out - features).min() >= -1e-6
assert error > 0.01
assert not failed

# %% [markdown]
# **"The gradient check passed, so the layer is right."** It shows that backward is the
# derivative of forward: of *whatever* forward computes. Finite differences and the
# stepper are content: every operation is its own derivative. That forward is a ResNet
# only the definition says, or weights that somebody else has trained. The ledger notices
# because it holds the definition against the block: it knows that the ReLU comes *after*
# the addition. Here blocks can add and never take away.
#
# ## 6 · The forgotten line
#
# Gradients of parameters add up until `zero_grad()`. The bug leaves them.
#
# **Predict.** Every single backward pass is right. What does the loss do over an epoch?

# %%
learning = {
    "right": right_losses,
    "optimizer_forgets_to_zero": learn("optimizer_forgets_to_zero"),
}
failed = failed_steps("optimizer_forgets_to_zero")
print("steps that fail:", failed or "none")
for name, losses in learning.items():
    print(f"{name}: {losses[0]:.2f} -> {level(losses):.2f}")
assert not failed
assert level(learning["optimizer_forgets_to_zero"]) > level(right_losses) + 0.1

# %% [markdown]
# No check of a backward pass can see it: the mistake is *between* two passes. This test
# does: the gradient after a step must be that of a network that has never taken one.


# %%
def gradient_is_forgotten():
    """Take a step; is the next gradient that of a fresh start?"""
    model, criterion = fresh().train(), nr.nn.CrossEntropyLoss()
    optimizer = nr.optim.SGD(model.parameters(), lr=0.0)  # weights stay
    seen = []
    for _ in range(2):
        criterion(model(x), y)
        optimizer.zero_grad()
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        seen.append(model.fc.weight.grad.copy())
    return bool(np.allclose(seen[0], seen[1], rtol=1e-4, atol=1e-6))


assert gradient_is_forgotten()
with bugs.inject("optimizer_forgets_to_zero"):
    assert not gradient_is_forgotten()
print("two passes, one gradient: the bug is seen")

# %% [markdown]
# ## 7 · Images shuffled, labels not
#
# **Predict.** Every image now has the label of another one. Where does the loss stop?
# And does "one batch by heart" notice?

# %%
learning["labels_not_shuffled"] = learn("labels_not_shuffled")
losses = learn("labels_not_shuffled", by_heart=True)
level_of_guessing = math.log(10)
print(f"one epoch: ends at {level(learning['labels_not_shuffled']):.2f}")
print(f"ln 10 = {level_of_guessing:.2f}")
print(f"by heart: {losses[0]:.2f} -> {losses[-1]:.2f}")
assert abs(level(learning["labels_not_shuffled"]) - level_of_guessing) < 0.5
assert losses[-1] < 0.5

# %% [markdown]
# A batch learnt by heart proves that the network learns, not *what*: wrong labels are
# learnt by heart as well as right ones. And all gradients are right. The check that sees
# it looks at the data: each image of a batch must carry the label that it has in the
# data set.


# %%
def pairs_belong_together():
    """Find every image of a batch in the data set, and compare the labels."""
    draw = nr.data.batching.batches
    images, labels = next(draw(train, 64, shuffle=True, seed=0, epoch=1))
    known = nr.data.normalize(train.images, train.mean, train.std)
    for image, label in zip(images, labels, strict=True):
        place = np.abs(known - image).sum(axis=(1, 2, 3)).argmin()
        if train.labels[place] != label:
            return False
    return True


assert pairs_belong_together()
with bugs.inject("labels_not_shuffled"):
    assert not pairs_belong_together()
print("labels compared one by one: the bug is seen")

# %% [markdown]
# ## 8 · Evaluation mode, forgotten
#
# The bug measures in training mode: batch norm then uses the batch at hand.
#
# **Predict.** You measure the same network twice on the same images, in batches of 4 and
# of 120. Do the losses agree?

# %%
model = fresh().train()
optimizer = nr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
criterion = nr.nn.CrossEntropyLoss()
for images, labels in nr.data.batches(train, 64, shuffle=True, seed=0, epoch=1):
    nr.training.step.take_step(model, criterion, optimizer, images, labels)


def two_batch_sizes():
    """Measure in batches of 4 and of 120."""
    evaluation = nr.training.evaluation
    part = test.subset(np.arange(120))
    return [evaluation.evaluate(model, part, size).loss for size in (4, 120)]


small, large = two_batch_sizes()
print(f"right:  {small:.6f} and {large:.6f}")
assert math.isclose(small, large, rel_tol=1e-4)
kept = model.state_dict()
with bugs.inject("eval_mode_forgotten"):
    small, large = two_batch_sizes()
moved = not np.array_equal(kept["bn1.running_mean"], model.bn1.running_mean)
print(f"broken: {small:.6f} and {large:.6f}; measuring moved the statistics: {moved}")
assert abs(small - large) > 0.01
assert moved

# %% [markdown]
# ## Which check sees which bug?
#
# The loss curves first. **Predict** which of these is which before you read the legend.


# %%
def draw_losses():
    """Draw the loss of every step of one epoch, right and wrong."""
    looks = (style.RESIDUAL, style.PLAIN, style.VALIDATION)
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=8, height=3.4)
        for look, (name, losses) in zip(looks, learning.items(), strict=True):
            axes.plot(losses, label=name, **look.keywords(len(losses)))
        axes.axhline(level_of_guessing, color=style.GREY, linewidth=0.8)
        axes.text(11, level_of_guessing, "guessing", color=style.GREY, va="top")
        axes.set(xlabel="step", ylabel="loss (nats)", title="One epoch", ylim=(0, 6))
        axes.legend()
    return figure


nr.course.show(
    draw_losses(),
    "Right: the loss falls. Gradients never forgotten: it falls, then breaks out. "
    "Labels of others: it stays at the line of guessing, ln 10.",
)

# %% [markdown]
# And the table: every bug against every instrument, measured now. One means that it
# noticed.

# %%
chosen = [
    "shortcut_gradient_forgotten",
    "col2im_overwrites",
    "batch_norm_drops_variance_term",
    "loss_gradient_not_divided",
    "relu_before_the_addition",
    "optimizer_forgets_to_zero",
    "labels_not_shuffled",
    "eval_mode_forgotten",
]


def tell_the_two_apart(bug):
    """Ask the three tests that were made for bugs 6, 7 and 8."""
    with let_in(bug):
        losses = two_batch_sizes()
        return [
            not gradient_is_forgotten(),
            not pairs_belong_together(),
            not math.isclose(*losses, rel_tol=1e-4),
        ]


table = np.array(
    [
        [books(bug)[0] > 1e-5, bool(failed_steps(bug)), *tell_the_two_apart(bug)]
        for bug in chosen
    ],
    float,
)
instruments = ["ledger", "step.check()", "two passes", "labels", "two batch sizes"]
print(" " * 31, "  ".join(instruments))
for bug, row in zip(chosen, table, strict=True):
    marks = ("x" if seen else "." for seen in row)
    columns = zip(marks, instruments, strict=True)
    print(f"{bug:31}", "  ".join(mark.center(len(head)) for mark, head in columns))
seen = dict(zip(chosen, table.astype(bool), strict=True))
assert seen["shortcut_gradient_forgotten"][:2].all()
assert not seen["col2im_overwrites"][0]
assert seen["col2im_overwrites"][1]
assert list(seen["relu_before_the_addition"][:2]) == [True, False]
assert list(seen["optimizer_forgets_to_zero"]) == [False, False, True, False, False]
assert list(seen["labels_not_shuffled"]) == [False, False, False, True, False]
assert list(seen["eval_mode_forgotten"]) == [False, False, False, False, True]

# %% [markdown]
# No column is full. That is why the package's tests are of several kinds: finite
# differences, comparison with PyTorch, published weights, and properties of the loop.
# [Its kill table](../docs/kill_table.md) lists every bug with the tests that catch it.
# To read on:
#
# - [`inject`](../npresnet/lens/bugs/patching.py#L23-L53 "inject"): how a bug gets in and
#   out,
# - [`check`](../npresnet/lens/steps/check.py#L58-L67 "check"): the stepper's check,
# - [the right one](../npresnet/models/blocks.py#L125-L132 "ResidualBlock.backward"), below.

# %%
nr.course.source(nr.models.blocks.ResidualBlock.backward)

# %% [markdown]
# ## Exercises
#
# `nr.course.hint("11.1")` gives a hint, `nr.course.solution("11.1")` the solution.
#
# **1.** Write the check under all others: the derivative of `f` at the number `x` by
# *central* differences with step `h`.


# %%
def derivative(f, x, h):
    """Estimate the slope of f at x."""
    ...


nr.course.check("11.1", derivative)

# %% [markdown]
# **2.** How far is a gradient off? Return the norm of the difference, relative to the
# norm of the *right* gradient.


# %%
def relative_error(gradient, right):
    """Compare two arrays of one shape."""
    ...


nr.course.check("11.2", relative_error)

# %% [markdown]
# **3.** A block that *averages* its two gradients, where they should be added, hands on
# half. In a network of `blocks` such blocks, what is the gradient of the stem multiplied
# with, because of the bug alone?


# %%
def factor(blocks):
    """Compute what is left of the gradient."""
    ...


nr.course.check("11.3", factor)

# %% [markdown]
# **4.** Your network learns one batch by heart, every finite difference agrees, and over
# an epoch the loss stays at 2.30. Where do you look first: `"backward pass"`,
# `"labels"`, `"learning rate"` or `"batch norm"`?

# %%
answer = ...
nr.course.check("11.4", answer)

# %% [markdown]
# **5.** Write the check of bug 3 that cannot be fooled. Given `grad_x`, what batch norm
# hands on in training mode, and its normalised input `x_hat`, both `(N, C, H, W)`:
# return, for every channel, the sum of `grad_x` and the sum of `grad_x * x_hat`, as two
# arrays of shape `(C,)`. In a right backward pass (with $\varepsilon$ = 0) both are 0;
# why?


# %%
def two_sums(grad_x, x_hat):
    """Sum over images and pixels."""
    ...


nr.course.check("11.5", two_sums)
