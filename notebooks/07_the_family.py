# %% [markdown]
# # 07 · The whole family
#
# **What does every line of `print(model)` stand for, and what does it cost?**
#
# You know the parts: convolution, batch norm, ReLU, the block with its shortcut. A
# ResNet is a list of them. This notebook reads the list, counts its depth, its
# parameters and its multiplications by hand, and checks every count against the
# package. At the end you can say without a computer what a ResNet-50 costs, and why
# it costs hardly more than a ResNet-34.

# %%
import numpy as np

import npresnet as nr
from npresnet.plots import style

# %% [markdown]
# ## One bar per layer
#
# `nr.lens.cost` sends one black image through a network and notes what each layer
# does. MACs are multiplications, each with its addition, of convolutions and linear
# layers.
#
# **Predict.** ResNet-18 has 11.7 million parameters. Where are most of them: in the
# first layers, evenly everywhere, or in the last? And where are most multiplications?

# %%
resnet18 = nr.models.resnet18()
cost18 = nr.lens.cost(resnet18, (3, 224, 224))
print(cost18.summary())
nr.course.show(
    cost18.plot(),
    "ResNet-18, from the image (left) to the logits (right). Parameters grow towards "
    "the end. Multiplications stay level. The memory of what the layers put out is "
    "largest at the beginning. Three questions, three different answers.",
)
assert cost18.parameters == 11_689_512
assert cost18.macs == 1_814_073_344

# %% [markdown]
# ## The list, line by line
#
# The same tree that torchvision prints, in the same words.

# %%
print(resnet18)

# %% [markdown]
# Read it from the outside in.
#
# | line | what it says |
# |---|---|
# | `(conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), ...)` | the **stem**: 3 channels in, 64 out, every second pixel. `bias=False`: batch norm comes next, and its `bias` does that |
# | `(bn1): BatchNorm2d(64, ...)` | one mean, one variance, one scale, one shift for each of 64 channels |
# | `(maxpool)` | halves the size again: 224 became 112, becomes 56 |
# | `(layer1): Sequential(` | the first of four **stages**; inside, blocks `(0)`, `(1)`, ... |
# | `(0): BasicBlock(` | $y = \mathrm{relu}(F(x) + S(x))$; `conv1` to `bn2` are the branch $F$ |
# | `(downsample)` | the shortcut $S$, where shapes change: a projection. Where there is no such line, $S(x) = x$ |
# | `(avgpool)`, `(fc)` | average every channel over the image, then one linear layer |
#
# What stands at its default is left out, as PyTorch does: padding 0, dilation 1, groups 1.
#
# **Predict.** How many lines have `Conv2d` in them?

# %%
lines = str(resnet18).splitlines()
counted = {
    kind: sum(f": {kind}(" in line for line in lines)
    for kind in ("Conv2d", "BatchNorm2d", "ReLU", "BasicBlock", "Linear")
}
print(counted)
assert counted == {
    "Conv2d": 20,
    "BatchNorm2d": 20,
    "ReLU": 9,
    "BasicBlock": 8,
    "Linear": 1,
}

# %% [markdown]
# <details><summary>Why 20, if it is called ResNet-18</summary>
#
# The stem, two in each of eight blocks: 17. With the linear layer, 18. Three more are
# the projections on the shortcuts, which the paper does not count: *depth* is the
# number of layers with weights along the branches.
#
# </details>
#
# **"Nine ReLUs are printed, so nine are computed."** A block has one `ReLU` and calls
# it twice, after `bn1` and after the addition. What has no weights can be used again.

# %%
calls = {row.name: row.calls for row in cost18.rows if row.kind == "ReLU"}
print(calls)
assert calls["relu"] == 1
assert all(n == 2 for name, n in calls.items() if name != "relu")
assert sum(calls.values()) == 17

# %% [markdown]
# ## "`print(model)` shows what is computed"
#
# It shows what the network *has*. The order, and above all the addition, are in
# `forward`, which is not printed. Take a block of a ResNet-20 and one of the plain
# network of 20 layers: line by line the same.
#
# **Predict.** The plain network gets the very same weights. Does it compute the same?

# %%
resnet20, plain20 = nr.models.resnet20(), nr.models.plain20()
residual_block, plain_block = resnet20.layer1[1], plain20.layer1[1]
print(plain_block)
assert str(plain_block).replace("PlainBlock", "BasicBlock") == str(residual_block)

plain20.load_state_dict(resnet20.state_dict())  # every name fits
x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
resnet20.eval()
plain20.eval()
with nr.no_grad():
    assert not np.allclose(resnet20(x), plain20(x), rtol=0.1)
print("same lines, same weights, another function")

# %% [markdown]
# What is not printed stands here:

# %%
nr.course.source(nr.models.ResNet.forward)

# %% [markdown]
# ## The paper's table
#
# Five networks, one recipe. The size is halved by the stem, by the pooling, and at the
# beginning of stages 2, 3 and 4; each time the channels double. (He et al.,
# arXiv 1512.03385, Table 1.)
#
# | | output, for 224 x 224 | 18 | 34 | 50 | 101 | 152 |
# |---|---|---|---|---|---|---|
# | `conv1` | 112 x 112 | 7x7, 64, stride 2 | ← | ← | ← | ← |
# | `maxpool` | 56 x 56 | 3x3, stride 2 | ← | ← | ← | ← |
# | `layer1` | 56 x 56 | 2 | 3 | 3 | 3 | 3 |
# | `layer2` | 28 x 28 | 2 | 4 | 4 | 4 | 8 |
# | `layer3` | 14 x 14 | 2 | 6 | 6 | 23 | 36 |
# | `layer4` | 7 x 7 | 2 | 3 | 3 | 3 | 3 |
# | block | | basic: 3x3, 3x3 | basic | bottleneck: 1x1, 3x3, 1x1 | ← | ← |
# | channels out | | 64, 128, 256, 512 | ← | 256, 512, 1024, 2048 | ← | ← |
#
# Depth, then, is $1 + (\text{convolutions per block}) \cdot (\text{blocks}) + 1$.

# %%
FAMILY = {  # depth: (blocks in each stage, convolutions in a block)
    18: ((2, 2, 2, 2), 2),
    34: ((3, 4, 6, 3), 2),
    50: ((3, 4, 6, 3), 3),
    101: ((3, 4, 23, 3), 3),
    152: ((3, 8, 36, 3), 3),
}
for depth, (blocks, per_block) in FAMILY.items():
    counted = 1 + per_block * sum(blocks) + 1
    print(f"ResNet-{depth}: 1 + {per_block} * {sum(blocks)} + 1 = {counted}")
    assert counted == depth

resnet34, resnet50 = nr.models.resnet34(), nr.models.resnet50()
built = {18: resnet18, 34: resnet34, 50: resnet50}
for depth, model in built.items():
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    assert tuple(map(len, stages)) == FAMILY[depth][0]

# %% [markdown]
# **"ResNet-50 has 50 convolutions."** 49 on the way, and a linear layer. And 4
# projections beside the way: its first stage changes the channels, from 64 to 256, so
# that even there the first shortcut cannot be the identity.

# %%
for depth, model in built.items():
    kinds = [type(module).__name__ for module in model.modules()]
    print(f"ResNet-{depth}: {kinds.count('Conv2d')} convolutions")
    projections = 3 if depth < 50 else 4
    assert kinds.count("Conv2d") == depth - 1 + projections
assert len(resnet18.layer1[0].downsample) == 0  # nothing in it: the identity
assert len(resnet50.layer1[0].downsample) == 2  # a 1x1 convolution and batch norm

# %% [markdown]
# ## Parameters by hand
#
# | layer | parameters |
# |---|---|
# | convolution, no bias | $K \cdot C \cdot KH \cdot KW$ |
# | batch norm | $2K$: a scale and a shift per channel |
# | linear | $O \cdot I + O$ |
# | ReLU, pooling, addition, shortcut A | 0 |
#
# A basic block on 64 channels, and one whose shape changes:

# %%
same = 2 * (64 * 64 * 3 * 3) + 2 * (2 * 64)
changing = 64 * 128 * 3 * 3 + 128 * 128 * 3 * 3 + 2 * (2 * 128)
changing += 64 * 128 * 1 * 1 + 2 * 128  # the projection and its batch norm
print(f"layer1.1: {same:,}   layer2.0: {changing:,}")


def parameters_of(module):
    """Count the numbers that learn."""
    return sum(parameter.size for parameter in module.parameters())


assert parameters_of(resnet18.layer1[1]) == same
assert parameters_of(resnet18.layer2[0]) == changing

# %% [markdown]
# **"`running_mean` and `running_var` are parameters."** No gradient ever reaches them;
# they are *buffers*. They are saved with the weights, and counted with nobody's.

# %%
bn = resnet18.bn1
print("parameters:", [name for name, _ in bn.named_parameters()])
print("buffers:   ", [name for name, _ in bn.named_buffers()])
assert parameters_of(bn) == 2 * 64

# %% [markdown]
# ## Multiplications by hand
#
# A convolution uses *each of its weights once at each place of its output*:
#
# $$ \text{MACs} = \underbrace{K \cdot C \cdot KH \cdot KW}_{\text{weights}} \cdot
#    \underbrace{OH \cdot OW}_{\text{places}} $$
#
# This one line explains the first picture. From stage to stage, channels double, so a
# 3x3 has four times the weights; the size is halved, so that there are a quarter of
# the places.
#
# **Predict.** A 3x3 from 64 to 64 channels on 56 x 56 pixels, one from 512 to 512 on
# 7 x 7. Which one multiplies more?

# %%
print("channels  places   weights         MACs")
for C, size in [(64, 56), (128, 28), (256, 14), (512, 7)]:
    weights, places = C * C * 3 * 3, size * size
    print(f"{C:8} {places:7,} {weights:9,} {weights * places:12,}")
    assert weights * places == 115_605_504

# %% [markdown]
# All the same, to the last one. That is the paper's design rule (section 3.3): where the
# size is halved, channels double, so that a layer costs the same in every stage.
#
# Now the whole network: write down every convolution as
# `(stage, channels in, channels out, kernel, size of the output)`.


# %%
def convolutions(depth, image=224):
    """List the convolutions of an ImageNet ResNet, in torchvision's version."""
    blocks, per_block = FAMILY[depth]
    rows = [("stem", 3, 64, 7, image // 2)]
    C, size = 64, image // 4  # after the pooling
    for stage, count in enumerate(blocks):
        name, inner = f"layer{stage + 1}", 64 * 2**stage
        out = inner * (4 if per_block == 3 else 1)
        for block in range(count):
            before = size
            if stage > 0 and block == 0:
                size //= 2
            if per_block == 2:
                rows += [(name, C, inner, 3, size), (name, inner, out, 3, size)]
            else:  # the stride is in the 3x3
                rows += [(name, C, inner, 1, before), (name, inner, inner, 3, size)]
                rows += [(name, inner, out, 1, size)]
            if (C, before) != (out, size):
                rows += [(name, C, out, 1, size)]  # the projection
            C = out
    return rows


def by_hand(rows, features, classes):
    """Return parameters and MACs of convolutions, their batch norms, and fc."""
    parameters, macs = classes * features + classes, classes * features
    for _, C, K, kernel, size in rows:
        parameters += K * C * kernel**2 + 2 * K
        macs += K * C * kernel**2 * size**2
    return parameters, macs


PUBLISHED = {  # torchvision's documentation: parameters, and "GFLOPS", which are MACs
    18: (11_689_512, 1.81),
    34: (21_797_672, 3.66),
    50: (25_557_032, 4.09),
    101: (44_549_160, 7.80),
    152: (60_192_808, 11.51),
}
family = {}
print("         parameters            MACs")
for depth in FAMILY:
    features = 512 if depth < 50 else 2048
    parameters, macs = by_hand(convolutions(depth), features, 1000)
    family[f"ResNet-{depth}"] = parameters, macs
    print(f"{depth:6} {parameters:12,} {macs:15,}")
    assert parameters == PUBLISHED[depth][0]
    assert round(macs / 1e9, 2) == PUBLISHED[depth][1]

cost34 = nr.lens.cost(resnet34, (3, 224, 224))
cost50 = nr.lens.cost(resnet50, (3, 224, 224))
for depth, cost in [(18, cost18), (34, cost34), (50, cost50)]:
    assert family[f"ResNet-{depth}"] == (cost.parameters, cost.macs)

# %% [markdown]
# The paper's Table 1 says 3.8 for ResNet-50, not 4.09. There the stride is in a block's
# *first 1x1*, so that it has a quarter of the places. torchvision moved it into the 3x3,
# which then sees every pixel ("v1.5"). `stride_in="1x1"` builds the paper's. The
# parameters are the same.

# %%
paper50 = nr.models.resnet50(stride_in="1x1")
paper_cost = nr.lens.cost(paper50, (3, 224, 224))
moved = 0  # MACs of the first 1x1 of stages 2, 3 and 4
for C, inner, before in [(256, 128, 56), (512, 256, 28), (1024, 512, 14)]:
    moved += C * inner * (before**2 - (before // 2) ** 2)
print(f"v1.5 {cost50.macs:,}, the paper's {paper_cost.macs:,}")
assert paper_cost.macs == cost50.macs - moved
assert round(paper_cost.macs / 1e9, 3) == 3.858
assert paper_cost.parameters == cost50.parameters

# %% [markdown]
# ## Two different places
#
# **"With fewer parameters it is faster."** Not necessarily: where the parameters sit and
# where the multiplications sit are different places.


# %%
def by_stage(cost, what):
    """Share out one kind of cost: stem, four stages, classifier; in per cent."""
    shares = dict.fromkeys(("stem", "layer1", "layer2", "layer3", "layer4", "fc"), 0.0)
    for row in cost.rows:
        stage = row.name.partition(".")[0]
        if stage != "avgpool":
            shares[stage if stage in shares else "stem"] += getattr(row, what)
    total = sum(shares.values())
    return {stage: 100 * value / total for stage, value in shares.items()}


def where(costs):
    """Draw a bar for each network and kind of cost, cut into stages."""
    colors = [style.BLACK, style.BLUE, style.SKY_BLUE, style.GREEN, style.YELLOW]
    kinds = [
        ("parameters", "parameters"),
        ("macs", "MACs"),
        ("output_bytes", "outputs"),
    ]
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=9.5, height=4.0)
        labels, y = [], 0.0
        for name, cost in costs.items():
            for what, said in kinds:
                left = 0.0
                shares = by_stage(cost, what)
                for (stage, share), color in zip(
                    shares.items(), [*colors, style.VERMILION], strict=True
                ):
                    label = stage if y == 0 else None
                    axes.barh(y, share, 0.8, left, color=color, label=label)
                    if share > 4:
                        dark = stage in ("stem", "layer1")
                        ink = "white" if dark else "black"
                        middle = left + share / 2
                        axes.text(
                            middle,
                            y,
                            f"{share:.0f}",
                            color=ink,
                            ha="center",
                            va="center",
                        )
                    left += share
                labels.append((y, f"{name}, {said}"))
                y += 1
            y += 0.5
        axes.set_yticks(*zip(*labels, strict=True))
        axes.set(xlim=(0, 100), ylim=(y - 0.9, -0.6), xlabel="share of the whole, %")
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=6)
    return figure


nr.course.show(
    where({"ResNet-18": cost18, "ResNet-50": cost50}),
    "More than 70 % of ResNet-18's parameters are in its last stage, but less than a "
    "quarter of its multiplications. A third of the memory that its layers' outputs "
    "take is the stem's, which has hardly any parameters. The multiplications are "
    "shared out more evenly; layer3 of ResNet-50 has more because it has six blocks.",
)
parameters, macs = by_stage(cost18, "parameters"), by_stage(cost18, "macs")
outputs = by_stage(cost18, "output_bytes")
assert parameters["layer4"] > 70
assert outputs["stem"] > 100 / 3 > outputs["layer1"]
assert macs["layer4"] < 25
assert parameters["stem"] < 0.1 and macs["stem"] > 6
assert parameters["fc"] > 4 and macs["fc"] < 0.03

# %% [markdown]
# Larger images: **predict** what happens to parameters and multiplications when the
# image is twice as high and twice as wide.

# %%
small, large = (nr.lens.cost(resnet18, (3, size, size)) for size in (64, 128))
fc = 512 * 1000
print(f"parameters {small.parameters:,} and {large.parameters:,}")
print(f"MACs of convolutions {small.macs - fc:,} and {large.macs - fc:,}")
assert small.parameters == large.parameters
assert large.macs - fc == 4 * (small.macs - fc)

# %% [markdown]
# **"The parameters are what fills the memory."** At inference they may be. Training
# has to keep what layers put out, for each image of the batch, because the backward
# pass needs it.

# %%
MiB = 2**20
print(f"ResNet-50: parameters {cost50.parameter_bytes / MiB:.0f} MiB, ", end="")
print(f"outputs {cost50.output_bytes / MiB:.0f} MiB for each image")
assert 32 * cost50.output_bytes > 25 * cost50.parameter_bytes

# %% [markdown]
# That counts every layer's output once. Frameworks keep some of them, and compute
# others again; the order of magnitude stays.
#
# ## Why 1x1 makes ResNet-50 cheap
#
# ResNet-50 is ResNet-34 with every pair of 3x3 replaced by 1x1, 3x3, 1x1, and *four
# times the channels* between the blocks. Pairs of 3x3 on so many channels would cost
# $2 \cdot 9 \cdot (4c)^2 = 288 c^2$ weights. The bottleneck costs
#
# $$ \underbrace{4c \cdot c}_{1 \times 1} + \underbrace{9 c^2}_{3 \times 3} +
#    \underbrace{c \cdot 4c}_{1 \times 1} = 17 c^2 $$
#
# and a basic block on $c$ channels $18 c^2$. The window is what is expensive, so it is
# opened only where channels are few.
#
# Move the sliders: how narrow must the middle be?


# %%
def block_weights(channels, narrow):
    """Draw the weights of a bottleneck beside those of two 3x3 on all channels."""
    inner = channels // narrow
    parts = {
        f"1x1\n{channels} → {inner}": channels * inner,
        f"3x3\n{inner} → {inner}": 9 * inner * inner,
        f"1x1\n{inner} → {channels}": inner * channels,
        f"first 3x3\n{channels} → {channels}": 9 * channels**2,
        f"second 3x3\n{channels} → {channels}": 9 * channels**2,
    }
    values = list(parts.values())
    bottleneck, basic = sum(values[:3]), sum(values[3:])
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=8.0, height=3.2)
        colors = [style.ORANGE] * 3 + [style.BLUE] * 2
        axes.bar([0, 1, 2, 3.7, 4.7], values, 0.85, color=colors)
        axes.set_xticks([0, 1, 2, 3.7, 4.7], list(parts))
        axes.set_ylabel("weights")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="x")
        share = f"1/{basic / bottleneck:.1f}"
        axes.set_title(f"{bottleneck:,} against {basic:,}: {share}")
    return figure


nr.course.sliders(
    block_weights,
    "A bottleneck as ResNet-50 has it (orange), four times narrower in the middle, and "
    "two 3x3 on all channels (blue). In a running notebook there are sliders: with "
    "`narrow` 1 the 3x3 alone costs as much as one of the blue bars, with 8 there is "
    "little left of it, and the two 1x1 are most of the cost.",
    start={"channels": 256, "narrow": 4},
    channels=[64, 128, 256, 512, 1024, 2048],
    narrow=[1, 2, 4, 8],
)
c = 64
bottleneck, basic_wide = 4 * c * c + 9 * c * c + 4 * c * c, 2 * 9 * (4 * c) ** 2
print(f"{bottleneck:,} instead of {basic_wide:,}; a basic block on {c}: {18 * c * c:,}")
assert bottleneck == 17 * c * c < 18 * c * c
assert basic_wide / bottleneck > 16.9
convs = resnet50.layer1[1].layers()  # pairs of convolution and batch norm
assert sum(conv.weight.size for conv, _ in convs) == bottleneck
ratio = cost50.macs / cost34.macs
print(f"50 layers instead of 34, for {ratio:.2f} times the multiplications")
assert ratio < 1.15

# %% [markdown]
# **"A 1x1 convolution cannot do anything: it sees one pixel."** It sees one pixel *of
# all channels*, and mixes them: at every pixel the same matrix, $(K, C)$ times $C$
# numbers. In ResNet-50 more multiplications are in 1x1 than in 3x3.

# %%
kernels = {
    name: module.kernel_size[0]
    for name, module in resnet50.named_modules()
    if isinstance(module, nr.nn.Conv2d)
}
shares = {1: 0, 3: 0, 7: 0}
for row in cost50.rows:
    if row.name in kernels:
        shares[kernels[row.name]] += row.macs
for kernel, macs in shares.items():
    print(f"{kernel}x{kernel}: {100 * macs / cost50.macs:4.1f} % of the MACs")
assert shares[1] > shares[3] > shares[7]

conv = resnet50.layer1[1].conv3  # 1x1, from 64 to 256 channels
pixels = np.random.default_rng(1).standard_normal((1, 64, 5, 5), dtype=np.float32)
matrix = conv.weight.data[:, :, 0, 0]
print("matrix", matrix.shape, " pixels", pixels.shape)
assert np.allclose(
    conv(pixels), np.einsum("kc,nchw->nkhw", matrix, pixels), rtol=1e-4, atol=1e-5
)

# %% [markdown]
# ## The CIFAR networks
#
# For images of 32 x 32 the paper has another family (section 4.2): a 3x3 stem without
# pooling, three stages of $n$ basic blocks with 16, 32 and 64 channels on 32 x 32,
# 16 x 16 and 8 x 8 pixels, ten classes. Depth: $1 + 2 \cdot 3n + 1 = 6n + 2$. Where shapes
# change, shortcut A takes every second pixel and adds channels of zeros: no weights.


# %%
def cifar_convolutions(depth):
    """List the convolutions of a CIFAR ResNet with shortcut A."""
    n = (depth - 2) // 6
    rows = [("stem", 3, 16, 3, 32)]
    C = 16
    for stage, (K, size) in enumerate([(16, 32), (32, 16), (64, 8)]):
        for _ in range(n):
            rows += [(f"layer{stage + 1}", C, K, 3, size)]
            rows += [(f"layer{stage + 1}", K, K, 3, size)]
            C = K
    return rows


PAPER = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}  # millions
print("         parameters            MACs")
for depth in (8, 14, 20, 32, 44, 56, 110, 1202):
    parameters, macs = by_hand(cifar_convolutions(depth), 64, 10)
    family[f"CIFAR-{depth}"] = parameters, macs
    print(f"{depth:6} {parameters:12,} {macs:15,}")
    if depth in PAPER:
        digits = 2 if depth < 110 else 1
        assert round(parameters / 1e6, digits) == PAPER[depth]
assert family["CIFAR-20"] == (269_722, 40_551_040)
assert family["CIFAR-1202"][0] == 19_421_274

# %% [markdown]
# Everything but stem and classifier is $n$ times the same, so costs grow along a
# straight line: six layers more are 97,216 parameters more.

# %%
step = family["CIFAR-14"][0] - family["CIFAR-8"][0]
print(f"six layers: {step:,} parameters")
for n in (3, 9, 18, 200):
    assert family[f"CIFAR-{6 * n + 2}"][0] == family["CIFAR-8"][0] + (n - 1) * step

# Shortcut B instead of A: two projections, each with its batch norm.
projections = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
with_b = parameters_of(nr.models.resnet20(shortcut="B"))
print(f"ResNet-20 with shortcut B: {with_b:,}, {projections:,} more")
assert with_b == family["CIFAR-20"][0] + projections == 272_474

# %% [markdown]
# **"ResNet-18 and ResNet-20 are about the same, one has two layers more."** They are of
# different families. **"Deeper is larger."** Neither.


# %%
def at_a_glance(family):
    """Draw every network's parameters and multiplications, on logarithmic axes."""
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=8.0, height=4.2)
        looks = [("ResNet", style.RESIDUAL, "ImageNet, 224 x 224")]
        looks += [("CIFAR", style.PLAIN, "CIFAR, 32 x 32")]
        for kind, look, label in looks:
            chosen = {k: v for k, v in family.items() if k.startswith(kind)}
            x, y = zip(*chosen.values(), strict=True)
            axes.plot(x, y, color=look.color, marker=look.marker, ls="", label=label)
            for name, (a, b) in chosen.items():
                below = name.partition("-")[2] in (
                    "14",
                    "32",
                    "56",
                    "50",
                    "1202",
                    "101",
                )
                place = (6, -12) if below else (-6, 5)
                axes.annotate(
                    name.partition("-")[2],
                    (a, b),
                    xytext=place,
                    textcoords="offset points",
                    ha="left" if below else "right",
                )
        line = np.array([5e4, 1e8])
        axes.plot(line, 150 * line, color=style.GREY, ls=":", zorder=0)
        axes.text(3.4e6, 3.4e8, "150 MACs per parameter", color=style.GREY)
        axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="MACs")
        axes.legend()
    return figure


nr.course.show(
    at_a_glance(family),
    "Every network of both families. ResNet-20 has less than a fortieth of ResNet-18's "
    "parameters and of its multiplications. 1202 layers are fewer parameters than 34. "
    "All lie near one line: a weight is used some 150 times per image, whatever the "
    "depth.",
)
assert family["ResNet-18"][0] > 40 * family["CIFAR-20"][0]
assert family["ResNet-18"][1] > 40 * family["CIFAR-20"][1]
assert family["CIFAR-1202"][0] < family["ResNet-34"][0]
assert all(140 < macs / parameters < 195 for parameters, macs in family.values())

# %% [markdown]
# ## Names
#
# `state_dict()` has every parameter and every buffer, under its path through the tree.
# Stages count from 1 (`layer1`), what is inside from 0.
#
# **Predict.** Batch norm behind the projection, in the first block of the third stage,
# its running variance: what is its name? (It is exercise 6; here is another.)

# %%
state = resnet18.state_dict()
for name in list(state)[:6] + [k for k in state if k.startswith("layer2.0.down")]:
    print(f"{name:45} {state[name].shape}")
assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
assert state["layer2.0.downsample.0.weight"].size == 64 * 128
bn = resnet18.layer2[0].downsample[1]  # the path, as attributes
assert np.array_equal(state["layer2.0.downsample.1.running_var"], bn.running_var)
assert not any("relu" in name or "maxpool" in name for name in state)

# %% [markdown]
# **"The state dict holds the parameters."** And the buffers, three for each batch norm.
# Without them a trained network would normalise with mean 0 and variance 1 and be
# worthless in evaluation mode. Names are torchvision's, so that weights go either way.
#
# **Predict.** 20 convolutions, 20 batch norms, one linear layer: how many entries?

# %%
entries = 20 * 1 + 20 * (2 + 3) + 2
print(f"{len(state)} entries, {len(list(resnet18.named_buffers()))} are buffers")
assert len(state) == entries == 122
learned = {name for name, _ in resnet18.named_parameters()}
assert sum(state[name].size for name in learned) == cost18.parameters

renamed = {name.replace("layer4", "stage4"): value for name, value in state.items()}
try:
    resnet18.load_state_dict(renamed)
except ValueError as error:
    print(str(error)[:60], "...")
else:
    raise AssertionError("a wrong name has to be an error")

# %% [markdown]
# ## Hand and package agree
#
# All counts once more, against the package.

# %%
for depth, model in [(18, resnet18), (34, resnet34), (50, resnet50)]:
    assert parameters_of(model) == family[f"ResNet-{depth}"][0]
for depth in (8, 14, 20, 32, 44, 56, 110):
    model = nr.models.create(f"resnet{depth}")
    cost = nr.lens.cost(model, (3, 32, 32))
    assert (cost.parameters, cost.macs) == family[f"CIFAR-{depth}"]
    print(f"CIFAR ResNet-{depth}: {cost.parameters:,} parameters, {cost.macs:,} MACs")

# %% [markdown]
# Where to read: [`ResNet`](../npresnet/models/resnet.py#L61-L236 "ResNet"), of which
# the families are made, as [CIFAR's](../npresnet/models/cifar.py#L34-L78 "cifar_resnet"),
# [`Bottleneck`](../npresnet/models/blocks.py#L210-L281 "Bottleneck"),
# [`cost`](../npresnet/lens/cost/measure.py#L30-L108 "cost"), and
# [`state_dict`](../npresnet/nn/module.py#L216-L218 "Module.state_dict"). How fast those
# multiplications can go is the subject of [notebook 12](12_fast.ipynb).

# %% [markdown]
# ## Exercises
#
# **1.** How many `Conv2d` has a ResNet-34, projections included?

# %%
answer = ...
nr.course.check("07.1", answer)

# %% [markdown]
# **2.** Count the multiplications of one convolution. `size` is the height and width of
# its *input*.


# %%
def macs(in_channels, out_channels, kernel_size, size, stride, padding):
    """Count the multiply-adds for one square image."""
    ...


nr.course.check("07.2", macs)

# %% [markdown]
# **3.** How many parameters has a ResNet-18 for 10 classes instead of 1000?

# %%
answer = ...
nr.course.check("07.3", answer)

# %% [markdown]
# **4.** Count the parameters of a CIFAR ResNet with shortcut A and ten classes, batch
# norms and classifier included.


# %%
def parameters(depth):
    """Count the numbers that learn in the network of 6n+2 layers."""
    ...


nr.course.check("07.4", parameters)

# %% [markdown]
# **5.** How many weights have the three convolutions of a bottleneck with `channels`
# channels in and out, whose middle is `narrow` times narrower?


# %%
def bottleneck_weights(channels, narrow):
    """Count the weights of 1x1, 3x3, 1x1."""
    ...


nr.course.check("07.5", bottleneck_weights)

# %% [markdown]
# **6.** ResNet-18, third stage, first block, batch norm behind the projection: what is
# the name of its running variance in the state dict? A text.

# %%
answer = ...
nr.course.check("07.6", answer)
