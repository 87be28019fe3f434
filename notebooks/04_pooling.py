# %% [markdown]
# # 04 · Pooling
#
# **Which pixels get the gradient of a pool, and why does one network take images of any
# size?**
#
# Pooling makes one number of a window of pixels: the largest, or the average. It has
# nothing to learn. A ResNet uses it twice: a max pool after the first convolution of the
# ImageNet nets, and one average over everything before the classifier. That last one is
# why the classifier does not ask how large the image was.

# %%
import tempfile

import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.backend import Geometry, reference

rng = np.random.default_rng(0)

# %% [markdown]
# ## The largest of a window
#
# The pool of a ResNet's stem: windows of 3x3, stride 2, padding 1. Eight by eight
# pixels, the numbers 0 to 63 in disorder, so that no two are equal.

# %%
numbers = np.random.default_rng(6).permutation(64).astype(float)
stem_x = numbers.reshape(1, 1, 8, 8)
stem_out, stem_cache = F.max_pool2d_forward(stem_x, 3, stride=2, padding=1)
winners = stem_cache.winners  # (N, C, OH, OW): where each maximum stood
wins = F.max_pool2d_backward(np.ones_like(stem_out), stem_cache)
print("x", stem_x.shape, " out", stem_out.shape, " winners", winners.shape)


def window_and_winner(place):
    """Draw the window of one place, the pixel that won it, and what came out."""
    u, v = divmod(place, 4)
    top, left = 2 * u - 1, 2 * v - 1
    window, winner = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    here = np.zeros((4, 4), bool)
    window[max(top, 0) : top + 3, max(left, 0) : left + 3] = True
    winner.flat[winners[0, 0, u, v]] = True
    here[u, v] = True
    return nr.plots.planes(
        [stem_x[0, 0], wins[0, 0], stem_out[0, 0]],
        ["image, 8 x 8", "windows won", "out, 4 x 4"],
        marked=[window, winner, here],
        size=2.6,
    )


nr.course.sliders(
    window_and_winner,
    "Left, the framed window; right, its largest pixel. In the middle, how many windows "
    "each pixel has won: the windows overlap, so one pixel may win several, and most "
    "win none. In a running notebook the slider moves the window.",
    start={"place": 5},
    place=range(16),
)
assert stem_out[0, 0, 1, 1] == stem_x[0, 0, 1:4, 1:4].max()
assert wins.sum() == stem_out.size == 16  # wins: the gradient when ones come in

# %% [markdown]
# $$ y_{u,v} = \max_{i,j} \; \tilde x_{uS + i,\,vS + j} $$
#
# where $\tilde x$ is the image in its border (letters as in
# [the legend](../docs/notation.md)). What must be kept for the backward pass? Not the
# pixels: only *where* each winner stood, as one number, row times $W$ plus column.

# %%
print(winners[0, 0])
assert np.array_equal(stem_x.ravel()[winners.ravel()], stem_out.ravel())

# %% [markdown]
# **"The border is zero, as everywhere."**
#
# **Predict.** All pixels are -1. What comes out of a max pool of 3x3 with padding 1, at
# the edge?

# %%
dark = np.full((1, 1, 4, 4), -1.0)
of_dark, _ = F.max_pool2d_forward(dark, 3, stride=1, padding=1)
with_zeros, _ = F.max_pool2d_forward(reference.pad(dark, (1, 1)), 3, stride=1)
print("npresnet")
print(of_dark[0, 0])
print("with a border of zeros")
print(with_zeros[0, 0])
assert (of_dark == -1).all()
assert with_zeros[0, 0, 0, 0] == 0

# %% [markdown]
# The border is minus infinity: it never wins. (Behind a ReLU nothing is below zero, and
# zeros would do.)
#
# ## Backward: the winner takes all
#
# Move a pixel that did not win a little: nothing changes. Move the winner, and the
# output moves with it, just as far. Write $a(o)$ for the place of the winner of output
# $o$; then $y_o = x_{a(o)}$, and
#
# $$ \frac{\partial \ell}{\partial x_p} = \sum_{o \,:\, a(o) = p} g_o $$
#
# **Predict.** One row, `1 4 9 3 2`, windows of 3, stride 2. From above come 1 and 10.
# What is the gradient of the row?


# %%
def row(*pixels):
    """Make one image of one row: (1, 1, 1, W)."""
    return np.array(pixels, dtype=float).reshape(1, 1, 1, -1)


out, cache = F.max_pool2d_forward(row(1, 4, 9, 3, 2), (1, 3), 2)
print("out     ", out.ravel())
print("gradient", F.max_pool2d_backward(row(1, 10), cache).ravel())
assert F.max_pool2d_backward(row(1, 10), cache)[0, 0, 0, 2] == 11

# %% [markdown]
# The 9 won both windows, so it gets both gradients: they *add*. As in `col2im`
# ([notebook 02](02_im2col.ipynb)), and for the same reason: it influenced two things.

# %%
nr.course.source(reference.max_pool2d_grad)

# %% [markdown]
# `np.add.at`, because `a[index] += g` keeps only one of several. What is lost then?

# %%
g = rng.standard_normal(stem_out.shape)  # random, as a gradient in a test should be
grad_x = F.max_pool2d_backward(g, stem_cache)
kept_one = np.zeros(64)
kept_one[winners.ravel()] += g.ravel()
kept_one = kept_one.reshape(8, 8)
off = ~np.isclose(grad_x[0, 0], kept_one)
nr.course.show(
    nr.plots.planes(
        [wins[0, 0], grad_x[0, 0], kept_one],
        ["windows won", "grad_x, np.add.at", "grad_x, +="],
        marked=[None, off, off],
        size=2.6,
    ),
    "Framed: where += goes wrong. Exactly the pixels that won more than one window.",
)
assert np.array_equal(off, wins[0, 0] > 1)
assert off.any()
assert np.isclose(grad_x.sum(), g.sum())
print(f"into the pool {g.sum():.4f}, out of it {grad_x.sum():.4f}", end=", ")
print(f"with += {kept_one.sum():.4f}")
assert not np.isclose(kept_one.sum(), g.sum())

# %% [markdown]
# All that came in goes out again, whatever the windows. With windows that do not
# overlap (stride as large as the kernel), `+=` would be right, and a test that has only
# such windows would not see the bug.
#
# ## Ties
#
# **Predict.** A window of nine zeros; from above comes 1. Who gets it?

# %%
flat = np.zeros((1, 1, 3, 3))
out, cache = F.max_pool2d_forward(flat, 3)
print(F.max_pool2d_backward(np.ones((1, 1, 1, 1)), cache)[0, 0])
assert cache.winners.item() == 0

# %% [markdown]
# The first in the window, row by row, as in PyTorch. Why not another? At a tie the
# maximum has a kink, and there is no one gradient. Finite differences say it openly: to
# the right the slope is 1, to the left 0.


# %%
def largest(*pixels):
    """Take the largest of a row, with the package."""
    return F.max_pool2d_forward(row(*pixels), (1, len(pixels)))[0].item()


step = 1e-6
to_the_right = (largest(0, step) - largest(0, 0)) / step
to_the_left = (largest(0, 0) - largest(0, -step)) / step
print(f"second of two zeros: slope {to_the_right:.0f} up, {to_the_left:.0f} down")
assert np.isclose(to_the_right, 1)
assert np.isclose(to_the_left, 0)

# %% [markdown]
# Any way of dividing $g$ among those who are tied is allowed, a *subgradient*, as long
# as the parts are not negative and add up to $g$: all to the first, all to the last, or
# even shares.
#
# **"Every pixel that equals the maximum gets the gradient",** written `g * (x == out)`.
# That hands it out nine times. It is no subgradient: a subgradient $s$ of a function $f$
# at 0 never promises too much, $f(d) \ge f(0) + s \cdot d$, whichever way one goes.

# %%
first, even, everybody = np.zeros(9), np.full(9, 1 / 9), np.ones(9)
first[0] = 1
directions = np.vstack([np.ones(9), rng.standard_normal((1000, 9))])
for name, s in [("first", first), ("even", even), ("everybody", everybody)]:
    holds = (directions.max(axis=1) >= directions @ s - 1e-12).all()
    print(f"{name:9} adds up to {s.sum():.0f}, a subgradient: {holds}")
    assert holds == (name != "everybody")

# %% [markdown]
# Are ties rare? Not behind a ReLU, nor in 8-bit pictures.

# %%
train, test = nr.data.digits(channels=1)
digits = train.images[:64] / 255
kernels = rng.standard_normal((8, 1, 3, 3))
features, _ = F.conv2d_forward(digits, kernels, padding=1)
rectified, relu_cache = F.relu_forward(features)


def tied(images):
    """Tell which 2x2 windows (stride 2) have more than one largest pixel."""
    planes = images.reshape(-1, 1, 8, 8)
    windows = reference.im2col(planes, Geometry.of((8, 8), 2, stride=2))
    return (windows == windows.max(axis=1, keepdims=True)).sum(axis=1) > 1


for name, images in [("digits", digits), ("features", features), ("relu", rectified)]:
    print(f"{name:8} windows with a tie: {tied(images).mean():.0%}")
assert tied(rectified).mean() > tied(features).mean()
assert tied(digits).mean() > 0.1

# %% [markdown]
# **Predict.** Does it matter for the layers *before* the ReLU who gets the gradient of
# a tie?

# %%
z = rng.standard_normal((4, 3, 8, 8))  # what goes into the ReLU
positive, relu_cache = F.relu_forward(z)
out, cache = F.max_pool2d_forward(positive, 2)
g = rng.standard_normal(out.shape)
to_first = F.max_pool2d_backward(g, cache)
larger = (2, 2)
to_all = np.kron(g, np.ones(larger)) * (positive == np.kron(out, np.ones(larger)))
before_first = F.relu_backward(to_first, relu_cache)
before_all = F.relu_backward(to_all, relu_cache)
print(f"windows of zeros only: {(out == 0).mean():.0%}")
print("behind the pool, equal:", np.array_equal(to_first, to_all))
print("before the ReLU, equal:", np.array_equal(before_first, before_all))
assert not np.array_equal(to_first, to_all)
assert np.array_equal(before_first, before_all)

# %% [markdown]
# No: where the tie is at 0, the ReLU stops the gradient anyway. In a ResNet, whose pool
# follows a ReLU, the rule only decides ties of positive numbers, and those are rare. A
# pool on pictures, or on anything rounded, is another matter.
#
# ## The average
#
# The other pool adds the window up and divides by $d$, the number of pixels. It is a
# convolution with weights that are all $1/d$, one channel at a time:

# %%
x = rng.standard_normal((2, 3, 7, 8))
out, cache = F.avg_pool2d_forward(x, 3, stride=2)
as_convolution, conv_cache = F.conv2d_forward(
    x, np.full((3, 1, 3, 3), 1 / 9), stride=2, groups=3
)
print("x", x.shape, " out", out.shape)
assert np.allclose(out, as_convolution)

g = rng.standard_normal(out.shape)
grad_x = F.avg_pool2d_backward(g, cache)
assert np.allclose(grad_x, F.conv2d_backward(g, conv_cache)[0])

# %% [markdown]
# With padding there is a question: how many pixels has a window that hangs over the
# edge? Either $KH \cdot KW$, zeros and all (`count_include_pad=True`, the default here
# and in PyTorch), or only those inside the image.
#
# **Predict.** An image of ones, windows of 3x3, padding 1. What is the average in the
# corner, one way and the other?

# %%
ones = np.ones((1, 1, 6, 6))


def averages(border, stride):
    """Draw the average of ones, and the gradient when ones come from above."""
    out, cache = F.avg_pool2d_forward(
        ones, 3, stride=stride, padding=1, count_include_pad=border == "counts"
    )
    grad = F.avg_pool2d_backward(np.ones_like(out), cache)
    return nr.plots.planes(
        [ones[0, 0], out[0, 0], grad[0, 0]],
        ["image", f"average, {out.size} windows", f"gradient, sum {grad.sum():.4g}"],
        size=2.6,
    )


nr.course.sliders(
    averages,
    "The border counts: darker edges, 4/9 in a corner, and of the 36 that came in at the "
    "back, only 28.4 arrive at pixels; the rest fell on the border. In a running "
    "notebook, let the border not count: ones everywhere, and nothing is lost.",
    border=["counts", "does not count"],
    stride=[1, 2, 3],
)
counted, counted_cache = F.avg_pool2d_forward(ones, 3, stride=1, padding=1)
inside, inside_cache = F.avg_pool2d_forward(
    ones, 3, stride=1, padding=1, count_include_pad=False
)
assert np.isclose(counted[0, 0, 0, 0], 4 / 9)
assert np.allclose(inside, 1)
g = rng.standard_normal((1, 1, 6, 6))
lost = g.sum() - F.avg_pool2d_backward(g, counted_cache).sum()
print(f"divisors in the corner: {counted_cache.divisor[0, 0]:.0f}", end=" and ")
print(f"{inside_cache.divisor[0, 0]:.0f}; lost on the border: {lost:.4f} and 0")
assert abs(lost) > 0.01
assert np.isclose(F.avg_pool2d_backward(g, inside_cache).sum(), g.sum())

# %% [markdown]
# ## Backward: even shares
#
# With $d_o$ for the divisor of output $o$, and $o \ni p$ for "window $o$ sees pixel
# $p$":
#
# $$ y_o = \frac{1}{d_o} \sum_{p \in o} x_p
#    \qquad\Longrightarrow\qquad
#    \frac{\partial \ell}{\partial x_p} = \sum_{o \ni p} \frac{g_o}{d_o} $$
#
# There is no $x$ in it: an average is linear, and the cache keeps sizes only.

# %%
nr.course.source(reference.avg_pool2d_grad)

# %% [markdown]
# **"Backward through an average repeats each gradient over its window."** That holds
# if the windows tile the image. Not if they overlap, and not if pixels are left over.

# %%
for kernel_size, stride, length in [(2, 2, 6), (3, 2, 7), (2, 2, 7)]:
    image = rng.standard_normal((1, 1, length, length))
    out, cache = F.avg_pool2d_forward(image, kernel_size, stride)
    g = rng.standard_normal(out.shape)
    grad = F.avg_pool2d_backward(g, cache)[0, 0]
    repeated = np.kron(g[0, 0], np.ones((kernel_size,) * 2)) / kernel_size**2
    same = repeated.shape == grad.shape and np.allclose(repeated, grad)
    print(f"{length} pixels, window {kernel_size}, stride {stride}: {same}")
    assert same == ((kernel_size, stride, length) == (2, 2, 6))
assert (grad[-1] == 0).all()  # left over

# %% [markdown]
# ## Adaptive bins
#
# So far the window was given and the output size followed. *Adaptive* pooling turns it
# around: "give me $OH$ numbers, however many pixels there are". Bin $u$ of $OH$ over $H$
# pixels is
#
# $$ B_u = \Big[ \Big\lfloor \frac{u H}{OH} \Big\rfloor ,
#    \Big\lceil \frac{(u + 1) H}{OH} \Big\rceil \Big) $$

# %%
nr.course.source(reference.adaptive_bins)


# %%
def matrix_of(length, bins):
    """Write adaptive pooling of a row as a matrix: (bins, length)."""
    pixels = np.eye(length)[:, None, None]  # image number p is bright at pixel p only
    return F.adaptive_avg_pool2d_forward(pixels, (1, bins))[0].reshape(length, bins).T


def bins_picture(length, bins):
    """Draw which pixels each bin averages, and with which weight."""
    matrix = matrix_of(length, bins)
    shared = np.tile((matrix > 0).sum(axis=0) > 1, (bins, 1)) & (matrix > 0)
    return nr.plots.planes(
        [matrix],
        [f"{length} pixels across, {bins} bins down"],
        marked=[shared],
        numbers=True,
        size=5.2,
    )


# %% [markdown]
# **"Bins tile the image."** **Predict** the bins of 5 pixels in 3 bins.

# %%
nr.course.sliders(
    bins_picture,
    "Each row is a bin, with the weights of its average. Framed: pixels that belong to "
    "two bins. In a running notebook, find out when there are none, and what happens "
    "with more bins than pixels.",
    start={"length": 5, "bins": 3},
    length=range(1, 11),
    bins=range(1, 8),
)
print("5 pixels, 3 bins:", reference.adaptive_bins(5, 3))
print("8 pixels, 4 bins:", reference.adaptive_bins(8, 4))
print("3 pixels, 5 bins:", reference.adaptive_bins(3, 5))
assert reference.adaptive_bins(5, 3) == [(0, 2), (1, 4), (3, 5)]
for length in range(1, 12):
    for bins in range(1, 12):
        ends = reference.adaptive_bins(length, bins)
        sizes = [end - start for start, end in ends]
        assert min(sizes) >= 1  # no bin is empty
        assert set().union(*(range(*end) for end in ends)) == set(range(length))
        assert (sum(sizes) == length) == (length % bins == 0)  # a tiling, or not

# %% [markdown]
# No bin is empty and no pixel is left out. Neighbours share a pixel wherever a boundary
# $(u+1) H / OH$ is not a whole number: its end is rounded up, the next start down. So
# the shares add, once more:
#
# $$ \frac{\partial \ell}{\partial x_p} = \sum_{u \,:\, p \in B_u} \frac{g_u}{|B_u|} $$
#
# The picture is the matrix of the pool; going backward is its transpose.

# %%
x, g = row(3, 1, 4, 1, 5), row(2, 3, 2)
out, cache = F.adaptive_avg_pool2d_forward(x, (1, 3))
grad_x = F.adaptive_avg_pool2d_backward(g, cache)
M = matrix_of(5, 3)
print("M", M.shape, " out", out.ravel().round(3), " grad_x", grad_x.ravel().round(3))
assert np.allclose(out.ravel(), M @ x.ravel())
assert np.allclose(grad_x.ravel(), M.T @ g.ravel())
assert np.isclose(grad_x.sum(), g.sum())  # nothing is lost: there is no border

# %% [markdown]
# Are they all right? Finite differences, in random directions, for all three pools:

# %%
x = rng.standard_normal((2, 3, 7, 9))
for layer in [
    nr.nn.MaxPool2d(3, 2, 1),
    nr.nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nr.nn.AdaptiveAvgPool2d((3, 2)),
]:
    for backend in ("reference", "numba"):
        with nr.using_backend(backend):
            (check,) = nr.testing.check_gradients(layer, x)
    print(f"computed {check.analytic:9.6f}, measured {check.numeric:9.6f}: {layer}")

# %% [markdown]
# ## One bin: the global average
#
# $OH = OW = 1$, and every channel becomes one number, its mean. This is how a ResNet
# ends:

# %%
nr.course.source(nr.models.ResNet.forward)

# %% [markdown]
# Follow the shapes. **Predict**, for an image of 32x32 and for one of 45x61: which of
# them are different, and where do they become equal?

# %%
model = nr.models.resnet8(seed=0).eval()


def walk(images):
    """Return the shape after every part of the network, and the logits."""
    x = model.relu(model.bn1(model.conv1(images)))
    shapes = {"images": images.shape, "conv1, bn1, relu": x.shape}
    for name in ("layer1", "layer2", "layer3", "avgpool"):
        x = getattr(model, name)(x)
        shapes[name] = x.shape
    logits = model.fc(x[:, :, 0, 0])
    return shapes | {"fc": logits.shape}, logits


small = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
odd = rng.standard_normal((2, 3, 45, 61)).astype(np.float32)
shapes_small, logits_small = walk(small)
shapes_odd, logits_odd = walk(odd)
for name in shapes_small:
    print(f"{name:17} {shapes_small[name]!s:17} {shapes_odd[name]}")
assert np.allclose(logits_small, model(small), atol=1e-5)
assert np.allclose(logits_odd, model(odd), atol=1e-5)
assert shapes_small["layer3"] == (2, 64, 8, 8)
assert shapes_odd["layer3"] == (2, 64, 12, 16)  # 45 -> 23 -> 12, 61 -> 31 -> 16
assert shapes_small["avgpool"] == shapes_odd["avgpool"] == (2, 64, 1, 1)

# %% [markdown]
# **"A network takes images of one size."** Nothing in a ResNet's weights knows the
# size. A convolution has weights for taps and channels, not for pixels; batch norm for
# channels; and after the average there is one number per channel, always. The same
# weights, forward and backward:

# %%
print("fc.weight", model.fc.weight.data.shape, " conv1", model.conv1.weight.data.shape)
model.train()
for images in (small, odd):
    model.zero_grad()
    logits = model(images)
    grad = model.backward(rng.standard_normal(logits.shape).astype(np.float32))
    print("images", images.shape, " logits", logits.shape, " gradient", grad.shape)
    assert grad.shape == images.shape
    assert model.fc.weight.grad.shape == (10, 64)
model.eval()

# %% [markdown]
# What would tie it to a size: flatten the last feature map instead of averaging it, as
# older networks did.

# %%
last_map = np.zeros(shapes_small["layer3"], np.float32)
flat_classifier = nr.nn.Linear(64 * 8 * 8, 10, rng=rng)
print("flattened", flat_classifier(last_map.reshape(2, -1)).shape)
try:
    flat_classifier(np.zeros(shapes_odd["layer3"], np.float32).reshape(2, -1))
except ValueError as error:
    print("45x61:", error)
    refused = True
assert refused
weights = flat_classifier.weight.data.size, model.fc.weight.data.size
print(f"weights: {weights[0]:,} flattened, {weights[1]:,} averaged")
assert weights[0] == 64 * weights[1]

# %% [markdown]
# **How small may an image be?** One pixel is enough: every window of a ResNet for CIFAR
# has padding, and every bin has a pixel. (In evaluation mode. In training, batch norm
# needs more than one value per channel: [notebook 03](03_batch_norm.ipynb).)

# %%
print("1x1:", model(small[:, :, :1, :1]).shape)
assert model(small[:, :, :1, :1]).shape == (2, 10)

# %% [markdown]
# ## That, not where
#
# The average has a price. Shuffle the pixels of the last feature map: the logits are the
# same. And the gradient of every pixel in it is the same, $g / (H W)$. The classifier
# tells the last block *that* a channel should change, not *where*.

# %%
features = rng.random((1, 64, 8, 8)).astype(np.float32)
order = rng.permutation(64)
shuffled = features.reshape(1, 64, 64)[:, :, order].reshape(features.shape)
pooled = model.avgpool(features)
assert np.allclose(model.avgpool(shuffled), pooled, atol=1e-6)

g = rng.standard_normal((1, 64, 1, 1)).astype(np.float32)
_, cache = F.adaptive_avg_pool2d_forward(features, 1)
grad = F.adaptive_avg_pool2d_backward(g, cache)
print(
    "different gradients in a plane:", len(np.unique(grad[0, 0])), "of", grad[0, 0].size
)
assert np.allclose(grad, g / 64)

# %% [markdown]
# ## "It fits" is not "it works"
#
# Any size *fits*. Whether the network recognises anything at that size is another
# question: it has learned from things of one size. A ResNet-8 learns the digits, 8x8
# pixels, and is then shown the test digits in three other ways. **Predict** the order.

# %% tags=["varies"]
train, test = nr.data.digits()
with tempfile.TemporaryDirectory() as folder:
    net = nr.models.resnet8(seed=0)
    nr.training.fit(net, train, test, out=f"{folder}/run", epochs=6, quiet=True)


def changed(images):
    """Make the test set of other images."""
    return nr.data.Dataset(
        images, test.labels, test.classes, test.mean, test.std, "digits"
    )


canvas = np.zeros((len(test), 3, 13, 17), np.uint8)
canvas[:, :, 3:11, 4:12] = test.images
enlarged = test.images.repeat(2, axis=2).repeat(2, axis=3)
right = {}
for name, images in [
    ("8x8, as learned", test.images),
    ("13x17, more background", canvas),
    ("16x16, enlarged", enlarged),
]:
    right[name] = nr.training.evaluate(net, changed(images)).accuracy
    print(f"{name:23} {images.shape[2:]!s:9} {right[name]:4.0%} right")
assert right["8x8, as learned"] > 0.9
assert right["16x16, enlarged"] < right["8x8, as learned"]

# %% [markdown]
# Not one weight has changed, and no shape complains. But the last maps are 4x5 or 4x4
# now where they were 2x2, their averages are over other things than the classifier has
# learned from, and the frozen batch norm still goes by the statistics of 8x8 pixels. For
# good answers, train on sizes like those that you will ask about.
#
# ## Where to read
#
# - [`max_pool2d`](../npresnet/backend/reference.py#L150-L172 "max_pool2d") and
#   [`max_pool2d_grad`](../npresnet/backend/reference.py#L188-L198 "max_pool2d_grad"),
# - [`avg_pool2d`](../npresnet/backend/reference.py#L201-L209 "avg_pool2d") and
#   [`avg_pool2d_grad`](../npresnet/backend/reference.py#L212-L222 "avg_pool2d_grad"),
# - [`adaptive_bins`](../npresnet/backend/reference.py#L225-L234 "adaptive_bins") and
#   [`adaptive_avg_pool2d_grad`](../npresnet/backend/reference.py#L247-L257 "adaptive_avg_pool2d_grad"),
# - [`ResNet.forward`](../npresnet/models/resnet.py#L194-L203 "ResNet.forward"), with both
#   pools, and the derivations of
#   [max](../docs/derivations/max_pool2d.md), [average](../docs/derivations/avg_pool2d.md)
#   and [adaptive](../docs/derivations/adaptive_avg_pool2d.md) pooling.

# %% [markdown]
# ## Exercises
#
# **1.** The stem of a ResNet-50 gives its max pool (3x3, stride 2, padding 1) maps of
# 113x112. What is `(OH, OW)` behind it?

# %%
answer = (..., ...)
nr.course.check("04.1", answer)

# %% [markdown]
# **2.** Go backward through the max pool of one row, without padding. `x` is the row,
# `g` has one number for each window. Of equal pixels the first wins.


# %%
def max_pool_backward(x, g, kernel_size, stride):
    """Hand every window's gradient to its winner: as long as x."""
    ...


nr.course.check("04.2", max_pool_backward)

# %% [markdown]
# **3.** The average pool of one row, with padding; the border does *not* count.


# %%
def average(x, kernel_size, stride, padding):
    """Average what every window sees of the row."""
    ...


nr.course.check("04.3", average)

# %% [markdown]
# **4.** The bins of adaptive pooling, as a list of `(start, stop)`.


# %%
def bins(length, count):
    """Cut a row of length pixels into count bins."""
    ...


nr.course.check("04.4", bins)

# %% [markdown]
# **5.** A photograph of 300x450 pixels goes through a ResNet-50: a 7x7 convolution with
# stride 2 and padding 3, the max pool, and three more stages that halve (3x3, stride 2,
# padding 1). What is the height and width of the last feature map?

# %%
answer = (..., ...)
nr.course.check("04.5", answer)

# %% [markdown]
# **6.** From the classifier, a gradient of 1.28 comes to one channel of the global
# average. What gets every pixel of that channel's last feature map in a ResNet-20, if
# the images are 32x32? And if they are 64x64? (That network halves twice.)

# %%
answer = (..., ...)
nr.course.check("04.6", answer)
