# %% [markdown]
# # 06 · Shortcuts and bottlenecks
#
# **How can x be added to F(x) when the two have different shapes, and what does every way out cost?**
#
# Inside a stage of a ResNet, $F$ keeps the shape, and $x$ is added as it is
# ([notebook 05](05_residual_block.ipynb)). Between stages the plane gets half as high
# and wide, and the channels double. Then something has to be done to $x$ first: that is
# the shortcut's job. And what $F$ itself looks like is a matter of cost: two 3x3
# convolutions, or a bottleneck.

# %%
import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.models.blocks import projection

rng = np.random.default_rng(0)

# %% [markdown]
# ## The problem
#
# The first block of a second stage: 16 channels become 32, 8x8 pixels become 4x4. The
# stride of 2 is in the branch's first convolution.

# %%
x = rng.standard_normal((2, 16, 8, 8))  # (N, C, H, W)
block = nr.models.BasicBlock(16, 32, stride=2, dtype=np.float64, rng=0)
with nr.no_grad():
    branch = block.branch_forward(x)
print("x", x.shape, " F(x)", branch.shape)
try:
    branch + x
except ValueError as error:
    print(error)
assert branch.shape == (2, 32, 4, 4)

# %% [markdown]
# The paper has three answers, A, B and C (He et al., arXiv 1512.03385, sections 3.3
# and 4.1).
#
# | | where shapes change | elsewhere |
# |---|---|---|
# | **A** | every second pixel, and channels of zeros | identity |
# | **B** | a projection: 1x1 convolution, batch norm | identity |
# | **C** | a projection | a projection |
#
# ## A: leave out, and fill up
#
# Four channels of 6x6 become eight of 3x3, so that it fits on a page.

# %%
small = rng.uniform(1, 9, (1, 4, 6, 6)).round()
out, cache = F.zero_pad_shortcut_forward(small, out_channels=8, stride=2)
print("x", small.shape, " out", out.shape)
taken = np.zeros((6, 6), bool)
taken[::2, ::2] = True
nr.course.show(
    nr.plots.planes(
        [small[0, 0], out[0, 1], out[0, 2], out[0, 7]],
        ["x, channel 0", "out, channel 1", "out, channel 2", "out, channel 7"],
        marked=[taken, None, None, None],
        same_scale=True,
        numbers=True,
        size=2.1,
    ),
    "Framed: the pixels that shortcut A takes, one of four. Channel 0 becomes channel 2 "
    "of the output; channels 0, 1, 6 and 7 are zeros. No parameters, no multiplications.",
)
assert np.array_equal(out[0, 2], small[0, 0, ::2, ::2])
assert not out[0, [0, 1, 6, 7]].any()

# %%
nr.course.source(nr.backend.reference.zero_pad_shortcut)

# %% [markdown]
# **The misconception: "shortcut A is an identity, so the whole gradient passes it."**
#
# **Predict.** Ones come from above. How much of them arrives at $x$, and at how many
# pixels?

# %%
ones = np.ones_like(out)
grad_x = F.zero_pad_shortcut_backward(ones, cache)
print("of", ones.size, "ones arrive", int(grad_x.sum()))
print("pixels with a gradient:", f"{(grad_x != 0).mean():.0%}")
print(grad_x[0, 0])
assert grad_x.sum() / ones.size == 0.5  # what came to the channels of zeros is lost
assert (grad_x != 0).mean() == 0.25  # three pixels of four were left out

# %% [markdown]
# ## What a 1x1 convolution does
#
# Its window is one pixel. It looks at all channels of this pixel, and makes new
# channels of them: a matrix product, the same at every pixel. **It changes channels and
# keeps space.**
#
# **Predict.** 3 channels in, 2 out, 6x5 pixels. What is the shape of the weight, and
# how many weights are there?

# %%
pixels = rng.standard_normal((2, 3, 6, 5))
weight = rng.standard_normal((2, 3, 1, 1))
mixed, _ = F.conv2d_forward(pixels, weight)
print("x", pixels.shape, " weight", weight.shape, " out", mixed.shape)

matrix = weight[:, :, 0, 0]  # (K, C)
as_matrix = np.einsum("kc,nchw->nkhw", matrix, pixels)
assert np.allclose(mixed, as_matrix, rtol=1e-12, atol=1e-12)
assert weight.size == 6

# %% [markdown]
# **"A 1x1 convolution only multiplies by a number."** With one channel in and one out,
# yes. With more it mixes. Here are two drawings, and their sum and difference:

# %%
drawing = """
#...#.  ......
.#.#..  .####.
..#...  .#..#.
.#.#..  .####.
#...#.  ......
"""
rows = [line.split() for line in drawing.split("\n") if line]
two = np.array([[[c == "#" for c in row[i]] for row in rows] for i in (0, 1)], float)
sum_and_difference = np.array([[1.0, 1.0], [1.0, -1.0]]).reshape(2, 2, 1, 1)
mixed, _ = F.conv2d_forward(two[None], sum_and_difference)
nr.course.show(
    nr.plots.planes(
        [*two, *mixed[0]],
        ["channel 0", "channel 1", "their sum", "their difference"],
        size=2.1,
        numbers=False,
    ),
    "Two channels in, two out, one matrix of 2x2. Every pixel of the output comes from "
    "the pixel at its own place and from no other.",
)
assert np.array_equal(mixed[0, 0], two[0] + two[1])
assert np.array_equal(mixed[0, 1], two[0] - two[1])

# %% [markdown]
# It cannot see a pixel's neighbours. So it does not matter whether the pixels are
# shuffled before it or after it, and no 3x3 convolution can say that of itself:

# %%
order = rng.permutation(30)


def shuffled(images):
    """Put the pixels of 6x5 images into another order."""
    return images.reshape(*images.shape[:2], 30)[..., order].reshape(images.shape)


def convolved(images, weight):
    """Convolve so that the size is kept."""
    return F.conv2d_forward(images, weight, padding=weight.shape[-1] // 2)[0]


wide = rng.standard_normal((2, 3, 3, 3))
assert np.allclose(
    convolved(shuffled(pixels), weight), shuffled(convolved(pixels, weight))
)
assert not np.allclose(
    convolved(shuffled(pixels), wide), shuffled(convolved(pixels, wide))
)
print("1x1: shuffling before or after is the same; 3x3: it is not")

# %% [markdown]
# ## B: project
#
# A projection is a 1x1 convolution with stride 2, and batch norm. Now the shapes agree.

# %%
shortcut = projection(16, 32, 2, dtype=np.float64, rng=1)
print(shortcut)
with nr.no_grad():
    projected = shortcut(x)
print("x", x.shape, " projected", projected.shape, " F(x)", branch.shape)
assert projected.shape == branch.shape

by_hand = 16 * 32 * 1 * 1 + 2 * 32  # weights; scale and shift of batch norm
assert sum(p.size for p in shortcut.parameters()) == by_hand == 576
print("parameters:", by_hand)

# %% [markdown]
# **"A projection sees the whole of x, shortcut A a quarter."** With stride 2, a window
# of one pixel sees one pixel of four, exactly those that A takes. Change all others:

# %%
changed = x.copy()
changed[:, :, 1::2] = 100
changed[:, :, :, 1::2] = -100
with nr.no_grad():
    after = shortcut(changed)
assert np.array_equal(after, projected)
print("three pixels of four changed, the projection did not notice")

# %% [markdown]
# ## C: project everywhere
#
# Three ResNet-20, 9 blocks each. **Predict**: in how many blocks do A, B and C have a
# projection?

# %%
models = {s: nr.models.resnet20(shortcut=s) for s in "ABC"}
for name, model in models.items():
    convs = sum(
        isinstance(m, nr.nn.Conv2d) and m.kernel_size == (1, 1) for m in model.modules()
    )
    count = sum(p.size for p in model.parameters())
    print(f"{name}: {convs} projections, {count:,} parameters")


def projection_parameters(in_channels, out_channels):
    """Count the weights of a 1x1 convolution and of batch norm."""
    return in_channels * out_channels + 2 * out_channels


size = {s: sum(p.size for p in model.parameters()) for s, model in models.items()}
changing = projection_parameters(16, 32) + projection_parameters(32, 64)
keeping = (
    3 * projection_parameters(16, 16)
    + 2 * projection_parameters(32, 32)
    + 2 * projection_parameters(64, 64)
)
assert size["B"] - size["A"] == changing == 2_752
assert size["C"] - size["B"] == keeping == 11_488

# %% [markdown]
# **"More parameters in the shortcut can only help."** On ImageNet, with ResNet-34, the
# paper found C slightly better than B and B slightly better than A, and concluded that
# projections are not essential (section 4.1, Table 3). With 110 layers on CIFAR-10, a
# 1x1 convolution in *every* shortcut did harm: 12.22 % error instead of 6.61 %
# (He et al., arXiv 1603.05027, Table 1).
#
# One reason is in the backward pass. The identity hands on $g_s$ as it is. A projection
# multiplies it, in every block, by weights:

# %%
g = rng.standard_normal((2, 16, 8, 8))
same = nr.models.BasicBlock(16, 16, dtype=np.float64, rng=0)
through = {
    "identity": same,
    "projection": nr.models.BasicBlock(
        16,
        16,
        1,
        projection(16, 16, 1, dtype=np.float64, rng=1),
        dtype=np.float64,
        rng=0,
    ),
}
for name, one in through.items():
    one(x)
    grad_sum = one.relu.backward(g)
    grad_shortcut = one.shortcut_backward(grad_sum)
    untouched = np.array_equal(grad_shortcut, grad_sum)
    ratio = np.linalg.norm(grad_shortcut) / np.linalg.norm(grad_sum)
    print(f"{name:10}  unchanged: {untouched!s:5}  norm x{ratio:.2f}")
    assert untouched == (name == "identity")

# %% [markdown]
# So: A has no parameters (the paper's choice for CIFAR), B is what ResNets for ImageNet
# have, torchvision's too, and C is hardly ever used.
#
# ## Two kinds of branch
#
# A **basic block** is 3x3, 3x3. A **bottleneck** is 1x1 down to a quarter of the
# channels, 3x3 there, 1x1 up again. Both are drawn here for 256 channels and 7x7
# pixels.

# %%
basic = nr.models.BasicBlock(256, 256, rng=0)
bottleneck = nr.models.Bottleneck(256, 64, rng=0)
print(bottleneck)

# %% [markdown]
# **Predict.** Which of them has more parameters, and how many times as many?
#
# By hand: a convolution has $K \cdot C \cdot KH \cdot KW$ weights, and as many MACs *at
# every place out*. Batch norm has $2K$ parameters, and its multiplications are not
# counted.

# %%
H = W = 7
weights = {
    "basic": [256 * 256 * 9, 256 * 256 * 9],
    "bottleneck": [256 * 64, 64 * 64 * 9, 64 * 256],
}
norms = {"basic": 2 * (256 + 256), "bottleneck": 2 * (64 + 64 + 256)}
costs = {
    "basic": nr.lens.cost(basic, (256, H, W)),
    "bottleneck": nr.lens.cost(bottleneck, (256, H, W)),
}
for name, cost in costs.items():
    parameters = sum(weights[name]) + norms[name]
    macs = sum(weights[name]) * H * W
    print(f"{name:10}  {parameters:9,} parameters  {macs:11,} MACs")
    assert cost.parameters == parameters
    assert cost.macs == macs
ratio = sum(weights["basic"]) / sum(weights["bottleneck"])
print(f"{ratio:.1f} times as many weights")
assert 16 < ratio < 17

# %%
shown = {row.name: row for row in costs["bottleneck"].rows}
for name in ("conv1", "conv2", "conv3"):
    row = shown[name]
    print(f"{name}  out {row.output_shape!s:14} {row.parameters:7,} weights")
layers = ["conv1, 1x1", "conv2, 3x3", "conv3, 1x1"]
with nr.plots.style.house_style():
    figure, (left, right) = nr.plots.style.new_figure(2, width=8.5, height=2.6)
    left.barh(layers, [64, 64, 256], color=nr.plots.style.BLUE)
    left.set_title("channels out")
    right.barh(layers, weights["bottleneck"], color=nr.plots.style.ORANGE)
    right.set_title("weights")
    for ax in (left, right):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
nr.course.show(
    figure,
    "The neck: 256 channels in, 64, 64, 256. The 3x3 works where it is narrow, so that "
    "with nine times as many taps it has little more than twice the weights of a 1x1.",
)
assert weights["bottleneck"][1] / weights["bottleneck"][0] == 2.25

# %% [markdown]
# The paper compares at equal *cost*, not at equal width (Fig. 5): a bottleneck on 256
# channels costs what a basic block on 64 costs. For the same price, four times as many
# channels are carried along.

# %%
narrow = 2 * 64 * 64 * 9
print(f"basic on 64: {narrow:,}, bottleneck on 256: {sum(weights['bottleneck']):,}")
assert 0.9 < sum(weights["bottleneck"]) / narrow < 1

# %% [markdown]
# The shortcut joins the two *wide* ends. That is why an identity matters even more here:
# **"a 1x1 convolution costs next to nothing"** is wrong where channels are many. A
# projection from 256 channels to 256 would nearly double the block.

# %%
extra = projection_parameters(256, 256)
share = extra / costs["bottleneck"].parameters
print(f"a projection adds {extra:,}: {share:.0%} of the block")
assert 0.9 < share < 1

# %% [markdown]
# ## Where the stride goes: v1 and v1.5
#
# The first bottleneck of the second stage of ResNet-50: 256 channels of 56x56 become
# 512 of 28x28. The paper puts the stride into the first 1x1 (v1); torchvision, and so
# this package, into the 3x3 (v1.5). The parameters are the same.
#
# **Predict.** Which layer gets dearer in v1.5, and by which factor?


# %%
def first_of_stage_two(stride_in):
    """Make the block, with its projection."""
    down = projection(256, 512, 2, dtype=np.float32, rng=1)
    return nr.models.Bottleneck(256, 128, 2, down, stride_in=stride_in, rng=0)


costs = {s: nr.lens.cost(first_of_stage_two(s), (256, 56, 56)) for s in ("1x1", "3x3")}
table = {s: {row.name: row.macs for row in c.rows} for s, c in costs.items()}
print("              v1 (1x1)  v1.5 (3x3)")
for name in ("conv1", "conv2", "conv3", "downsample.0"):
    print(f"{name:12} {table['1x1'][name]:11,} {table['3x3'][name]:11,}")
print(f"{'all':12} {costs['1x1'].macs:11,} {costs['3x3'].macs:11,}")

assert costs["1x1"].parameters == costs["3x3"].parameters
assert table["3x3"]["conv1"] == 256 * 128 * 56 * 56
assert table["1x1"]["conv1"] == 256 * 128 * 28 * 28
assert table["3x3"]["conv2"] == table["1x1"]["conv2"] == 9 * 128 * 128 * 28 * 28
assert costs["3x3"].macs - costs["1x1"].macs == 77_070_336

# %% [markdown]
# <details><summary>Why does conv2 cost the same?</summary>
#
# MACs are counted at the places that come out: 28x28 either way. Only `conv1` differs:
# in v1.5 it computes at all 56x56 places, in v1 at a quarter of them.
#
# </details>
#
# What does one get for it? A 1x1 with stride 2 never sees three pixels of four, and the
# projection does not see them either. In v1 they are lost to *both* ways. **Predict**
# the gradient at those pixels, then switch.

# %%
photo = rng.standard_normal((2, 8, 8, 8))
g = rng.standard_normal((2, 16, 4, 4))
arrived = {}
for stride_in in ("1x1", "3x3"):
    down = projection(8, 16, 2, dtype=np.float64, rng=1)
    one = nr.models.Bottleneck(
        8, 4, 2, down, stride_in=stride_in, dtype=np.float64, rng=0
    )
    out = one(photo)
    assert out.shape == g.shape
    grad_sum = one.relu.backward(g)
    by_branch, by_shortcut = (
        one.branch_backward(grad_sum),
        one.shortcut_backward(grad_sum),
    )
    arrived[stride_in] = {
        "branch": by_branch,
        "shortcut": by_shortcut,
        "both": by_branch + by_shortcut,
    }


def picture(stride_in):
    """Draw the size of the gradient at every pixel of x, all channels together."""
    ways = arrived[stride_in]
    sizes = [np.sqrt((grad[0] ** 2).sum(axis=0)) for grad in ways.values()]
    names = [f"stride in {stride_in}: {way}" for way in ways]
    return nr.plots.planes(sizes, names, numbers=False, size=2.7)


nr.course.sliders(
    picture,
    "v1, the stride in the 1x1: a gradient on a grid of single pixels, and through the "
    "shortcut on the same ones. Darkest is exactly 0: three pixels of four get "
    "none. Switch to 3x3: through the branch, every pixel hears of the loss.",
    stride_in=["1x1", "3x3"],
)
for stride_in, ways in arrived.items():
    seen = {way: f"{(grad != 0).mean():.0%}" for way, grad in ways.items()}
    print(f"stride in {stride_in}: pixels with a gradient", seen)
assert (arrived["1x1"]["both"] != 0).mean() == 0.25
assert (arrived["3x3"]["branch"] != 0).mean() == 1
assert (arrived["3x3"]["shortcut"] != 0).mean() == 0.25

# %% [markdown]
# What it means for a whole network: 4.09 instead of 3.86 billion MACs for ResNet-50
# (exercise 6). And weights trained one way lose accuracy the other way round, although
# every shape fits: no error tells you. The package counts this among
# the mistakes that one can inject:

# %%
known = nr.lens.bugs.describe("bottleneck_stride_on_1x1")
print(known.wrong)
print(known.symptom)
assert "3.86 instead of 4.09 billion" in known.symptom

# %% [markdown]
# The same weights, the same images, and no error anywhere:

# %%
twins = [
    nr.models.Bottleneck(
        8,
        4,
        2,
        projection(8, 16, 2, dtype=np.float64, rng=1),
        stride_in=s,
        dtype=np.float64,
        rng=0,
    )
    for s in ("3x3", "1x1")
]
twins[1].load_state_dict(twins[0].state_dict())
ours, theirs = (twin(photo) for twin in twins)
away = np.linalg.norm(ours - theirs) / np.linalg.norm(ours)
print(ours.shape, theirs.shape, f"apart by {away:.0%} of the norm")
assert ours.shape == theirs.shape
assert away > 0.2

# %% [markdown]
# A basic block has no such choice: its stride is in the first 3x3, in the paper and
# everywhere.
#
# ## Is it true?
#
# Finite differences, for every kind of shortcut and both branches:

# %%
kinds = {
    "basic, A": nr.models.BasicBlock(
        4, 8, 2, nr.nn.ZeroPadShortcut(4, 8, 2), dtype=np.float64, rng=0
    ),
    "basic, B": nr.models.BasicBlock(
        4, 8, 2, projection(4, 8, 2, dtype=np.float64, rng=1), dtype=np.float64, rng=0
    ),
    "bottleneck, v1.5": twins[0],
    "bottleneck, v1": twins[1],
}
for name, one in kinds.items():
    channels = one.conv1.in_channels
    checks = nr.testing.check_gradients(one, photo[:, :channels])
    print(f"{name:17} {len(checks):2} gradients agree")
    assert len(checks) == 1 + sum(1 for _ in one.parameters())

# %% [markdown]
# Where to read: [`BasicBlock`](../npresnet/models/blocks.py#L135-L193 "BasicBlock"),
# [`Bottleneck`](../npresnet/models/blocks.py#L210-L281 "Bottleneck"),
# [`projection`](../npresnet/models/blocks.py#L58-L70 "projection"),
# [`zero_pad_shortcut_forward`](../npresnet/functional/shortcut.py#L31-L79 "zero_pad_shortcut_forward"),
# the [derivation of shortcut A](../docs/derivations/zero_pad_shortcut.md), and
# [`cost`](../npresnet/lens/cost/measure.py#L30-L108 "cost").
#
# ## Exercises
#
# **1.** How many parameters has the projection of the first block of ResNet-50's second
# stage, from 256 to 512 channels, with its batch norm?

# %%
answer = ...
nr.course.check("06.1", answer)

# %% [markdown]
# **2.** Count the parameters of a bottleneck, batch norms included. `channels` are
# those of its 3x3; `projected` tells whether its shortcut is a projection.


# %%
def bottleneck_parameters(in_channels, channels, projected):
    """Count what learns in one bottleneck."""
    ...


nr.course.check("06.2", bottleneck_parameters)

# %% [markdown]
# **3.** Count the MACs of a bottleneck's branch, for one image of `size` x `size`
# pixels. `stride_in` is `"3x3"` or `"1x1"`; the stride divides the size.


# %%
def branch_macs(in_channels, channels, size, stride, stride_in):
    """Count the multiply-adds of its three convolutions."""
    ...


nr.course.check("06.3", branch_macs)

# %% [markdown]
# **4.** Write shortcut A. `x` is `(N, C, H, W)`.


# %%
def zero_pad(x, out_channels, stride):
    """Take every stride-th pixel, and put channels of zeros on both sides."""
    ...


nr.course.check("06.4", zero_pad)

# %% [markdown]
# **5.** And its backward pass: `g` has the shape of the output.


# %%
def zero_pad_backward(g, x_shape, stride):
    """Carry the gradient back to the pixels that were taken."""
    ...


nr.course.check("06.5", zero_pad_backward)

# %% [markdown]
# **6.** By how many MACs is ResNet-50 v1.5 dearer than v1, for one image of 224x224?
# Its stages have planes of 56, 28, 14 and 7 pixels; the stages 2, 3 and 4 begin with a
# stride of 2, on 256, 512 and 1024 channels.

# %%
answer = ...
nr.course.check("06.6", answer)
