# %% [markdown]
# # 08 · How gradients flow
#
# **Where does the gradient go on its way from the loss to the images, and how much of
# it takes the shortcuts?**
#
# One residual block is understood
# ([derivation](../docs/derivations/residual_block.md)): backward, the ReLU after the
# addition masks, the addition copies, the fork adds. A network has dozens of blocks.
# Here we keep the books of all of them, draw the books as a river, compare with the
# same network without shortcuts, and in the end split the gradient into the paths that
# it took.
#
# All networks here are *fresh*: the gradients are those of the very first step.

# %%
import math

import numpy as np

import npresnet as nr
from npresnet.lens.shared.passes import forward_pass
from npresnet.plots import style

train, _ = nr.data.digits()
x = nr.data.normalize(train.images[:32], train.mean, train.std)
y = train.labels[:32]
print("x", x.shape, x.dtype, " y", y.shape)

residual, plain = nr.models.resnet20(), nr.models.plain20()
book, plain_book = (nr.lens.ledger(model, x, y) for model in (residual, plain))
nr.course.show(
    book.plot(beside=plain_book),
    "It begins at the loss, above, and ends in the images. At each of the nine blocks "
    "a ReLU takes a part away (grey); the rest goes *both* ways, along the shortcut "
    "(blue) and through the branch (orange), and the two come together again. The "
    "plain net has no arms: all of its gradient crosses every branch.",
)

# %% [markdown]
# ## The same as a table
#
# **Predict.** The two networks were made with the same seed, and shortcuts of kind A
# have no weights. Do the two have the same weights?

# %%
pairs = zip(residual.parameters(), plain.parameters(), strict=True)
assert all(np.array_equal(one.data, other.data) for one, other in pairs)
print("the same weights; only the shortcuts are cut")
book

# %% [markdown]
# Rows stand as the forward pass meets the blocks; the gradient comes from below.
# `|grad_output|` is what comes to a block, $\lVert g \rVert$; `masked` the share of
# elements at which the ReLU is closed; `|grad_sum|` what it lets pass, $\lVert g_s
# \rVert$; then what leaves the shortcut, what leaves the branch, and what the block
# hands on. Here is where the last row comes from, by hand:

# %%
block = residual.layer3[2]
with forward_pass(residual, x, y) as step:
    output = step.visits[-1].output
    grad_features = residual.fc.backward(step.grad_logits)
    came = residual.avgpool.backward(grad_features[:, :, None, None])
    passed = block.relu.backward(came)
    through_branch = block.branch_backward(passed)
    along_shortcut = block.shortcut_backward(passed)
handed_on = through_branch + along_shortcut
print("by the logits", step.grad_logits.shape, " g", came.shape, " g_s", passed.shape)

assert np.array_equal(passed, came * (output > 0))  # the mask
assert np.array_equal(along_shortcut, passed)  # the shortcut is the identity
row = book.rows[-1]
print("                 by hand   ledger")
for name, array, noted in (
    ("g", came, row.grad_output_norm),
    ("g_s", passed, row.grad_sum_norm),
    ("shortcut", along_shortcut, row.grad_shortcut_norm),
    ("branch", through_branch, row.grad_branch_norm),
    ("handed on", handed_on, row.grad_input_norm),
):
    print(f"{name:15}  {np.linalg.norm(array):.4f}    {noted:.4f}")
    assert math.isclose(np.linalg.norm(array), noted, rel_tol=1e-4)

# %% [markdown]
# (`nr.lens.steps(residual, x, y).widget()` steps through all of it, operation by
# operation.)
#
# The block itself does it in a few lines,
# [`ResidualBlock.backward`](../npresnet/models/blocks.py#L125-L132 "ResidualBlock.backward");
# the books are kept by
# [`ledger`](../npresnet/lens/ledger/measure.py#L29-L117 "ledger").

# %%
nr.course.source(nr.models.ResidualBlock.backward)

# %% [markdown]
# **"Two gradients of norm 3 and 4 add up to one of norm 7."** The *gradients* add up,
# their norms do not. With the cosine of the angle between them,
#
# $$ \lVert a + b \rVert^2 = \lVert a \rVert^2 + \lVert b \rVert^2 + 2 \cos(a, b)
# \lVert a \rVert \lVert b \rVert . $$
#
# **Predict.** Branch and shortcut have nothing to do with each other in a fresh
# network. What does the column `cosine` show, then, and what is the norm of two
# gradients of 3 and 4?

# %%
for row in book.rows:
    a, b = row.grad_branch_norm, row.grad_shortcut_norm
    summed = math.sqrt(a * a + b * b + 2 * row.cosine * a * b)
    assert math.isclose(row.grad_input_norm, summed, rel_tol=1e-4)
    assert row.grad_input_norm < 0.95 * (a + b)
    assert row.identity_error < 1e-5
print("cosines", " ".join(f"{row.cosine:.2f}" for row in book.rows))
assert max(abs(row.cosine) for row in book.rows) < 0.4
print("at right angles, 3 and 4 make", math.hypot(3, 4))

# %% [markdown]
# ## Cut one shortcut
#
# A [`PlainBlock`](../npresnet/models/blocks.py#L196-L207 "PlainBlock") *is* a `BasicBlock`
# that leaves its shortcut out. So a shortcut can be cut in a network that is there
# already. Move the slider, and watch the river lose an arm.


# %%
def without(cut):
    """Make a ResNet-20 in which some blocks have lost their shortcuts."""
    model = nr.models.resnet20()
    for path, module in model.named_modules():
        if path in cut:
            module.__class__ = nr.models.PlainBlock  # the same layers and weights
    return model


names = [row.name for row in book.rows]
assert np.array_equal(without(names)(x), plain(x))  # all cut: the plain net


def river(cut):
    """Draw the gradient with one shortcut cut, or several."""
    chosen = {"none": [], "all": names}.get(cut, [cut])
    return nr.lens.ledger(without(chosen), x, y).plot()


nr.course.sliders(
    river,
    "The shortcut of `layer2.1` is cut: all that passes its ReLU has to cross its "
    "branch. In a running notebook the slider cuts others, none, or all. The water "
    "does not stop at a cut: why? Read on.",
    start={"cut": "layer2.1"},
    cut=["none", *names, "all"],
)

# %% [markdown]
# ## Deeper: 20, 56, 110 layers
#
# **Predict.** In a fresh plain net of 110 layers with batch norm, all of the gradient
# has to cross 54 branches. When it comes to the first block, is it smaller than at the
# last one, about equal, or larger? And in the residual net?
#
# The measure is the norm of what the first block hands on, divided by the norm of what
# comes to the last block.


# %% tags=["varies"]
def growth(ledger):
    """Compare the gradient behind all blocks with that before them."""
    return ledger.rows[0].grad_input_norm / ledger.rows[-1].grad_output_norm


depths = (20, 56, 110)
books = {}  # (kind, depth, batch norm) -> ledger
for kind in ("plain", "resnet"):
    for depth in depths:
        model = nr.models.create(f"{kind}{depth}")
        books[kind, depth, "on"] = nr.lens.ledger(model, x, y)
        factor = growth(books[kind, depth, "on"])
        print(f"{kind:6} {depth:3} layers: times {factor:.2g}")

on = {key[:2]: growth(ledger) for key, ledger in books.items()}
assert all(on["plain", depth] > on["resnet", depth] for depth in depths)
assert on["plain", 20] > 5
assert on["plain", 56] > 100 * on["plain", 20]
assert on["resnet", 110] < on["plain", 56] / 10

# %% [markdown]
# **"The gradients of deep plain networks vanish."** With batch norm and weights drawn
# as He et al. do, they *grow*, exponentially with depth. The paper itself says so
# (section 4.1: its plain networks have batch norm, and "neither forward nor backward
# signals vanish").
#
# <details><summary>Why they grow: one layer of the plain net, by hand</summary>
#
# Let what goes into a ReLU have mean 0 and variance 1 in every channel; batch norm sees
# to that. For a Gaussian $z$, $h = \mathrm{relu}(z)$ has $\mathrm{E}[h^2] = 1/2$ and
# $\mathrm{E}[h] = 1/\sqrt{2\pi}$, so a variance of $1/2 - 1/(2\pi)$. He's weights have
# the variance $2 / (C \cdot KH \cdot KW)$, so that the *second moment* behind the
# convolution is 1 again. But batch norm divides by the deviation *within a channel*,
# which is without the mean: $\sigma^2 = 2\,(1/2 - 1/(2\pi)) = 1 - 1/\pi = 0.68$.
#
# Backward, the ReLU halves the square of the norm, the convolution doubles it, and
# batch norm divides it by $\sigma^2$. (It also takes out two directions of each
# channel, few among many.) In all, the square grows by $1/(1 - 1/\pi) = 1.47$ a layer,
# the norm by 1.21. This assumes wide layers, large batches and independent pixels;
# small feature maps of small digits are none of that, so expect the order of magnitude.
# Yang et al. ([arXiv 1902.08129](https://arxiv.org/abs/1902.08129)) derive the same
# $\pi/(\pi - 1)$, and that no choice of weights cures it.
#
# </details>
#
# In the residual net the branch is normalised, but what it is added to is not: that
# grows from block to block. A branch *divides* by the size of what it gets, so deeper
# branches carry less of the gradient, and the product over all blocks grows slowly
# (De and Smith, [arXiv 2002.10444](https://arxiv.org/abs/2002.10444)). See it in the
# books: the part that crosses the branch, in units of what enters it.

# %% tags=["varies"]
rows = books["resnet", 110, "on"].rows[1:18]  # of the first stage, all alike in shape
gains = [row.grad_branch_norm / row.grad_sum_norm for row in rows]
print("first stage, blocks 1 to 17:")
print(" ".join(f"{gain:.2f}" for gain in gains))
assert gains[-1] < 0.7 * gains[0]
plain_rows = books["plain", 110, "on"].rows[1:18]
plain_gains = [row.grad_branch_norm / row.grad_sum_norm for row in plain_rows]
print(f"plain net, mean: {np.mean(plain_gains):.2f}")
assert min(plain_gains) > 1

# %% [markdown]
# ## Without batch norm
#
# What exactly is compared: the same fresh networks in *evaluation mode*. Their running
# statistics are still mean 0 and variance 1, weight 1 and bias 0, so every batch norm
# is $x/\sqrt{1 + \epsilon}$ with $\epsilon = 10^{-5}$: the identity up to five parts in
# a million. Nothing else changes.

# %%
bn = nr.models.resnet20().eval().layer1[0].bn1
some = np.random.default_rng(0).standard_normal((4, 16, 8, 8), dtype=np.float32)
away = np.abs(bn(some) - some).max() / np.abs(some).max()
print(f"batch norm of a fresh network in evaluation mode: off by {away:.1e}")
assert away < 1e-5

# %% [markdown]
# **Predict** the two columns once more: plain and residual, 110 layers, no batch norm.
# Which one vanishes? Which one explodes?

# %%
for kind in ("plain", "resnet"):
    for depth in depths:
        model = nr.models.create(f"{kind}{depth}").eval()
        books[kind, depth, "off"] = nr.lens.ledger(model, x, y)
        factor = growth(books[kind, depth, "off"])
        print(f"{kind:6} {depth:3} layers: times {factor:.4g}")

off = {key[:2]: growth(books[key]) for key in books if key[2] == "off"}
assert off["plain", 110] < off["plain", 56] < off["plain", 20] < 0.1
assert off["resnet", 110] > 100 * on["resnet", 110]
assert off["resnet", 110] > 1e4

# %% [markdown]
# Now the plain net's gradient does vanish, and the *residual* net's explodes.
#
# <details><summary>Why the residual net's explodes</summary>
#
# He's weights are made for plain networks of ReLUs: a convolution doubles the second
# moment, a ReLU halves it. A branch is two convolutions with one ReLU between them:
# times two. With the shortcut that makes three times what came, of which the ReLU after
# the addition lets about two thirds pass, so the square about doubles at every block,
# forward and backward; the border (below) takes some of it away again. Batch norm is
# what keeps a fresh residual network small, or a branch that starts at zero
# ([notebook 09](09_what_skips_fix.ipynb)).
#
# </details>
#
# And the plain net's: should He's weights not keep it? They count on nine taps that all
# see a pixel. In the last stage a digit is 2x2 pixels, where four of nine taps do, and
# the others read the border of zeros. **Predict:** what if the same digits are
# enlarged four times, to 32x32 pixels, with the same weights?

# %%
print("side  taps that see a pixel")
for side in (32, 16, 8, 4, 2):
    inside = (3 * side - 2) ** 2 / (3 * side) ** 2
    print(f"{side:4}  {inside:.0%}")

large = x[:8].repeat(4, axis=2).repeat(4, axis=3)
deep = nr.models.plain56().eval()
factors = [growth(nr.lens.ledger(deep, images, y[:8])) for images in (x[:8], large)]
print("images", x[:8].shape[1:], "and", large.shape[1:])
print(f"plain net of 56 layers: times {factors[0]:.3e} and {factors[1]:.3e}")
assert factors[1] > 100 * factors[0]

# %% [markdown]
# Much of the vanishing was the border's doing. So "how large is the gradient" is a
# question about weights *and* normalisation *and* shortcuts, and even about the size of
# the images. Nor is growth the last word: an optimiser can divide a gradient that is
# too large, and batch norm makes a network blind to the size of its filters. What
# shortcuts do besides is the subject of notebook 09.
#
# All twelve books in one picture. Three switches: depth, batch norm, shortcuts.


# %%
def along_the_way(depth, batch_norm, shortcuts):
    """Draw the norm at every block, with the other network pale behind it."""
    chosen = "resnet" if shortcuts == "on" else "plain"
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=7.2, height=3.8)
        for kind, series in (("plain", style.PLAIN), ("resnet", style.RESIDUAL)):
            rows = books[kind, depth, batch_norm].rows
            norms = [row.grad_output_norm for row in reversed(rows)]
            norms = np.array([*norms, rows[0].grad_input_norm]) / norms[0]
            look = series.keywords(len(norms))
            if kind != chosen:
                look |= {"color": style.tint(series.color, 0.3), "zorder": 1}
            label = "with shortcuts" if kind == "resnet" else "shortcuts off"
            axes.plot(norms, label=label, **look)
        axes.set_yscale("log")
        axes.set_xlabel("blocks behind it, from the loss to the images")
        axes.set_ylabel("norm, at the last block 1")
        axes.set_title(f"{depth} layers, batch norm {batch_norm}")
        axes.legend(loc="upper left")
    return figure


nr.course.sliders(
    along_the_way,
    "56 layers with batch norm: without shortcuts (dashed) a straight line on a "
    "logarithmic scale, so exponential growth; with them (blue) far less, and most of "
    "it at the right, in the first blocks, where branches still weigh as much as what "
    "they are added to. Switch batch norm off: the dashed line falls, the blue one "
    "soars.",
    start={"depth": 56, "batch_norm": "on", "shortcuts": "on"},
    depth=depths,
    batch_norm=["on", "off"],
    shortcuts=["on", "off"],
)

# %% [markdown]
# ## Paths
#
# At every block the gradient can take the shortcut or cross the branch. Nine blocks
# make $2^9 = 512$ ways from the loss to the images. Three blocks with scalar branches
# $F(x) = 0.1x$ and no ReLU, by hand:
#
# $$ (1 + 0.1)^3 = 1 + 3 \cdot 0.1 + 3 \cdot 0.01 + 0.001 $$
#
# One path crosses no branch, three cross one, three cross two, one crosses all.

# %%
parts, paths = np.array([1.0]), np.array([1])
for _ in range(3):
    parts = np.convolve(parts, [1, 0.1])  # around, or through: one power more
    paths = np.convolve(paths, [1, 1])
print("paths", paths, " parts", parts.round(6), " sum", round(parts.sum(), 6))
assert paths.tolist() == [1, 3, 3, 1]
assert math.isclose(parts.sum(), 1.1**3)

# %% [markdown]
# The real thing is no different. After the forward pass everything is fixed (masks,
# statistics), and the backward pass is *linear* in the gradient that comes in. So the
# gradient is exactly the sum over all paths, and the
# [spectrum](../npresnet/lens/spectrum/measure.py#L32-L121 "spectrum") carries those that crossed
# equally many branches together: two lines at each block.
#
# **Predict.** The average path of a ResNet-56 crosses 13.5 of its 27 branches. How many
# has the average *gradient* crossed?

# %%
spectrum = nr.lens.spectrum(nr.models.resnet56(), x[:16], y[:16])
nr.course.show(
    spectrum.plot(),
    "Above: dashed the paths that there are, blue the gradient that took them. The "
    "gradient sits left of the paths: short ones matter more than their number. Below: "
    "norms of the parts, logarithmic; at the right end the one path through all 27 "
    "branches, next to nothing.",
)
print("paths:", f"{sum(spectrum.paths):,}", " passes through a branch:", 27 * 28 // 2)
print(
    f"branches crossed: {spectrum.mean_branches:.1f} by the gradient, "
    f"{spectrum.mean_branches_of_paths} by the average path"
)
assert spectrum.paths[2] == math.comb(27, 2)
assert spectrum.total_error < 1e-4  # the parts add up to the ordinary gradient
assert math.isclose(spectrum.shares.sum(), 1, rel_tol=1e-4)
assert spectrum.mean_branches < 0.75 * spectrum.mean_branches_of_paths

# %% [markdown]
# **"Most paths are of middle length, so most of the gradient is."** Count how few paths
# carry half of it:

# %%
k = int(np.searchsorted(np.cumsum(spectrum.shares), 0.5))
fraction = sum(spectrum.paths[: k + 1]) / sum(spectrum.paths)
print(f"paths that cross {k} branches or fewer: {fraction:.1%} of all paths,")
print(f"and {np.cumsum(spectrum.shares)[k]:.0%} of the gradient")
assert fraction < 0.25

# %% [markdown]
# **"So the shortcuts alone carry most."** They are one path of $2^{27}$, and it passes
# 27 ReLUs:

# %%
print(f"the path along shortcuts only: {spectrum.shortcut_share:.2%}")
assert abs(spectrum.shortcut_share) < 0.1

# %% [markdown]
# That is a fresh network. After training it may be otherwise:
# [the lens](../docs/lens.md#which-paths-the-gradient-takes) has a trained one whose
# gradient took paths *longer* than average.
#
# ## Books find mistakes
#
# The ledger computes the two gradients of a fork one by one, and compares their sum
# with what the block handed on. **Predict** the largest `identity error` if somebody
# forgets to add the shortcut's.

# %%
with nr.lens.bugs.inject("shortcut_gradient_forgotten"):
    wrong = nr.lens.ledger(nr.models.resnet20(), x, y)
worst = [max(row.identity_error for row in one.rows) for one in (book, wrong)]
print(f"right: {worst[0]:.0e}   shortcut forgotten: {worst[1]:.2f}")
assert worst[0] < 1e-5
assert worst[1] > 0.1

# %% [markdown]
# ## Exercises
#
# **1.** How many paths of a ResNet-20 cross exactly two branches?

# %%
answer = ...
nr.course.check("08.1", answer)

# %% [markdown]
# **2.** The norm of what a fork hands on, from the norms of what comes out of the
# branch and out of the shortcut, and the cosine of their angle.


# %%
def norm_behind_fork(branch, shortcut, cosine):
    """Return the norm of the sum of two gradients."""
    ...


nr.course.check("08.2", norm_behind_fork)

# %% [markdown]
# **3.** A block on vectors: $y = \mathrm{relu}(F(x) + x)$. You get $g$, the output $y$,
# and the Jacobian $J$ of $F$ as a matrix. Return $\partial \ell / \partial x$.


# %%
def block_backward(g, y, J):
    """Carry the gradient back through a residual block."""
    ...


nr.course.check("08.3", block_backward)

# %% [markdown]
# **4.** A spectrum of scalars. Block number $l$ multiplies by `branches[l]` through its
# branch, and by `shortcuts[l]` along its shortcut. Return an array whose entry $k$ is
# the sum over all paths that cross $k$ branches.


# %%
def parts(branches, shortcuts):
    """Split the derivative by the number of branches crossed."""
    ...


nr.course.check("08.4", parts)

# %% [markdown]
# **5.** On 32 images of CIFAR-10, the gradient in a fresh plain net of 56 layers grows
# 6,600 times through its 27 blocks ([the lens](../docs/lens.md)). What factor is that
# for each of the 54 layers in them, if it is the same for all?

# %%
answer = ...
nr.course.check("08.5", answer)
