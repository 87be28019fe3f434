# %% [markdown]
# # 03 · Batch norm, twice
#
# **What does batch norm compute in training and in evaluation, and why is its gradient
# more than a factor?**
#
# A convolution's outputs may be anywhere: large in one channel, tiny in the next, and
# elsewhere again after the next step. *Batch norm* moves every channel to mean 0 and
# variance 1, then lets two learned numbers scale and shift it. The forward pass is one
# line. The backward pass is where hand-written networks are usually wrong, because the
# mean and the variance depend on the input, too.

# %%
import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.backend import reference

rng = np.random.default_rng(0)

# %% [markdown]
# ## Three channels
#
# Sixty-four digits go through a convolution with three kernels and biases that lie far
# apart; then through batch norm. A fresh layer scales by $\gamma = 1$ and shifts by
# $\beta = 0$.

# %%
train, _ = nr.data.digits(channels=1)
digits = train.images[:64] / 255
kernels = (
    rng.standard_normal((3, 1, 3, 3)) * np.array([0.3, 1.0, 2.0])[:, None, None, None]
)
x, _ = F.conv2d_forward(digits, kernels, np.array([4.0, 0.0, -8.0]), padding=1)


def fresh(channels):
    """Return weight, bias, running mean and running variance of a fresh layer."""
    zeros, ones = np.zeros(channels), np.ones(channels)
    return ones, zeros, zeros, ones


y, _, running_mean, running_var = F.batch_norm_forward(x, *fresh(3), training=True)
print("digits", digits.shape, " x", x.shape, " y", y.shape)


def histograms(planes, titles):
    """Draw how the values of each of three channels are distributed."""
    style = nr.plots.style
    with style.house_style():
        figure, axes = style.new_figure(len(planes), width=8.6, height=2.7)
        for ax, values, title in zip(axes, planes, titles, strict=True):
            edges = np.linspace(values.min(), values.max(), 60)
            for c, look in enumerate((style.TRAIN, style.VALIDATION, style.TEST)):
                ax.hist(
                    values[:, c].ravel(),
                    edges,
                    histtype="step",
                    color=look.color,
                    linestyle=look.linestyle,
                    linewidth=1.6,
                    label=f"channel {c}",
                )
            ax.set(title=title, yscale="log", xlabel="value", ylabel="pixels")
        axes[-1].legend(fontsize=8.5)
    return figure


nr.course.show(
    histograms([x, y], ["before", "after batch norm"]),
    "Left, three channels at three places and of three widths. Right, all have mean 0 "
    "and variance 1. Only place and width have changed: each keeps its shape.",
)
assert np.allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
assert np.allclose(y.var(axis=(0, 2, 3)), 1, atol=1e-3)

# %% [markdown]
# ## The mean of what?
#
# **Predict.** `x` is `(64, 3, 8, 8)`. How many means are there: 64, one per image;
# 3, one per channel; or 192, one per plane? And over how many values is each?

# %%
mean = x.mean(axis=(0, 2, 3))
m = x.size // x.shape[1]
print("means", mean.shape, " each over m = N*H*W =", m, "values")
assert mean.shape == (3,)
assert m == 64 * 8 * 8 == 4096

# %% [markdown]
# One channel, $x_1 \dots x_m$, all images and all pixels in one heap
# (letters as in [the legend](../docs/notation.md)):
#
# $$ \mu = \frac1m \sum_i x_i, \qquad
#    \sigma^2 = \frac1m \sum_i (x_i - \mu)^2 + \mathrm{eps}, \qquad
#    \hat x_i = \frac{x_i - \mu}{\sigma}, \qquad
#    y_i = \gamma \hat x_i + \beta $$
#
# eps, 0.00001, is there for a channel that does not vary: it would be divided by zero.

# %%
variance = ((x - mean[:, None, None]) ** 2).mean(axis=(0, 2, 3))
sigma = np.sqrt(variance + 1e-5)
x_hat = (x - mean[:, None, None]) / sigma[:, None, None]
print("mean    ", mean)
print("variance", variance)
assert np.allclose(x_hat, y, rtol=1e-12, atol=1e-12)

# %% [markdown]
# **"Every image is normalised."** The heap is. A single image keeps what makes it
# different from the others, such as more ink:

# %%
per_image = y.mean(axis=(2, 3))
print("means of the first four images, channel 1:", per_image[:4, 1].round(2))
assert np.abs(per_image).max() > 0.1

# %% [markdown]
# **"Batch norm makes the values Gaussian."** It subtracts one number and divides by
# another. A lopsided channel stays exactly as lopsided:


# %%
def skewness(values):
    """Measure how lopsided a distribution is; a Gaussian has 0."""
    centred = values - values.mean()
    return (centred**3).mean() / (centred**2).mean() ** 1.5


for c in range(3):
    before, after = skewness(x[:, c]), skewness(y[:, c])
    print(f"channel {c}: skewness {before:6.3f} before, {after:6.3f} after")
    assert np.isclose(before, after)
    assert abs(after) > 0.1

# %% [markdown]
# **Predict.** The input is multiplied by 10, and 3 is added. What happens to the output?

# %%
again, *_ = F.batch_norm_forward(10 * x + 3, *fresh(3), training=True)
print(f"largest change: {np.abs(again - y).max():.4f}")
assert np.allclose(again, y, atol=1e-3)  # up to eps

# %% [markdown]
# Nothing. So a bias in the convolution before is wasted, and ResNets have none there:
# batch norm takes it away again, and $\beta$ does its work. Nor does the *length* of a
# kernel matter. Keep this in mind; the backward pass will know it.
#
# **"Normalising costs the network what it could express."** $\gamma$ and $\beta$ can
# undo it:

# %%
undone, *_ = F.batch_norm_forward(x, sigma, mean, *fresh(3)[2:], training=True)
assert np.allclose(undone, x, rtol=1e-12, atol=1e-12)
print("with weight = sigma and bias = mean, the input comes back")

# %% [markdown]
# ## Two variances
#
# When the network is used, there may be one image, and no batch to take statistics of.
# So training keeps *running* ones: `running_mean` and `running_var` take in a little of
# each batch, by `momentum`, which is 0.1:
#
# $$ \mathrm{running} \leftarrow (1 - \mathrm{momentum}) \cdot \mathrm{running} +
#    \mathrm{momentum} \cdot \mathrm{new} $$
#
# **Predict.** A channel holds two values, 0 and 2. The running statistics stand at 0
# and 1. What are they after this batch?


# %%
def channel(*values):
    """Make one channel of m images with one pixel each: (m, 1, 1, 1)."""
    return np.array(values, dtype=float).reshape(-1, 1, 1, 1)


out, _, new_mean, new_var = F.batch_norm_forward(
    channel(0, 2), *fresh(1), training=True
)
print("out", out.ravel().round(4), " running mean", new_mean, " running var", new_var)
assert np.allclose(new_mean, 0.9 * 0 + 0.1 * 1)
assert np.allclose(new_var, 0.9 * 1 + 0.1 * 2)

# %% [markdown]
# <details><summary>Why not 0.9 + 0.1 = 1.0</summary>
#
# The mean is 1, and both values are 1 away from it. Divided by $m = 2$, that is a
# variance of 1: the *biased* one, with which the batch is normalised (the outputs are
# -1 and 1). Divided by $m - 1 = 1$, it is 2: the *unbiased* one, and that is what
# `running_var` takes in.
#
# </details>
#
# Two variances in one layer, and both for a reason. The outputs of a batch shall have
# variance 1, whatever $m$; that is the biased one by definition. The running one shall
# tell what the *other* images are like. A few values lie closer to their own mean than
# to the true one, so the biased variance is too small on average, by $(m - 1)/m$.

# %%
batches = rng.standard_normal((20_000, 4))  # true variance 1, m = 4
biased, unbiased = batches.var(axis=1), batches.var(axis=1, ddof=1)
print(f"mean over 20,000 batches of 4: biased {biased.mean():.2f}", end=", ")
print(f"unbiased {unbiased.mean():.2f}")
assert np.isclose(biased.mean(), 3 / 4, atol=0.02)
assert np.isclose(unbiased.mean(), 1, atol=0.02)

m_first = 128 * 32 * 32  # in the first stage of a ResNet-20, batch of 128
print(f"m = {m_first:,}: they differ by 1 in {m_first - 1:,}")

# %% [markdown]
# So in most layers nobody would notice the wrong one. A test has to use a small $m$.
#
# **"Momentum 0.1 keeps a tenth of the old value."** It keeps nine tenths. (Other
# frameworks weigh the old value; then the same thing is called 0.9.) After $T$ batches,
# $0.9^T$ of the start is left.

# %%
stays = np.zeros(1)
for _ in range(10):
    _, _, stays, _ = F.batch_norm_forward(
        channel(4, 6), np.ones(1), np.zeros(1), stays, np.ones(1), training=True
    )
print(f"running mean after ten batches of mean 5: {stays[0]:.3f}")
assert np.isclose(stays[0], 5 * (1 - 0.9**10))

# %% [markdown]
# Move the sliders: a large momentum follows every whim of the last batch, a small one
# is late.


# %%
def running(momentum, batch_size):
    """Draw the running statistics over sixty batches of mean 2, variance 4."""
    draws = np.random.default_rng(1).normal(2, 2, (60, batch_size, 1, 1, 1))
    mean, var, seen = np.zeros(1), np.ones(1), [(0.0, 1.0)]
    for x in draws:
        _, _, mean, var = F.batch_norm_forward(
            x, np.ones(1), np.zeros(1), mean, var, training=True, momentum=momentum
        )
        seen.append((mean[0], var[0]))
    style = nr.plots.style
    with style.house_style():
        figure, axes = style.new_figure(2, width=8.6, height=2.7)
        for ax, values, truth, name in zip(
            axes,
            np.transpose(seen),
            (2, 4),
            ("running_mean", "running_var"),
            strict=True,
        ):
            ax.plot(values, **style.TRAIN.keywords(61), label="running")
            ax.axhline(truth, color=style.VERMILION, lw=1.4, label="truth")
            ax.set(title=name, xlabel="batches", ylim=(0, 2 * truth))
        axes[0].legend(fontsize=8.5)
    return figure


nr.course.sliders(
    running,
    "Momentum 0.1, batches of 16 values: after some thirty batches the start is "
    "forgotten, and the value wavers around the truth. Try 1 (only the last batch "
    "counts) and 0.01 (sixty batches are not enough).",
    start={"momentum": 0.1, "batch_size": 16},
    momentum=[0.01, 0.03, 0.1, 0.3, 1.0],
    batch_size=[4, 16, 64],
)

# %% [markdown]
# ## Frozen
#
# The second batch norm, in evaluation mode: the same formula, with the running
# statistics in place of the batch's. It looks like a small difference.
#
# **Predict.** One image of a batch is replaced. Does the output for *another* image
# change: in training? In evaluation?

# %%
layer = nr.nn.BatchNorm2d(3, dtype=np.float64)
for _ in range(50):
    layer(x)  # in training mode: fifty times the same batch
other = x.copy()
other[1:] = rng.standard_normal(other[1:].shape)  # all but image 0

layer.train()
in_training = np.abs(layer(x)[0] - layer(other)[0]).max()
layer.eval()
in_evaluation = np.abs(layer(x)[0] - layer(other)[0]).max()
print(f"image 0 changes by {in_training:.2f} in training", end=", ")
print(f"by {in_evaluation:.2f} in evaluation")
assert in_training > 0.1
assert in_evaluation == 0

# %% [markdown]
# In training mode images see each other, through the statistics. There is no such thing
# as "the output for this image", only for this image *in this batch*.
#
# **"Without a backward pass, a forward pass changes nothing."** In training mode it
# moves the running statistics. Who forgets `eval()` before measuring has another
# network afterwards.

# %%
layer.train()
before = layer.running_mean
layer(other)
after_training = layer.running_mean
layer.eval()
layer(other)
print("moved in training:", not np.array_equal(before, after_training))
print("moved in evaluation:", not np.array_equal(after_training, layer.running_mean))
assert not np.array_equal(before, after_training)
assert np.array_equal(after_training, layer.running_mean)
assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]

# %% [markdown]
# Frozen, $\mu$ and $\sigma$ are constants, and $y_i = a x_i + b$ with
# $a = \gamma / \sigma$ and $b = \beta - \gamma \mu / \sigma$: a linear map and a shift,
# channel by channel. Then changes of the input become changes of the output linearly,
# which training mode does not do:


# %%
def change(dx):
    """Tell how the output moves when the input moves by dx."""
    return layer(x + dx) - layer(x)


dx = rng.standard_normal(x.shape)
layer.train()
training_linear = np.allclose(change(3 * dx), 3 * change(dx))
layer.eval()
frozen_linear = np.allclose(change(3 * dx), 3 * change(dx))
a = layer.weight.data / np.sqrt(layer.running_var + layer.eps)
b = layer.bias.data - a * layer.running_mean
assert np.allclose(layer(x), a[:, None, None] * x + b[:, None, None])
print("linear in the change: frozen", frozen_linear, " training", training_linear)
assert frozen_linear
assert not training_linear

# %% [markdown]
# A convolution is linear, too, and two linear maps in a row are one. So a frozen batch
# norm costs nothing: it can be *folded* into the kernels before it. `nr.inference` does
# this to a whole network; here for our three kernels:

# %%
plain, _ = F.conv2d_forward(digits, kernels, padding=1)
layer_after = layer(plain)
folded, _ = F.conv2d_forward(digits, kernels * a[:, None, None, None], b, padding=1)
print("kernels", kernels.shape, " a", a.shape, " b", b.shape)
assert np.allclose(folded, layer_after, rtol=1e-12, atol=1e-12)

model = nr.models.resnet8(seed=0).eval()
images = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
assert np.allclose(nr.inference(model)(images), model(images), atol=1e-4)
print("ResNet-8 with batch norm folded in: same logits")

# %% [markdown]
# ## Backward, step by step
#
# Now the other direction: $g_i = \partial \ell / \partial y_i$ comes from above. One
# channel, eight values, so that they can be printed and drawn.

# %%
m, eps, gamma, beta = 8, 1e-5, 1.5, 0.5
x = rng.normal(2, 3, m)
g = rng.normal(0.8, 1, m)  # random, as every gradient in a test should be

mu = x.mean()
sigma = np.sqrt(x.var() + eps)
x_hat = (x - mu) / sigma
print("x    ", x.round(2))
print("x_hat", x_hat.round(2))
print("g    ", g.round(2))

# %% [markdown]
# **Scale and shift** are quick. $y_i = \gamma \hat x_i + \beta$, and all $m$ outputs
# read the same $\gamma$ and $\beta$, so their shares add up:
#
# $$ \frac{\partial \ell}{\partial \gamma} = \sum_i g_i \hat x_i, \qquad
#    \frac{\partial \ell}{\partial \beta} = \sum_i g_i, \qquad
#    h_i := \frac{\partial \ell}{\partial \hat x_i} = \gamma g_i $$

# %%
grad_weight, grad_bias = (g * x_hat).sum(), g.sum()
h = gamma * g
print("grad_weight", grad_weight.round(4), " grad_bias", grad_bias.round(4))

# %% [markdown]
# **The input** acts in three ways. In $\hat x_i = (x_i - \mu) / \sigma$,
#
# 1. $x_i$ stands in the numerator, of its own $\hat x_i$ only: the **direct** path;
# 2. $x_i$ is part of the **mean**, which all $m$ outputs subtract;
# 3. $x_i$ is part of the **variance**, by which all $m$ outputs are divided.
#
# First what arrives at $\mu$ and at the variance, with $\sigma =
# \sqrt{\mathrm{var} + \mathrm{eps}}$. Each is read by all $m$ outputs, so again we add
# up:
#
# $$ \frac{\partial \ell}{\partial \mathrm{var}}
#    = \sum_i h_i (x_i - \mu) \cdot \Big(-\frac{1}{2 \sigma^3}\Big)
#    = -\frac{1}{2\sigma^2} \sum_i h_i \hat x_i, \qquad
#    \frac{\partial \ell}{\partial \mu} = -\frac{1}{\sigma} \sum_i h_i $$
#
# (The variance contains $\mu$ as well, but $\partial \mathrm{var} / \partial \mu =
# -\frac2m \sum_i (x_i - \mu) = 0$.) Do not believe it; measure it. Take $\mu$ and
# $\mathrm{var}$ for numbers that can be turned by hand:

# %%
grad_var = -(h * x_hat).sum() / (2 * sigma**2)
grad_mu = -h.sum() / sigma


def loss_of(mu, var):
    """Weigh the output with g, the statistics given as numbers."""
    return (g * (gamma * (x - mu) / np.sqrt(var + eps) + beta)).sum()


step = 1e-6
var = x.var()
measured_var = (loss_of(mu, var + step) - loss_of(mu, var - step)) / (2 * step)
measured_mu = (loss_of(mu + step, var) - loss_of(mu - step, var)) / (2 * step)
print(f"by var: measured {measured_var:9.6f}, computed {grad_var:9.6f}")
print(f"by mu : measured {measured_mu:9.6f}, computed {grad_mu:9.6f}")
assert np.isclose(measured_var, grad_var, rtol=1e-6, atol=1e-7)
assert np.isclose(measured_mu, grad_mu, rtol=1e-6, atol=1e-7)

# %% [markdown]
# Then from there to $x_i$, with $\partial \mu / \partial x_i = 1/m$ and
# $\partial \mathrm{var} / \partial x_i = 2 (x_i - \mu)/m$. Three paths, one sum:
#
# $$ \frac{\partial \ell}{\partial x_i}
#    = \underbrace{\frac{h_i}{\sigma}}_{\text{direct}}
#    + \underbrace{\frac{\partial \ell}{\partial \mu} \cdot \frac1m}_{\text{mean}}
#    + \underbrace{\frac{\partial \ell}{\partial \mathrm{var}} \cdot
#      \frac{2 (x_i - \mu)}{m}}_{\text{variance}} $$


# %%
def three_paths(g):
    """Return what reaches x directly, through the mean, and through the variance."""
    h = gamma * g
    grad_mu = -h.sum() / sigma
    grad_var = -(h * x_hat).sum() / (2 * sigma**2)
    return h / sigma, np.full(m, grad_mu / m), grad_var * 2 * (x - mu) / m


def measured(g, step=1e-6):
    """Measure the slope of sum(g * y) by every x: the package's own forward pass."""
    slopes = np.empty(m)
    for i in range(m):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[i] += sign * step
            y, *_ = F.batch_norm_forward(
                channel(*moved),
                np.array([gamma]),
                np.array([beta]),
                *fresh(1)[2:],
                training=True,
                eps=eps,
            )
            ends.append((g * y.ravel()).sum())
        slopes[i] = (ends[0] - ends[1]) / (2 * step)
    return slopes


for name, part in zip(("direct", "mean", "variance"), three_paths(g), strict=True):
    print(f"{name:9}", part.round(3))
print("sum      ", sum(three_paths(g)).round(3))
print("measured ", measured(g).round(3))
assert np.allclose(sum(three_paths(g)), measured(g), rtol=1e-6, atol=1e-7)

# %% [markdown]
# Now drive. Switch paths off, and let other gradients come from above: the random one,
# a constant one, or $\hat x$ itself.

# %%
UPSTREAM = {"random": g, "constant": np.ones(m), "x_hat": x_hat}


def picture(upstream, mean, variance):
    """Draw the three paths, and their sum beside what is measured."""
    g = UPSTREAM[upstream]
    direct, by_mean, by_variance = three_paths(g)
    parts = [direct, by_mean * (mean == "on"), by_variance * (variance == "on")]
    style = nr.plots.style
    place = np.arange(m)
    with style.house_style():
        figure, (left, right) = style.new_figure(2, width=8.6, height=3.0, sharey=True)
        looks = [
            ("direct", style.SKY_BLUE, ""),
            ("mean", style.ORANGE, "//"),
            ("variance", style.PURPLE, "xx"),
        ]
        for shift, part, (label, color, hatch) in zip(
            (-0.27, 0, 0.27), parts, looks, strict=True
        ):
            left.bar(
                place + shift,
                part,
                0.27,
                label=label,
                color=color,
                hatch=hatch,
                edgecolor="white",
            )
        right.bar(
            place, sum(parts), 0.6, color=style.tint(style.GREY, 0.55), label="sum"
        )
        right.plot(place, measured(g), "D", color=style.VERMILION, label="measured")
        for ax, title in ((left, "three paths"), (right, "their sum, and the truth")):
            ax.axhline(0, color=style.TICKS, linewidth=0.8)
            ax.set(title=title, xlabel="i", xticks=place, ylim=(-1.4, 2.2))
            ax.legend(fontsize=8, loc="upper left", ncols=3, columnspacing=1)
        left.set_ylabel("gradient with respect to x[i]")
    return figure


nr.course.sliders(
    picture,
    "A random gradient from above. Diamonds are finite differences; with all three "
    "paths the bars meet them. In a running notebook, switch the variance off: the bars "
    "miss. Then choose *constant*: they meet, with the variance or without it, because "
    "then nothing comes along that path.",
    upstream=list(UPSTREAM),
    mean=["on", "off"],
    variance=["on", "off"],
)

# %% [markdown]
# **In one line.** Put $\partial\ell/\partial\mu$ and $\partial\ell/\partial\mathrm{var}$ in, and
# write $\langle \cdot \rangle$ for the mean over the channel. Since
# $(x_i - \mu) = \sigma \hat x_i$, all terms have $\gamma / \sigma$ in common:
#
# $$ \boxed{ \frac{\partial \ell}{\partial x_i} = \frac{\gamma}{\sigma} \Big( g_i
#    - \langle g \rangle - \hat x_i \, \langle g \hat x \rangle \Big) } $$
#
# Both means are at hand already: they are the gradients by $\beta$ and by $\gamma$,
# divided by $m$.

# %%
grad_x = gamma / sigma * (g - g.mean() - x_hat * (g * x_hat).mean())
out, cache, *_ = F.batch_norm_forward(
    channel(*x),
    np.array([gamma]),
    np.array([beta]),
    *fresh(1)[2:],
    training=True,
    eps=eps,
)
package_x, package_weight, package_bias = F.batch_norm_backward(channel(*g), cache)
print("one line", grad_x.round(3))
print("package ", package_x.ravel().round(3))
assert np.allclose(grad_x, sum(three_paths(g)))
assert np.allclose(grad_x, package_x.ravel())
assert np.allclose([grad_weight, grad_bias], [package_weight[0], package_bias[0]])
assert np.isclose(g.mean(), grad_bias / m)
assert np.isclose((g * x_hat).mean(), grad_weight / m)

# %% [markdown]
# ## "Mean and variance are just numbers"
#
# Then only the direct path would be left, $\gamma g / \sigma$. It is the most common
# mistake. The second most common has the mean, and forgets the variance.
#
# **Predict.** Which of the two does a test notice whose loss is `out.sum()`, so that
# every $g_i = 1$?

# %%
ONES = np.ones(m)
print("                     truth         no variance   neither")
for name, g_test in [("g = 1", ONES), ("random g", g)]:
    direct, by_mean, by_variance = three_paths(g_test)
    truth = measured(g_test)
    print(
        f"{name:10} largest {np.abs(truth).max():12.4f} "
        f"{np.abs(direct + by_mean).max():13.4f} {np.abs(direct).max():12.4f}"
    )
direct, by_mean, by_variance = three_paths(ONES)
assert np.allclose(direct + by_mean, 0)
assert np.allclose(by_variance, 0)
assert not np.allclose(direct, 0)
assert not np.allclose(sum(three_paths(g)[:2]), measured(g), rtol=0.01, atol=0.01)

# %% [markdown]
# <details><summary>Why</summary>
#
# $\sum_i y_i = \gamma \sum_i \hat x_i + m \beta = m \beta$, whatever the input is. So the
# gradient by $x$ is zero. $g - \langle g \rangle$ alone gives that zero already, and
# since $\langle \hat x \rangle = 0$ the variance term is zero, too: here or missing, the
# test cannot tell. Hence random gradients in every test.
#
# </details>
#
# `(out**2).sum()` is hardly better: there $g = 2y$, which is along $\hat x$ but for a
# constant, and the true gradient is again (almost) nothing.

# %%
squares = sum(three_paths(2 * (gamma * x_hat + beta)))
print(f"loss = (out**2).sum(): largest gradient {np.abs(squares).max():.5f}")
assert np.abs(squares).max() < 1e-4

# %% [markdown]
# ## What the gradient knows
#
# The two terms that are subtracted have a meaning. The output does not change when the
# channel is shifted, or stretched. A gradient points to where the loss changes, so it
# must not point there:
#
# $$ \sum_i \frac{\partial \ell}{\partial x_i} = 0, \qquad
#    \sum_i \hat x_i \frac{\partial \ell}{\partial x_i} = 0 $$
#
# Subtracting $\langle g \rangle$ removes the shift from $g$, subtracting
# $\hat x \langle g \hat x \rangle$ the stretch. Without the variance term, the second
# sum is wrong. Here for three channels of real size, with eps 0:

# %%
features, _ = F.conv2d_forward(digits, kernels, padding=1)
g3 = rng.standard_normal(features.shape)
weight3, bias3 = rng.standard_normal(3), rng.standard_normal(3)
_, cache3, *_ = F.batch_norm_forward(
    features, weight3, bias3, *fresh(3)[2:], training=True, eps=0.0
)
grad3, grad_weight3, _ = F.batch_norm_backward(g3, cache3)
x_hat3, *_ = F.batch_norm_forward(features, *fresh(3), training=True, eps=0.0)
scale3 = (weight3 * cache3.inverse_std)[:, None, None]
no_variance = scale3 * (g3 - g3.mean(axis=(0, 2, 3))[:, None, None])

axes = (0, 2, 3)  # images and pixels: per channel
print("sum             ", grad3.sum(axis=axes).round(6) + 0.0)
print("along x_hat     ", (grad3 * x_hat3).sum(axis=axes).round(6) + 0.0)
print("without variance", (no_variance * x_hat3).sum(axis=axes).round(4))
assert np.allclose(grad3.sum(axis=axes), 0, atol=1e-9)
assert np.allclose((grad3 * x_hat3).sum(axis=axes), 0, atol=1e-9)
assert np.allclose(no_variance.sum(axis=axes), 0, atol=1e-9)
assert np.allclose(
    (no_variance * x_hat3).sum(axis=axes), scale3[:, 0, 0] * grad_weight3
)

# %% [markdown]
# With eps, the first stays exact; of the stretch a part $\mathrm{eps} /
# (\mathrm{var} + \mathrm{eps})$ is left, because $\hat x$ has a variance a little below 1.

# %%
for eps_now in (1e-5, 0.1, 1.0):
    _, cache3, *_ = F.batch_norm_forward(
        features, weight3, bias3, *fresh(3)[2:], training=True, eps=eps_now
    )
    grad, total, _ = F.batch_norm_backward(g3, cache3)
    var3 = features.var(axis=axes)
    hat = (features - cache3.mean[:, None, None]) * cache3.inverse_std[:, None, None]
    along = (grad * hat).sum(axis=axes)
    share = along / (weight3 * cache3.inverse_std * total)
    print(f"eps {eps_now:7}: left of the stretch {share.round(5)}")
    assert np.allclose(share, eps_now / (var3 + eps_now), rtol=1e-6, atol=1e-9)
    assert np.allclose(grad.sum(axis=axes), 0, atol=1e-9)

# %% [markdown]
# As a matrix: $\partial \hat x / \partial x = \frac1\sigma \big( \mathrm{Id} - \frac1m
# \mathbf 1 \mathbf 1^\top - \frac1m \hat x \hat x^\top \big)$, the identity less two
# projections. It equals its transpose, so going backward looks like going forward.

# %%
identity = np.eye(m)
shift, stretch = np.ones((m, m)) / m, np.outer(x_hat, x_hat) / m
J = (identity - shift - stretch) / sigma
nr.course.show(
    nr.plots.planes(
        [identity, shift, stretch, J * sigma],
        ["direct", "mean", "variance", "direct - mean - variance"],
        same_scale=True,
        numbers=False,
        size=2.0,
    ),
    "Times $1/\\sigma$, the right one is the whole map from $h$ to the gradient by $x$. "
    "Off the diagonal it is not zero: every value of the channel has a say in every "
    "gradient.",
)
assert np.allclose(J, J.T)
assert np.allclose(J @ h, grad_x)
strength = np.linalg.eigvalsh(J) * sigma
print("what passes, direction by direction:", strength.round(3) + 0.0)
assert np.allclose(strength, [0, 0] + [1] * (m - 2), atol=1e-4)

# %% [markdown]
# $m - 2$ directions pass, two do not. **Predict** the gradient by $x$ for a channel of
# two values, $x = (0, 2)$ and $g = (1, 5)$.

# %%
out, cache, *_ = F.batch_norm_forward(channel(0, 2), *fresh(1), training=True)
two, *_ = F.batch_norm_backward(channel(1, 5), cache)
print("m = 2:", two.ravel().round(3) + 0.0)
assert np.allclose(two, 0, atol=1e-4)

try:
    F.batch_norm_forward(channel(7), *fresh(1), training=True)
except ValueError as error:
    print("m = 1:", error)
    refused = True
assert refused

# %% [markdown]
# No third direction, no gradient: beware of tiny batches where planes have shrunk to
# one pixel.
#
# ## What it means for the kernels before
#
# The length of a kernel does not matter to a batch norm that follows. So the gradient
# by a kernel must be at right angles to the kernel. It is, if the variance term is
# there; without it, training would turn a knob that is connected to nothing.

# %%
_, conv_cache = F.conv2d_forward(digits, kernels, padding=1)
for name, grad in [("right", grad3), ("without variance", no_variance)]:
    _, grad_kernels, _ = F.conv2d_backward(grad, conv_cache)
    along = (grad_kernels * kernels).sum(axis=(1, 2, 3))
    print(f"{name:17} kernel times its gradient: {along.round(4) + 0.0}")
    assert np.allclose(along, 0, atol=1e-9) == (name == "right")

# %% [markdown]
# A step at right angles makes a vector longer, never shorter (Pythagoras). Under plain
# gradient steps, kernels before a batch norm only grow; it is weight decay that keeps
# them in bounds.

# %%
_, grad_kernels, _ = F.conv2d_backward(grad3, conv_cache)
size_before = np.linalg.norm(kernels[0])
size_after = np.linalg.norm(kernels[0] - 0.0005 * grad_kernels[0])
print(f"length of kernel 0: {size_before:.4f} before a step, {size_after:.4f} after")
assert size_after > size_before

# %% [markdown]
# ## Frozen, backward
#
# The running statistics do not depend on this $x$. Two of the three paths are gone, and
# the mistake from above is the truth:
#
# $$ \frac{\partial \ell}{\partial x_i} = \frac{\gamma}{\sigma} g_i $$
#
# The sums for $\gamma$ and $\beta$ stay, with the frozen $\hat x$. And the running
# statistics themselves get no gradient, ever: the batch that moves them does not read
# them.

# %%
running_mean, running_var = np.array([1.0]), np.array([4.0])
_, frozen, *_ = F.batch_norm_forward(
    channel(*x),
    np.array([gamma]),
    np.array([beta]),
    running_mean,
    running_var,
    training=False,
    eps=0.0,
)
frozen_x, frozen_weight, frozen_bias = F.batch_norm_backward(channel(*g), frozen)
print("frozen  ", frozen_x.ravel().round(3))
print("training", grad_x.round(3))
assert np.allclose(frozen_x.ravel(), gamma / 2 * g)
assert np.allclose(frozen_weight, (g * (x - 1) / 2).sum())
assert np.isclose(grad_x.sum(), 0)
assert not np.isclose(frozen_x.sum(), 0)

# %% [markdown]
# ## In the code
#
# Frozen, batch norm is linear but for its constants: its gradient by $x$ is its own
# forward pass without them.

# %%
nr.course.source(F.batch_norm_backward)

# %%
nr.course.source(reference.batch_norm_grad_input)

# %% [markdown]
# One line about the forward pass. The variance could be had in one go, as
# $\langle x^2 \rangle - \langle x \rangle^2$. **Predict** what that gives in float32 for
# values around 10,000 with variance 1.

# %%
far = (10_000 + rng.standard_normal(100_000)).astype(np.float32)
in_one_go = (far * far).mean() - far.mean() * far.mean()
_, in_two = reference.batch_norm_statistics(far.reshape(-1, 1, 1, 1))
print(f"in two passes {in_two[0]:.2f}")
assert np.isclose(in_two[0], 1, atol=0.05)
# Near 1e8, float32 has only multiples of 8: a difference of two cannot be 1.
assert in_one_go % 8 == 0

# %%
nr.course.source(reference.batch_norm_statistics)

# %% [markdown]
# ## The whole of it
#
# Forward and backward for images, in training and frozen; both halves of the package
# agree, and finite differences have the last word.


# %%
def batch_norm_by_hand(x, g, weight, bias, mean, var, training, eps):
    """Return the output, and the gradients with respect to x, weight and bias."""
    axes = (0, 2, 3)
    if training:
        mean, var = x.mean(axis=axes), x.var(axis=axes)
    inverse_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean[:, None, None]) * inverse_std[:, None, None]
    out = weight[:, None, None] * x_hat + bias[:, None, None]
    grad_weight, grad_bias = (g * x_hat).sum(axis=axes), g.sum(axis=axes)
    grad_x = g
    if training:
        m = x.size // x.shape[1]
        grad_x = g - (grad_bias / m)[:, None, None]
        grad_x = grad_x - x_hat * (grad_weight / m)[:, None, None]
    return out, grad_x * (weight * inverse_std)[:, None, None], grad_weight, grad_bias


x4, g4 = rng.standard_normal((2, 3, 4, 5, 7))  # two arrays (N, C, H, W)
weight, bias, mean = rng.standard_normal((3, 4))
var = rng.random(4) + 0.5
for training in (True, False):
    ours = batch_norm_by_hand(x4, g4, weight, bias, mean, var, training, 1e-5)
    for backend in ("reference", "numba"):
        with nr.using_backend(backend):
            out, cache, *_ = F.batch_norm_forward(
                x4, weight, bias, mean, var, training=training
            )
            theirs = (out, *F.batch_norm_backward(g4, cache))
        for a, b in zip(ours, theirs, strict=True):
            assert np.allclose(a, b, rtol=1e-12, atol=1e-12)
        print(
            f"training={training!s:5} {backend:9} agrees: {[t.shape for t in theirs]}"
        )

    layer = nr.nn.BatchNorm2d(4, dtype=np.float64)
    layer.train(training)
    checks = nr.testing.check_gradients(layer, x4)
    assert [check.name for check in checks] == ["x", "weight", "bias"]

# %% [markdown]
# Where to read:
#
# - [`batch_norm_forward`](../npresnet/functional/norm.py#L33-L105 "batch_norm_forward")
#   and [`_moments`](../npresnet/functional/norm.py#L126-L159 "_moments"): both modes, and the
#   running statistics,
# - [`batch_norm_backward`](../npresnet/functional/norm.py#L163-L212 "batch_norm_backward")
#   and [`batch_norm_grad_input`](../npresnet/backend/reference.py#L294-L310 "batch_norm_grad_input"):
#   what you derived,
# - [`BatchNorm2d`](../npresnet/nn/norm.py#L19-L142 "BatchNorm2d"): the layer,
# - [batch_norm.md](../docs/derivations/batch_norm.md): the derivation, and a second one
#   by the Jacobian; source: Ioffe and Szegedy, arXiv 1502.03167, sections 3 and 3.1.

# %% [markdown]
# ## Exercises
#
# **1.** A batch norm after the second stage of a ResNet-20 gets `(128, 32, 16, 16)`. How
# many means are there, and over how many values is each? `(means, values)`.

# %%
answer = (..., ...)
nr.course.check("03.1", answer)

# %% [markdown]
# **2.** Move the running statistics on by one training batch, `x` of shape
# `(N, C, H, W)`. Return both, as they are after it.


# %%
def move_on(running_mean, running_var, x, momentum):
    """Take one batch into the running mean and variance, each of shape (C,)."""
    ...


nr.course.check("03.2", move_on)

# %% [markdown]
# **3.** The backward pass in training, for one channel. `g` and `x_hat` are arrays of
# shape `(m,)`; `gamma` and `sigma` are numbers. Return the gradient by `x`.


# %%
def grad_x_of_channel(g, x_hat, gamma, sigma):
    """Go backward through batch norm in training mode."""
    ...


nr.course.check("03.3", grad_x_of_channel)

# %% [markdown]
# **4.** Fold a frozen batch norm into the convolution before it. `kernels` is
# `(K, C, KH, KW)`, without bias; the others are `(K,)`. Return the new kernels and the
# bias.


# %%
def fold(kernels, gamma, beta, running_mean, running_var, eps):
    """Make one convolution of a convolution and a frozen batch norm."""
    ...


nr.course.check("03.4", fold)

# %% [markdown]
# **5.** A convolution *with* bias stands before a batch norm in training mode. The
# batch norm has $\gamma = 2$ and $\sigma = 0.5$ in some channel, and there from above
# comes a gradient whose sum is $\sum_i g_i = 12$. What is the gradient by that
# channel's bias of the *convolution*? And what would it be with the batch norm frozen
# (and the same $\sigma$)? `(training, frozen)`.

# %%
answer = (..., ...)
nr.course.check("03.5", answer)

# %% [markdown]
# **6.** `running_mean` starts at 0, and every batch has mean 1. After how many batches
# is it 0.99 or more for the first time?


# %%
def batches_needed(momentum):
    """Count the batches until 99 % of the running mean come from batches."""
    ...


nr.course.check("03.6", batches_needed)
