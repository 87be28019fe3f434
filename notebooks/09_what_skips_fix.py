# %% [markdown]
# # 09 · What do skips fix?
#
# **Which of the things that everybody says about shortcuts are true, and under which
# conditions?**
#
# Shortcuts help. He et al. ([arXiv 1512.03385](https://arxiv.org/abs/1512.03385))
# showed that beyond doubt. *Why* they help is told in sentences that are repeated more
# often than tested. Here are nine of them, each with a cell that tests it. Networks are
# small and images are digits: a false sentence is refuted by one counterexample, but a
# true one is only *seen* here, not proved. The same on CIFAR-10 is
# in [the lens](../docs/lens.md).

# %%
import math

import numpy as np

import npresnet as nr
from npresnet.plots import style

train, _ = nr.data.digits()
x = nr.data.normalize(train.images[:32], train.mean, train.std)
y = train.labels[:32]
print("x", x.shape, x.dtype, " y", y.shape)


def growth(model):
    """Compare the gradient behind all blocks with that before them."""
    rows = nr.lens.ledger(model, x, y).rows
    return rows[0].grad_input_norm / rows[-1].grad_output_norm


# %% [markdown]
# ## 1. "Skips stop gradients from vanishing."
#
# With which weights, and with or without batch norm? Two kinds of weights: those of He
# et al., of variance $2/(C \cdot KH \cdot KW)$, and six times less variance, which is
# what a convolution in PyTorch begins with if nobody draws its weights. Batch norm is
# switched off by evaluation mode: in a fresh network it is the identity, up to
# five parts in a million ([notebook 08](08_gradients_flow.ipynb)).
#
# **Predict.** Four conditions, 56 layers, plain and residual. Mark the plain nets whose
# gradient vanishes.


# %% tags=["varies"]
def fresh(name, batch_norm, small):
    """Make a network; batch norm on is training mode, off is evaluation mode."""
    model = nr.models.create(name).train(batch_norm)
    for module in model.modules():
        if small and isinstance(module, nr.nn.Conv2d):
            module.weight.data *= np.float32(1 / math.sqrt(6))
    return model


factors = {}
print("weights     batch norm     plain   residual")
for small in (False, True):
    for batch_norm in (True, False):
        pair = [
            growth(fresh(name, batch_norm, small)) for name in ("plain56", "resnet56")
        ]
        factors[small, batch_norm] = pair
        words = "small" if small else "He's", "on" if batch_norm else "off"
        print(f"{words[0]:10}  {words[1]:10}  {pair[0]:8.1e}   {pair[1]:8.1e}")

with style.house_style():
    figure, (axes,) = style.new_figure(1, width=7, height=3.4)
    places = np.arange(4)
    for which, series in enumerate((style.PLAIN, style.RESIDUAL)):
        heights = [pair[which] for pair in factors.values()]
        name = ("plain", "residual")[which]
        look = {"color": series.color, "marker": series.marker, "linestyle": ""}
        axes.plot(places, heights, label=name, **look)
    axes.axhline(1, color=style.GREY, linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(
        places, ["He, norm", "He, no norm", "small, norm", "small, no norm"]
    )
    axes.set_ylabel("growth through the blocks")
    axes.legend(loc="lower left")
nr.course.show(
    figure,
    "Above the line the gradient grows on its way to the images, below it shrinks. Two "
    "plain nets vanish, both without batch norm; with it, the plain net's gradient is "
    "the largest of all.",
)
plain, residual = ([pair[i] for pair in factors.values()] for i in (0, 1))
assert plain[0] > 100 * residual[0] > 100  # norm: plain grows more
assert plain[1] < 1e-3 < residual[1]  # He's weights, no norm: plain vanishes
assert plain[3] < 1e-20 < 1e-2 < residual[3]  # small weights, no norm: even more
assert 0.5 < plain[2] / plain[0] < 2  # batch norm ignores the scale of weights

# %% [markdown]
# **True without batch norm, false with it.** Every plain network in the paper has batch
# norm. What is wrong with those cannot be that gradients vanish, and the paper says so
# (section 4.1).
#
# ## 2. "Through a skip the gradient is at least 1."
#
# It would be if $y = F(x) + x$ ended there and $F$ were harmless. Two objections. The
# ReLU *after* the addition masks the shortcut as well, and $\partial F/\partial x$ may
# be negative:
#
# $$ \frac{\partial y}{\partial x} = [s \gt 0] \left( 1 + \frac{\partial F}{\partial x}
# \right) $$
#
# A block with one channel, whose branch is made by hand: $F(x) = f \cdot
# \mathrm{relu}(x)$. **Predict** the three gradients at a pixel with $x = 2$, for $f =
# 0$, $-0.5$ and $-1$; and at one with $x = -2$.

# %%
pixels = np.zeros((1, 1, 3, 3))
pixels[0, 0, 1, 1], pixels[0, 0, 0, 0] = 2.0, -2.0
found = {}
for f in (0.0, -0.5, -1.0):
    block = nr.models.BasicBlock(1, 1, dtype=np.float64).eval()
    for conv, factor in ((block.conv1, 1.0), (block.conv2, f)):
        conv.weight.data[:] = 0
        conv.weight.data[0, 0, 1, 1] = factor  # the tap in the middle
    with nr.using_backend("reference"):
        block(pixels)
        gradient = block.backward(np.ones((1, 1, 3, 3)))[0, 0]
    found[f] = gradient[1, 1], gradient[0, 0]
    print(f"f = {f:4}:  at x = 2: {gradient[1, 1]:.3f}   at x = -2: {gradient[0, 0]}")
assert math.isclose(found[0.0][0], 1, rel_tol=1e-4)
assert math.isclose(found[-0.5][0], 0.5, rel_tol=1e-4)
assert abs(found[-1.0][0]) < 1e-4
assert all(masked == 0 for _, masked in found.values())

# %% [markdown]
# In a network the masks of all blocks multiply along the shortcuts. How much of the
# first stage of a fresh ResNet-56 is open in *every* one of its nine blocks?
# **Predict:** each single ReLU lets some three quarters pass.

# %%
opened = []


def note(module, inputs, output):
    """Keep where the ReLU after the addition is open."""
    if isinstance(module, nr.models.ResidualBlock):
        opened.append(output > 0)


model = nr.models.resnet56()
with nr.nn.watching(note), nr.no_grad():
    model(x)
first_stage = opened[:9]
everywhere = np.logical_and.accumulate(first_stage[::-1])
shares = [float(mask.mean()) for mask in everywhere]
print("mask", first_stage[0].shape)
print("open one by one:", " ".join(f"{m.mean():.0%}" for m in first_stage[::-1]))
print("open so far:    ", " ".join(f"{share:.0%}" for share in shares))
assert shares == sorted(shares, reverse=True)
assert shares[-1] < 0.6 * shares[0]

# %% [markdown]
# **False.** Where all ReLUs are open, the path along the shortcuts has the factor
# exactly 1, whatever the weights are; elsewhere it has the factor 0. And that path is
# one of many, which may cancel it. (With the ReLU *inside* the branch, as in
# [arXiv 1603.05027](https://arxiv.org/abs/1603.05027), the first objection falls away.)
#
# ## 3. "Where the two ways meet, their gradients are averaged."
#
# Let the numbers decide. $\ell = \sum g \cdot y$, so $\partial \ell/\partial y = g$.
# The slope of $\ell$ along a direction $d$, measured by central differences, has to be
# $\sum \partial\ell/\partial x \cdot d$.

# %%
rng = np.random.default_rng(0)
block = nr.models.BasicBlock(4, 4, dtype=np.float64, rng=0)
inside, g, d = (rng.standard_normal((2, 4, 6, 6)) for _ in range(3))
h = 1e-6
with nr.using_backend("reference"):
    after, before = (float((g * block(inside + t * d)).sum()) for t in (h, -h))
    slope = (after - before) / (2 * h)
    block(inside)
    summed = float((block.backward(g) * d).sum())
print(f"measured {slope:.6f}   added {summed:.6f}   averaged {summed / 2:.6f}")
assert math.isclose(slope, summed, rel_tol=1e-5)
assert not math.isclose(slope, summed / 2, rel_tol=0.1)

# %% [markdown]
# **False: they add.** $x$ is used twice, and a change of $x$ changes $s$ twice.
#
# ## 4. "The gradient takes short paths."
#
# Veit et al. ([arXiv 1605.06431](https://arxiv.org/abs/1605.06431)) found that in a
# network of 110 layers most of it crosses few branches. A path crosses 27 of the 54 on
# average. **Predict** the average for the gradient, with batch norm and without.

# %%
crossed = {}
for name, batch_norm in (("resnet110", True), ("resnet110", False), ("resnet20", True)):
    model = nr.models.create(name).train(batch_norm)
    result = nr.lens.spectrum(model, x[:16], y[:16])
    assert result.total_error < 1e-4  # the parts add up to the gradient
    crossed[name, batch_norm] = result.mean_branches
    words = "with   " if batch_norm else "without"
    print(
        f"{name:9} {words} batch norm: {result.mean_branches:6.3f}, the average path "
        f"{result.mean_branches_of_paths}"
    )
    if name == "resnet110" and batch_norm:
        figure = result.plot()
nr.course.show(
    figure,
    "ResNet-110, fresh, with batch norm: of the gradient (blue) nearly nothing took "
    "paths through 20 branches or more, and nearly all paths (dashed) are that long.",
)
assert crossed["resnet110", True] < 13
assert crossed["resnet110", False] > 15
assert abs(crossed["resnet20", True] - 4.5) < 0.5

# %% [markdown]
# **True in 110 layers with batch norm, at the start.** It is batch norm that weakens
# the deeper branches; without it the paths are twice as long. And in 20 layers there is
# nothing to see, neither here nor in a trained network
# ([the lens](../docs/lens.md#which-paths-the-gradient-takes)).
#
# ## 5. "With gamma zero, a block cannot learn."
#
# One often lets the last batch norm of each branch begin with $\gamma = 0$
# (`zero_init_residual`; Goyal et al.,
# [arXiv 1706.02677](https://arxiv.org/abs/1706.02677), section 5.1). Then $F = 0$, and
# nothing that lies before that $\gamma$ in the branch gets any gradient. **Predict:**
# which parameters of a block get one in the first step? And in the second?


# %%
def zeroed(name):
    """Make a network in which every branch ends in a gamma of 0."""
    model = nr.models.create(name)
    for module in model.modules():
        if isinstance(module, nr.models.BasicBlock):
            module.bn2.weight.data[:] = 0
    return model


model = zeroed("resnet20")
criterion = nr.nn.CrossEntropyLoss()
optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
moving = []
for step in (1, 2):
    model.zero_grad()
    criterion(model(x), y)
    model.backward(criterion.backward())
    block = model.layer2[1]
    moving.append([n for n, p in block.named_parameters() if p.grad.any()])
    print(f"step {step}: {', '.join(moving[-1])}")
    optimizer.step()
assert moving[0] == ["bn2.weight", "bn2.bias"]
assert len(moving[1]) == len(list(block.named_parameters())) == 6

# %% [markdown]
# **False.** $\partial\ell/\partial\gamma$ contains $\hat x$, not $\gamma$: gamma (and
# beta) move in the first step, and from the second on everything does. In exchange,
# nothing explodes at the start, even without batch norm's help:

# %%
deep = nr.models.resnet110().eval(), zeroed("resnet110").eval()
ordinary, zero = map(growth, deep)
print(f"110 layers, no batch norm: times {ordinary:.3e}; gamma zero: {zero:.3f}")
assert ordinary > 1e4
assert 0.1 < zero <= 1

# %% [markdown]
# ## 6. "Deep plain nets overfit."
#
# Then they would do well on the images that they are trained on. Four networks learn
# *the same 32 digits* by heart, 30 steps. **Predict** who wins.


# %%
def learn(name, steps=30):
    """Train on the same batch; return the model and its losses."""
    model = nr.models.create(name)
    optimizer = nr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(steps):
        model.zero_grad()
        losses.append(float(criterion(model(x), y)))
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
    with nr.no_grad():
        for _ in range(40):  # running statistics of the final weights
            model(x)
    return model.eval(), losses


trained, curves = {}, {}
for name in ("plain20", "resnet20", "plain56", "resnet56"):
    trained[name], curves[name] = learn(name)

with style.house_style():
    figure, (axes,) = style.new_figure(1, width=7, height=3.6)
    for series, (name, losses) in zip(
        style.series_of(list(curves)), curves.items(), strict=True
    ):
        axes.plot(losses, label=name, **series.keywords(len(losses)))
    axes.axhline(math.log(10), color=style.GREY, linewidth=1)
    axes.set_ylim(0, 4)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss, nats")
    axes.legend(loc="upper right")
nr.course.show(
    figure,
    "Training loss on 32 images; the grey line is guessing. The plain net of 56 layers "
    "hardly leaves it, though it could do all that the one of 20 does, if its further "
    "layers were identities.",
)
ends = {name: float(np.mean(losses[-5:])) for name, losses in curves.items()}
assert ends["plain20"] < 0.7 * ends["plain56"]
assert ends["resnet56"] < 0.5 * ends["plain56"]

# %% [markdown]
# **False: they underfit.** That is the *degradation* of the paper: the deeper plain net
# is worse on its own training images. Thirty steps with one learning rate show how slow
# it is, not where it would end: whole training runs, with their limits, are in
# [degradation](../docs/lens_depth.md).
#
# ## 7. "Skips keep gradients from shattering."
#
# A step downhill is worth something if the gradient a little further on is similar.
# Balduzzi et al. ([arXiv 1702.08591](https://arxiv.org/abs/1702.08591)) walk from one
# image to another and ask how alike the gradients of neighbours are: 1 is the same,
# 0 is white noise.

# %% tags=["varies"]
alike = {}
for batch_norm in (True, False):
    for name in ("plain56", "resnet56"):
        model = nr.models.create(name).train(batch_norm)
        result = nr.lens.shattered(model, x, lines=1, points=128, lags=8)
        alike[name, batch_norm] = result.neighbours
        words = "with   " if batch_norm else "without"
        print(f"{name:8} {words} batch norm: {result.neighbours:z.2f}")
assert alike["plain56", True] < 0.2
assert alike["resnet56", True] > 0.5
assert alike["plain56", False] > alike["plain56", True] + 0.2

# %% [markdown]
# **True with batch norm**, and this may be what is wrong with deep plain nets whose
# gradients are large enough: they are large, and point anywhere. Without batch norm the
# plain net shatters less, but there its gradient vanishes. (How alike neighbours are
# depends on how far apart they are: 128 images on a line here, 256 in
# [the lens](../docs/lens.md#shattered-gradients), which has more depths, too.)
#
# ## 8. "A residual network hardly misses a block."
#
# If it is many paths that do not need each other. The two nets of 20 layers that have
# just learned 32 digits: every block deleted once, nothing trained afterwards.

# %% tags=["varies"]
lesions = {
    name: nr.lens.lesion(trained[name], x, y, removals=[], draws=0)
    for name in ("resnet20", "plain20")
}
for name, result in lesions.items():
    left = [row.accuracy for row in result.rows]
    print(
        f"{name:8} whole {result.accuracy:.0%}; one block deleted: "
        + " ".join(f"{share:.0%}" for share in left)
    )
means = {
    n: float(np.mean([r.accuracy for r in res.rows])) for n, res in lesions.items()
}
assert min(result.accuracy for result in lesions.values()) > 0.9
assert means["resnet20"] > means["plain20"] + 0.2
assert min(row.accuracy for row in lesions["resnet20"].rows) < 0.95

# %% [markdown]
# **Half true.** Far less is lost than in the plain net, but some blocks are missed a
# lot. Veit et al. cut one of 54 blocks, this is one of nine. Networks that were
# trained properly: [lesions](../docs/lens_lesions.md).
#
# ## 9. "Plain nets have chaotic loss landscapes."
#
# A line through the weights of the same two networks, in a random direction with the
# length of each filter.

# %%
slices = [
    nr.lens.landscape(trained[name], x, y, dimensions=1, points=21)
    for name in ("resnet20", "plain20")
]
nr.course.show(
    slices[0].plot(beside=slices[1]),
    "The loss around the weights (0 in the middle). At 20 layers the plain net has one "
    "valley, as the residual net does.",
)
for result in slices:
    print(f"{result.network}: {result.minima} local minimum on the line")
    assert result.minima == 1

# %% [markdown]
# **Not at 20 layers.** Li et al. ([arXiv 1712.09913](https://arxiv.org/abs/1712.09913))
# say so as well: it is at 56 layers that the plain net's becomes rough.
# [The lens](../docs/lens.md#the-loss-around-the-weights) has 32 and 56 side by side.
#
# ## The honest version
#
# | what is said | what the cells found |
# |---|---|
# | skips stop gradients from vanishing | without batch norm; with it none vanish |
# | at least 1 through a skip | false: the ReLU masks it, the branch may cancel it |
# | gradients at a fork are averaged | false: they add |
# | short paths | in 110 layers with batch norm, at the start |
# | with gamma zero a block cannot learn | false: gamma moves first, then everything |
# | deep plain nets overfit | false: they learn even their training images worse |
# | gradients do not shatter | true with batch norm; without it plain ones do less |
# | blocks are not missed | less than in a plain net, but they are |
# | plain nets are chaotic | not at 20 layers |
#
# What remains is not one reason. With batch norm, which keeps sizes in order, a
# shortcut makes a deep network begin close to a shallow one: its branches count little,
# its paths are short, its gradients are smooth, and training goes on from there.

# %% [markdown]
# ## Exercises
#
# **1.** A fresh plain net of 56 layers, He's weights, batch norm in training mode. The
# gradient at its first block, compared with that at its last: `"smaller"`, `"equal"` or
# `"larger"`?

# %%
answer = ...
nr.course.check("09.1", answer)

# %% [markdown]
# **2.** A block on one number: $y = \mathrm{relu}(f x + x)$. Return $\partial y /
# \partial x$, with 0 where the ReLU gets exactly 0.


# %%
def slope_of_block(f, x):
    """Differentiate relu(f*x + x) by x."""
    ...


nr.course.check("09.2", slope_of_block)

# %% [markdown]
# **3.** Every ReLU after an addition is open for a share $p$ of the elements, each
# independently of the others. Which share passes along the shortcuts of `blocks` blocks?


# %%
def open_share(p, blocks):
    """Return the share of elements that no ReLU on the way masks."""
    ...


nr.course.check("09.3", open_share)

# %% [markdown]
# **4.** A *bottleneck* begins with the weight of its last batch norm at zero. Which of
# its parameters get a gradient in the first step? A tuple of names such as
# `("conv1.weight", ...)`, in alphabetical order.

# %%
answer = (...,)
nr.course.check("09.4", answer)

# %% [markdown]
# **5.** Why batch norm makes paths short. The stream begins with variance 1; each
# branch ends in batch norm and adds a variance of 1, independent of the rest (leave the
# ReLU out). Behind block number $l = 1, 2, \dots$: which share of the variance came
# from that block's branch?


# %%
def share_of_branch(block):
    """Return the share that a block's own branch has in the variance behind it."""
    ...


nr.course.check("09.5", share_of_branch)
