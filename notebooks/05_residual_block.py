# %% [markdown]
# # 05 · The residual block
#
# **A gradient comes from above and meets an addition: what goes which way, and what comes out below?**
#
# A residual block computes $y = \mathrm{relu}(F(x) + x)$. Forward there is nothing to
# it. Backward there are three places where people go wrong: the ReLU behind the
# addition, the addition, and the fork at which $x$ went two ways. This notebook takes
# them one at a time; in the end you write the backward pass of a whole block.
#
# It helps to have seen convolution ([01](01_convolution.ipynb),
# [02](02_im2col.ipynb)) and batch norm (03) go backward.

# %%
import numpy as np

import npresnet as nr
from npresnet import functional as F

rng = np.random.default_rng(0)

# %% [markdown]
# ## Forward
#
# Three channels, 6x6 pixels, two images. The branch $F$ is two 3x3 convolutions, each
# with batch norm, and a ReLU between them. It keeps the shape, so $x$ can be added as
# it is: the shortcut is the identity.

# %%
block = nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)
x = rng.standard_normal((2, 3, 6, 6))  # (N, C, H, W)
with nr.no_grad():  # only looking: keep nothing for a backward pass
    branch = block.branch_forward(x)
total = branch + x
y = np.maximum(total, 0)
closed = total <= 0
print("x", x.shape, " F(x)", branch.shape, " y", y.shape)
print(f"the last ReLU is closed at {closed.mean():.1%} of the elements")
nr.course.show(
    nr.plots.planes(
        [a[0, 0] for a in (x, branch, total, y)],
        ["x", "F(x)", "F(x) + x", "y = relu(F(x) + x)"],
        marked=[None, None, closed[0, 0], closed[0, 0]],
        same_scale=True,
    ),
    "One channel of one image. Framed: where the sum is not positive, and the ReLU "
    "behind the addition is closed. Nothing of what comes from above will pass there.",
)
assert np.allclose(block(x), y, rtol=1e-12, atol=1e-12)

# %%
nr.course.source(nr.models.blocks.ResidualBlock.forward)

# %% [markdown]
# The branch:

# %%
nr.course.source(nr.models.BasicBlock.branch_forward)

# %% [markdown]
# ## Backward, first: the ReLU behind the addition
#
# From above comes $g = \partial \ell / \partial y$. With $s = F(x) + x$:
#
# $$ g_s = \frac{\partial \ell}{\partial s} = g \cdot [s > 0] $$
#
# The ReLU comes *after* the addition, so it comes first on the way back, and masks both
# ways alike.
#
# **Predict.** The block has one `relu`, and calls it twice: between the convolutions
# and behind the addition. Which of the two masks does `block.relu.backward` use first?

# %%
y = block(x)
g = rng.standard_normal(y.shape)  # random, as every gradient in a test should be
grad_sum = block.relu.backward(g)
print("grad_sum", grad_sum.shape)
print(f"zero at {(grad_sum == 0).mean():.1%} of the elements")
assert np.array_equal(grad_sum, g * (total > 0))

# %% [markdown]
# <details><summary>Why</summary>
#
# Each call puts its cache on a stack, and each backward pass takes the latest off. The
# call behind the addition was the last. That is why `grad_sum` has to be computed
# before the branch goes backward: [`pop_cache`](../npresnet/nn/module.py#L135-L151 "Module.pop_cache").
#
# </details>
#
# **The misconception: "the shortcut carries the gradient unchanged."** It does not even
# see all of it: what the last ReLU stops, it stops for the shortcut as well.

# %%
passed = np.linalg.norm(grad_sum) / np.linalg.norm(g)
print(f"of the norm of g, {passed:.1%} passed the ReLU")
assert not np.array_equal(grad_sum, g)
assert passed < 1

# %% [markdown]
# ## Second: the addition copies
#
# $s = F + x$: move $F$ by a little and $s$ moves as far, move $x$ and $s$ moves as far.
# So both summands receive the whole $g_s$.
#
# **The misconception: "the gradient splits, and each way gets half."** Water splits.
# Slopes do not.

# %%
a, b, h = 3.0, 5.0, 1e-6
by_a = ((a + h + b) - (a + b)) / h
by_b = ((a + b + h) - (a + b)) / h
print(f"slope of a + b by a: {by_a:.3f}, by b: {by_b:.3f}")
assert np.isclose(by_a, 1)
assert np.isclose(by_b, 1)

# %% [markdown]
# ## Third: the fork adds
#
# $x$ is used twice. With $J_F$ the Jacobian of the branch, $ds = J_F \, dx + dx$, so
#
# $$ \frac{\partial \ell}{\partial x} = J_F^\top g_s + g_s $$
#
# **Predict.** One number: $F(x) = 0.1 x$, $x = 3$. What is the slope of
# $y = \mathrm{relu}(F(x) + x)$: 0.1, 0.55, 1, or 1.1?


# %%
def tiny_block(x):
    """Compute relu(F(x) + x) with F(x) = 0.1 x."""
    return max(0.1 * x + x, 0.0)


slope = (tiny_block(3 + 1e-6) - tiny_block(3 - 1e-6)) / 2e-6
print(f"{slope:.6f}")
assert np.isclose(slope, 0.1 + 1)

# %% [markdown]
# $J_F^\top g_s$ is never written down as a matrix: it is the branch's layers called
# backward, the last one first.

# %%
nr.course.source(nr.models.BasicBlock.branch_backward)

# %%
grad_branch = block.branch_backward(grad_sum)
grad_shortcut = grad_sum
by_hand = grad_branch + grad_shortcut

y = block(x)  # once more: each forward pass goes backward once
grad_x = block.backward(g)
print("grad_branch", grad_branch.shape, " grad_x", grad_x.shape)
print(f"largest difference: {np.abs(by_hand - grad_x).max():.1e}")
assert np.allclose(by_hand, grad_x, rtol=1e-12, atol=1e-12)
nr.course.show(
    nr.plots.planes(
        [a[0, 0] for a in (g, grad_sum, grad_branch, grad_x)],
        ["$g$", "$g_s$: by the shortcut", "$J_F^T g_s$: by the branch", "their sum"],
        marked=[closed[0, 0], closed[0, 0], None, None],
        same_scale=True,
    ),
    "From left to right, the way back. Framed: stopped by the ReLU. The branch spreads "
    "what is left over its neighbours, so that the sum is nowhere zero: a pixel below a "
    "closed ReLU still hears of the loss, through the branch.",
)
assert (grad_sum[closed] == 0).all()
assert (grad_x[closed] != 0).all()

# %% [markdown]
# That is the whole of it, and the package does the same:

# %%
nr.course.source(nr.models.blocks.ResidualBlock.backward)

# %% [markdown]
# ## Is it true?
#
# Finite differences do not know any of this. For $x$ and every parameter, along a
# random direction:

# %%
for check in nr.testing.check_gradients(block, x):
    print(f"{check.name:13} {check.analytic:10.5f} {check.numeric:10.5f}")
    assert np.isclose(check.analytic, check.numeric, rtol=1e-4, atol=1e-6)

# %% [markdown]
# And they notice each of the usual mistakes. **Predict**: which of these makes the
# gradient too small, which too large?

# %%
mistakes = [
    "shortcut_gradient_forgotten",
    "branch_gradient_forgotten",
    "fork_gradient_averaged",
    "relu_after_sum_forgotten",
    "relu_masks_the_branch_only",
    "aliased_gradient_counts_branch_twice",
]
right = np.linalg.norm(grad_x)
for name in mistakes:
    with nr.lens.bugs.inject(name):
        block(x)
        wrong = block.backward(g)
        try:
            nr.testing.check_gradients(block, x)
            found = False
        except nr.testing.GradientError:
            found = True
    print(f"{name:37} norm x{np.linalg.norm(wrong) / right:.2f}  found: {found}")
    assert found
    assert not np.allclose(wrong, grad_x)

# %% [markdown]
# ## Switch the shortcut off
#
# The same weights with the shortcut cut: a plain block, $y = \mathrm{relu}(F(x))$. And
# a second handle: the weight $\gamma$ of the branch's last batch norm, which turns the
# branch down.
#
# **Predict.** The branch is turned down to a tenth. What arrives at $x$ with the
# shortcut on? And with it off?

# %%
plain = nr.models.blocks.PlainBlock(3, 3, dtype=np.float64, rng=0)
plain.load_state_dict(block.state_dict())


def gradients(shortcut, branch):
    """Return what came, what passed the ReLU, and what arrives at x."""
    one = {"on": block, "off": plain}[shortcut]
    one.bn2.weight.data[:] = branch
    out = one(x)
    arrived = one.backward(g)
    one.bn2.weight.data[:] = 1.0
    return g, np.where(out > 0, g, 0.0), arrived


def picture(shortcut, branch):
    """Draw one channel of these gradients."""
    came, passed, arrived = gradients(shortcut, branch)
    shown = [a[0, 0] for a in (came, passed, arrived)]
    norms = [np.linalg.norm(a) for a in (came, passed, arrived)]
    names = ["g", "behind the ReLU", f"at x, shortcut {shortcut}"]
    titles = [f"{name}\nnorm {n:.2f}" for name, n in zip(names, norms, strict=True)]
    return nr.plots.planes(shown, titles, same_scale=True, size=2.7)


nr.course.sliders(
    picture,
    "Shortcut off, the branch at a tenth: what arrives at x is pale, about a tenth of "
    "what it was. In a running notebook there are two handles here. Switch the shortcut "
    "on: the picture at x becomes, nearly, the one behind the ReLU. Turn the branch to "
    "0, with the shortcut off: nothing arrives at all.",
    start={"shortcut": "off", "branch": 0.1},
    shortcut=["on", "off"],
    branch=[1.0, 0.3, 0.1, 0.0],
)

# %%
for shortcut in ("on", "off"):
    for scale in (1.0, 0.1, 0.0):
        _, passed, arrived = gradients(shortcut, scale)
        print(f"{shortcut:3}  branch x{scale:.1f}  norm {np.linalg.norm(arrived):7.4f}")

_, passed, arrived = gradients("on", 0.0)
assert np.array_equal(arrived, g * (x > 0))  # the shortcut alone, behind its ReLU
assert np.array_equal(arrived, passed)
assert not gradients("off", 0.0)[2].any()
small, full = (np.linalg.norm(gradients("off", s)[2]) for s in (0.1, 1.0))
assert np.isclose(small, full / 10, rtol=1e-3)

# %% [markdown]
# In a plain block the scale of the branch is a *factor* of all that arrives; in a
# residual block it is a *summand*.
#
# **The misconception: "so ten plain blocks at a tenth leave $10^{-10}$."** Without
# batch norm, they do. With it, the next block divides by the deviation of what it gets,
# forward and backward. **Predict** the gradient of two blocks in a row, the first one
# turned down to a tenth.


# %%
def arriving(kind, scale):
    """Return the norm of what arrives below two blocks; the first is turned down."""
    first, second = (kind(3, 3, dtype=np.float64, rng=seed) for seed in (1, 2))
    first.bn2.weight.data[:] = scale
    both = nr.nn.Sequential(first, second)
    both(x)
    return np.linalg.norm(both.backward(g))


kinds = {"plain": nr.models.blocks.PlainBlock, "residual": nr.models.BasicBlock}
for name, kind in kinds.items():
    norms = [arriving(kind, scale) for scale in (1.0, 0.1)]
    print(f"{name:8}  branch x1: {norms[0]:6.2f}   branch x0.1: {norms[1]:6.2f}")
plain_norms = [arriving(kinds["plain"], scale) for scale in (1.0, 0.1)]
assert np.isclose(*plain_norms, rtol=0.01)

# %% [markdown]
# So with batch norm the plain net's trouble is not simply that small numbers are
# multiplied. What happens at depth 20, 56 and 110 is measured in notebook 08; the
# algebra of many blocks stands in
# [residual_block.md](../docs/derivations/residual_block.md).
#
# ## Step by step
#
# Now a real network, a ResNet-8, and eight handwritten digits. `nr.lens.steps` records
# its backward pass, one operation at a time.
#
# **Predict.** How many operations has the backward pass of one basic block with an
# identity shortcut? Count the fork and the addition as well.

# %%
train, _ = nr.data.digits()
images = nr.data.normalize(train.images[:8], train.mean, train.std)
images = images.astype(np.float64)  # so that the checks below can be strict
labels = train.labels[:8]
model = nr.models.resnet8(dtype=np.float64)
steps = nr.lens.steps(model, images, labels, within="layer1.0")
for step in steps:
    norms = " + ".join(f"{np.linalg.norm(a):.3f}" for a in step.grad_outputs)
    print(f"{step.number:3}  {step.way:8}  {step.operation:10}  incoming {norms}")
assert len(steps) == 9
assert steps[0].operation == "relu"
assert steps[-1].operation == "fork"

# %%
nr.course.show(
    steps.plot(),
    "The norm of the gradient over these steps. Behind the ReLU it goes both ways. At "
    "the last step, the fork, the two meet again. This is the still picture; below it "
    "is the stepper.",
)

# %% [markdown]
# Drive: slider, buttons, or the arrow keys. Stop at the addition and compare the two
# gradients that leave it; stop at the fork and compare what comes with what goes. (On
# the web the stepper may be missing; it is there in a running notebook.)

# %% tags=["varies"]
steps.widget()

# %%
addition, fork = steps[1], steps[-1]
to_branch, to_shortcut = addition.grad_input
from_branch, from_shortcut = fork.grad_output
print("addition hands on", to_branch.shape, "and", to_shortcut.shape)
assert np.array_equal(to_branch, addition.grad_output)
assert np.array_equal(to_shortcut, addition.grad_output)
assert np.array_equal(fork.grad_input, from_branch + from_shortcut)

one, other = np.linalg.norm(from_branch), np.linalg.norm(from_shortcut)
both = np.linalg.norm(fork.grad_input)
print(f"norms at the fork: {one:.3f} and {other:.3f} make {both:.3f}")
assert both < one + other  # they do not point the same way

# %% [markdown]
# Every step can check itself. `step.check()` repeats this one operation in float64 and
# compares with finite differences:

# %%
for step in steps:
    check = step.check()
    verdict = "passed" if check else "FAILED"
    print(f"{step.operation:10} {verdict}, of {len(check.rows)} things compared")
    assert check

# %% [markdown]
# With a mistake in the block, the check says not only *that* something is wrong but
# *where*. **Predict**: the mask is applied to the branch but not to the shortcut. Which
# step fails?

# %%
with nr.lens.bugs.inject("relu_masks_the_branch_only"):
    wrong = nr.lens.steps(model, images, labels, within="layer1.0")
failing = [check for check in (step.check() for step in wrong) if not check]
for check in failing:
    off = [row.name for row in check.rows if row.error > check.tolerance]
    print(check.operation, "fails for", off)
assert [check.operation for check in failing] == ["addition"]

# %% [markdown]
# ## "In place is the same, only faster"
#
# `out = shortcut; out += branch` saves an array. Many have written it, and the output
# is right:

# %%
nr.course.source(nr.lens.bugs.blocks.in_place_addition_corrupts_cache)

# %% [markdown]
# **Predict.** What does it spoil: the output, the gradient by $x$, or the gradient of
# one of the parameters? Of which?

# %%
block.zero_grad()
y = block(x)
grad_x = block.backward(g)
truth = {name: p.grad.copy() for name, p in block.named_parameters()}

mine = x.copy()
block.zero_grad()
with nr.lens.bugs.inject("in_place_addition_corrupts_cache"):
    out = block(mine)
    grad_mine = block.backward(g)
print("output right: ", np.allclose(out, y))
print("grad_x right: ", np.allclose(grad_mine, grad_x))
spoilt = [
    name for name, p in block.named_parameters() if not np.allclose(p.grad, truth[name])
]
print("wrong gradient:", spoilt)
print("x as it was:  ", np.array_equal(mine, x))
assert np.allclose(out, y)
assert np.allclose(grad_mine, grad_x)
assert spoilt == ["conv1.weight"]
assert np.allclose(mine, total)  # what was x is now F(x) + x

# %% [markdown]
# <details><summary>Why</summary>
#
# `shortcut` is not a copy of $x$, it is $x$; and `conv1` has kept $x$ for its weight's
# gradient. After `+=` the array that it kept holds $F(x) + x$. The gradient by $x$
# needs `conv1`'s weights and what later layers kept, not $x$; it stays right. A test that looks at outputs and at
# `grad_x` sees nothing.
#
# </details>
#
# Two blocks in a row: the first one's output is the second one's $x$. Its last ReLU has
# kept a mask, a bit for every element, which no addition reaches. (PyTorch's ReLU keeps
# its output: there the first block's gradient would be wrong as well, and PyTorch
# refuses to go backward.)

# %%
two = nr.nn.Sequential(
    nr.models.BasicBlock(3, 3, dtype=np.float64, rng=1),
    nr.models.BasicBlock(3, 3, dtype=np.float64, rng=2),
)
two(x)
grad_two = two.backward(g)
right = {name: p.grad.copy() for name, p in two.named_parameters()}
two.zero_grad()
with nr.lens.bugs.inject("in_place_addition_corrupts_cache"):
    two(x.copy())
    grad_wrong = two.backward(g)
spoilt = [
    name for name, p in two.named_parameters() if not np.allclose(p.grad, right[name])
]
print(
    "two blocks: grad_x right:", np.allclose(grad_wrong, grad_two), "; wrong:", spoilt
)
assert np.allclose(grad_wrong, grad_two)
assert spoilt == ["0.conv1.weight", "1.conv1.weight"]

# %% [markdown]
# Who notices? The gradient check compares the arguments before and after:

# %%
with nr.lens.bugs.inject("in_place_addition_corrupts_cache"):
    try:
        nr.testing.check_gradients(block, x.copy())
    except nr.testing.GradientError as error:
        message = str(error)
print(message)
assert "place" in message

# %% [markdown]
# ## The whole forward pass, by hand
#
# The functions of `npresnet.functional` have no state: each returns its output and a
# cache. Here is a basic block made of them. Its backward pass is exercise 3.


# %%
def block_forward(x, w1, w2, gamma, beta):
    """Compute relu(F(x) + x); return it, and the caches by name."""
    caches = {}
    zeros, ones = np.zeros_like(beta), np.ones_like(beta)  # running statistics
    out, caches["conv1"] = F.conv2d_forward(x, w1, padding=1)
    out, caches["bn1"], _, _ = F.batch_norm_forward(
        out, gamma, beta, zeros, ones, training=True
    )
    out, caches["relu1"] = F.relu_forward(out)
    out, caches["conv2"] = F.conv2d_forward(out, w2, padding=1)
    out, caches["bn2"], _, _ = F.batch_norm_forward(
        out, gamma, beta, zeros, ones, training=True
    )
    out, caches["relu2"] = F.relu_forward(out + x)
    return out, caches


w1, w2 = block.conv1.weight.data, block.conv2.weight.data
gamma, beta = block.bn1.weight.data, block.bn1.bias.data
out, caches = block_forward(x, w1, w2, gamma, beta)
print("out", out.shape, " caches:", *caches)
assert np.allclose(out, block(x), rtol=1e-12, atol=1e-12)

# %% [markdown]
# Where to read: [`ResidualBlock`](../npresnet/models/blocks.py#L81-L132 "ResidualBlock"),
# [`PlainBlock`](../npresnet/models/blocks.py#L196-L207 "PlainBlock"), the derivation in
# [residual_block.md](../docs/derivations/residual_block.md), the instruments in
# [lens.md](../docs/lens.md), and how to write and test
# [a block of your own](../docs/write_your_own_block.md).
#
# ## Exercises
#
# **1.** One number: $F(x) = -0.5 x$, $x = 2$, $y = \mathrm{relu}(F(x) + x)$, and
# $g = 10$ comes from above. What is $\partial \ell / \partial x$?

# %%
answer = ...
nr.course.check("05.1", answer)

# %% [markdown]
# **2.** The branch is a matrix: `y = relu(x @ w + x)`, with `x` of shape `(N, C)` and
# `w` of `(C, C)`. Return the gradient by `x`.


# %%
def line_backward(g, x, w):
    """Go backward through relu(x @ w + x)."""
    ...


nr.course.check("05.2", line_backward)

# %% [markdown]
# **3.** The backward pass of the basic block above. `caches` is what `block_forward`
# returned; use `F.relu_backward`, `F.batch_norm_backward` and `F.conv2d_backward`.
# Return the gradients by `x`, `w1` and `w2`.


# %%
def block_backward(g, caches):
    """Return (grad_x, grad_w1, grad_w2)."""
    ...


nr.course.check("05.3", block_backward)

# %% [markdown]
# **4.** The weight of `bn2` is 0 at first, as with `zero_init_residual`. How many of
# the block's six parameter arrays receive a gradient that is not zero?

# %%
answer = ...
nr.course.check("05.4", answer)

# %% [markdown]
# **5.** Four residual blocks in a row, each with $F(x) = 0.5 x$, and no ReLU is closed.
# What is the slope of the last output by the first input?

# %%
answer = ...
nr.course.check("05.5", answer)

# %% [markdown]
# With exercise 3 solved, yours and the package's agree to the last digits. The cell
# below takes the solution from the course, so that it runs unanswered, too; put your
# own function in its place.

# %%
names = {"np": np}
exec(nr.course.solution("05.3").text, names)
mine_x, mine_w1, mine_w2 = names["block_backward"](g, caches)
for name, ours, theirs in [
    ("grad_x", mine_x, grad_x),
    ("grad_w1", mine_w1, truth["conv1.weight"]),
    ("grad_w2", mine_w2, truth["conv2.weight"]),
]:
    print(f"{name:8} {ours.shape} off by {np.abs(ours - theirs).max():.0e}")
    assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
