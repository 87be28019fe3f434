# %% [markdown]
# # 01 · Convolution by definition
#
# **How is one number of a feature map made, and how many such numbers are there?**
#
# A convolution slides a small window over an image. At every place it multiplies what
# it sees with its weights and adds up: one number out. That is all. The rest of this
# notebook is about *where* the window stands, because that is where the mistakes are.
#
# You need Python and NumPy, nothing else. Run the cells from top to bottom. Where it
# says **Predict**, write your answer down before you run the next cell: being wrong
# on paper is what makes the right answer stick.

# %%
import numpy as np

import npresnet as nr
from npresnet import functional as F

# %% [markdown]
# ## A drawn image
#
# Eight by eight pixels, dark 0 and bright 1, and a window of 3x3.

# %%
drawing = """
........
.#####..
.##.....
.####...
.##.....
.##.....
.##.....
........
"""
image = np.array([[float(c == "#") for c in row] for row in drawing.split()])
kernel = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
print("image", image.shape, " kernel", kernel.shape)
nr.course.show(
    nr.plots.sliding_window(image, kernel, place=(2, 1)),
    "The frame on the left is the window; what it sees, times the kernel, added up, is "
    "the framed number on the right. This kernel takes the right column minus the left "
    "one: positive (orange) where it gets brighter from left to right, negative "
    "(purple) where it gets darker.",
)

# %% [markdown]
# The framed number, by hand: $KH \cdot KW = 9$ products, one sum.

# %%
seen = image[2:5, 1:4]
print(seen)
print("products:")
print(seen * kernel)
by_hand = (seen * kernel).sum()
print("sum:", by_hand)
assert by_hand == -2

# %% [markdown]
# And the package? It works on batches of images with channels, `(N, C, H, W)`, so one
# grey image is `(1, 1, 8, 8)`, and one kernel `(K, C, KH, KW) = (1, 1, 3, 3)`.

# %%
x = image[None, None]
weight = kernel[None, None]
out, cache = F.conv2d_forward(x, weight)
print("x", x.shape, " weight", weight.shape, " out", out.shape)
print(out[0, 0])
assert out[0, 0, 2, 1] == by_hand

# %% [markdown]
# ## The definition
#
# Output pixel $(u, v)$, kernel tap $(i, j)$, one channel, no padding, stride 1
# (letters as in [the legend](../docs/notation.md)):
#
# $$ y_{u,v} = \sum_{i=0}^{KH-1} \sum_{j=0}^{KW-1} w_{i,j} \, x_{u+i,\,v+j} $$
#
# Four loops, then: two over the places, two over the taps.


# %%
def four_loops(image, kernel):
    """Convolve one channel: stride 1, no padding."""
    (H, W), (KH, KW) = image.shape, kernel.shape
    OH, OW = H - KH + 1, W - KW + 1
    out = np.zeros((OH, OW))
    for u in range(OH):
        for v in range(OW):
            for i in range(KH):
                for j in range(KW):
                    out[u, v] += kernel[i, j] * image[u + i, v + j]
    return out


assert np.array_equal(four_loops(image, kernel), out[0, 0])

# %% [markdown]
# ## "A convolution turns the kernel first"
#
# In mathematics it does: there is a minus sign, $x_{u-i,\,v-j}$. In deep learning it
# does not: what everybody calls convolution is *cross-correlation*.
#
# **Predict.** One row of pixels, `1 2 3 4`, and a kernel `1 10`. What are the three
# numbers, turned and not turned?

# %%
row, taps = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 10.0])
ours, _ = F.conv2d_forward(row.reshape(1, 1, 1, 4), taps.reshape(1, 1, 1, 2))
print("npresnet    ", ours.ravel())
print("np.correlate", np.correlate(row, taps, "valid"))
print("np.convolve ", np.convolve(row, taps, "valid"))
assert np.array_equal(ours.ravel(), np.correlate(row, taps, "valid"))
assert not np.array_equal(ours.ravel(), np.convolve(row, taps, "valid"))
assert np.array_equal(ours.ravel(), np.convolve(row, taps[::-1], "valid"))

# %% [markdown]
# <details><summary>Why nobody minds</summary>
#
# The weights are learned. A network that turned its kernels would learn the turned
# weights and compute the same. It matters when you *design* a kernel (exercise 5), and
# in the backward pass, where a turned kernel appears by itself (notebook 02).
#
# </details>

# %% [markdown]
# ## Channels
#
# A photograph has three channels, a feature map inside a ResNet up to 2048.
#
# **Predict.** `x` has 3 channels and you want 4 channels out, with windows of 3x3. How
# many weights are there: 9, 27, 36, or 108?

# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 3, 6, 5))  # (N, C, H, W)
weight = rng.standard_normal((4, 3, 3, 3))  # (K, C, KH, KW)
out, _ = F.conv2d_forward(x, weight)
print("x", x.shape, " weight", weight.shape, " out", out.shape)
print("weights:", weight.size)
assert weight.size == 4 * 3 * 3 * 3 == 108
assert out.shape == (2, 4, 4, 3)

# %% [markdown]
# **The misconception: "a 3x3 kernel is nine weights, used on every channel."** Each of
# the $K$ kernels is $C \times 3 \times 3$: it has nine weights *of its own* for every
# channel in, and adds the channels up:
#
# $$ y_{n,k,u,v} = b_k + \sum_{c,i,j} w_{k,c,i,j} \, x_{n,c,\,u+i,\,v+j} $$

# %%
n, k = 1, 2
added_up = sum(four_loops(x[n, c], weight[k, c]) for c in range(3))
print(f"largest difference: {np.abs(added_up - out[n, k]).max():.1e}")
assert np.allclose(added_up, out[n, k])

shared = weight.copy()
shared[:, 1:] = shared[:, :1]  # the same nine weights for every channel
assert not np.allclose(F.conv2d_forward(x, shared)[0], out)

# %% [markdown]
# ## Stride and padding
#
# The window need not stop everywhere, and need not stay inside.
#
# - **Stride** $S$: it moves $S$ pixels at a time.
# - **Padding** $P$: the image gets a border of $P$ zeros on every side first.
#
# Move the sliders. Watch the number of places, and the hatched pixels: no window ever
# sees those.

# %%
x = image[None, None]
weight = kernel[None, None]


def picture(stride, padding, step):
    """Draw the window after some steps; after the last it starts again."""
    out, _ = F.conv2d_forward(x, weight, stride=stride, padding=padding)
    place = np.unravel_index(step % out[0, 0].size, out.shape[2:])
    return nr.plots.sliding_window(image, kernel, place, stride=stride, padding=padding)


nr.course.sliders(
    picture,
    "Stride 2, no padding: nine places, and the last row and column (hatched) are left "
    "over. In a running notebook there are sliders here. Try stride 2 with padding 1: "
    "what is left over now is border. Which settings leave nothing over?",
    start={"stride": 2},
    stride=[1, 2, 3, 4],
    padding=[0, 1, 2],
    step=range(36),
)

# %% [markdown]
# ## How many numbers come out?
#
# **Predict**, before you read on: 8 pixels, window 3, stride 2, no padding. How many
# places? And with padding 1?
#
# The window covers $KH$ pixels when it starts. Of the padded row $H + 2P - KH$ pixels
# remain, and as many steps are taken as fit *whole*; the start counts as well:
#
# $$ OH = \left\lfloor \frac{H + 2P - KH}{S} \right\rfloor + 1 $$

# %%
print(" H KH  S  P   OH  seen  left over")
for H, KH, S, P in [
    (8, 3, 1, 0),
    (8, 3, 2, 0),
    (8, 3, 2, 1),
    (7, 3, 2, 0),
    (7, 3, 3, 0),
]:
    OH = (H + 2 * P - KH) // S + 1
    column = np.ones((1, 1, H, 1))
    taps = np.ones((1, 1, KH, 1))
    out, _ = F.conv2d_forward(column, taps, stride=(S, 1), padding=(P, 0))
    last = S * (OH - 1) + KH  # where the last window ends
    print(f"{H:2} {KH:2} {S:2} {P:2}  {OH:3}  {last:4}  {H + 2 * P - last:9}")
    assert out.shape[2] == OH
    assert 0 <= H + 2 * P - last < S

# %% [markdown]
# Left-over pixels do not count at all. Change one: nothing happens.

# %%
out, _ = F.conv2d_forward(x, weight, stride=2)
changed = x.copy()
changed[0, 0, 7, 7] = 1000  # the corner
after, _ = F.conv2d_forward(changed, weight, stride=2)
assert np.array_equal(out, after)
changed[0, 0, 6, 6] = 1000  # one step further in
after, _ = F.conv2d_forward(changed, weight, stride=2)
assert not np.array_equal(out, after)
print("the corner is left over, its neighbour is not")

# %% [markdown]
# **"Padding 1 keeps the size, stride 2 halves it."** Only for 3x3, and only for even
# sizes. In general $P = (KH - 1)/2$ keeps the size at stride 1, and an odd size is
# halved *upwards* then:


# %%
def size(H, KH, stride, padding):
    """Ask the package for the output's height."""
    column, taps = np.zeros((1, 1, H, 1)), np.zeros((1, 1, KH, 1))
    steps = {"stride": (stride, 1), "padding": (padding, 0)}
    out, _ = F.conv2d_forward(column, taps, **steps)
    return out.shape[2]


assert size(32, 3, 1, 1) == 32  # every 3x3 of a ResNet
assert size(32, 5, 1, 1) == 30  # 5x5 needs padding 2
assert size(32, 3, 2, 1) == 16
assert size(7, 3, 2, 1) == 4  # not 3, not 3.5
assert size(224, 7, 2, 3) == 112  # the first convolution of a ResNet for ImageNet
assert size(32, 1, 2, 0) == 16  # a 1x1 with stride: 3 of 4 pixels are never seen
print("224 ->", size(224, 7, 2, 3), "   7 ->", size(7, 3, 2, 1))

# %% [markdown]
# **"The border of zeros is neutral."** It is seen, and it shows. A constant image under
# a kernel of ones:

# %%
out, _ = F.conv2d_forward(np.ones((1, 1, 5, 5)), np.ones((1, 1, 3, 3)), padding=1)
nr.course.show(
    nr.plots.planes([out[0, 0]], ["3x3 ones on ones, padding 1"]),
    "Every pixel of the image is 1, the output is not constant: at an edge three of "
    "nine pixels are border, in a corner five. A network can tell from this how far it "
    "is from the edge.",
)
assert out[0, 0, 2, 2] == 9
assert out[0, 0, 0, 2] == 6
assert out[0, 0, 0, 0] == 4

# %% [markdown]
# ## Dilation
#
# **Dilation** $D$ spreads the taps: tap $(i, j)$ reads $D$ pixels further on per step.
# The window reaches over $D (KH - 1) + 1$ pixels with as many weights as before.
# ResNets do without it; the formula has it, so that it holds for all:
#
# $$ OH = \left\lfloor \frac{H + 2P - D (KH - 1) - 1}{S} \right\rfloor + 1 $$

# %%
nr.course.show(
    nr.plots.sliding_window(image, kernel, place=(0, 1), dilation=2, padding=1),
    "Dilation 2: nine taps, still, reaching over 5x5 pixels. The output is smaller, "
    "because the reach is larger.",
)
out, _ = F.conv2d_forward(x, weight, dilation=2, padding=1)
print("out", out.shape)
assert out.shape[2:] == ((8 + 2 - 2 * 2 - 1) // 1 + 1,) * 2 == (6, 6)

# %% [markdown]
# ## Everything at once
#
# Images, channels out, places, channels in, taps: seven loops. Here they are, with
# stride, padding and dilation, and the package must agree: its readable half and its
# compiled half, for sizes that are as awkward as sizes get.


# %%
def seven_loops(x, weight, bias, stride, padding, dilation):
    """Convolve by definition."""
    (N, C, H, W), (K, _, KH, KW) = x.shape, weight.shape
    S, P, D = stride, padding, dilation
    OH = (H + 2 * P - D * (KH - 1) - 1) // S + 1
    OW = (W + 2 * P - D * (KW - 1) - 1) // S + 1
    padded = np.zeros((N, C, H + 2 * P, W + 2 * P))
    padded[:, :, P : P + H, P : P + W] = x
    out = np.zeros((N, K, OH, OW))
    for n in range(N):
        for k in range(K):
            for u in range(OH):
                for v in range(OW):
                    out[n, k, u, v] = bias[k]
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                pixel = padded[n, c, u * S + i * D, v * S + j * D]
                                out[n, k, u, v] += weight[k, c, i, j] * pixel
    return out


x = rng.standard_normal((2, 3, 9, 7))
weight, bias = rng.standard_normal((4, 3, 3, 2)), rng.standard_normal(4)
for stride, padding, dilation in [(1, 0, 1), (2, 1, 1), (3, 2, 1), (2, 1, 2)]:
    steps = {"stride": stride, "padding": padding, "dilation": dilation}
    loops = seven_loops(x, weight, bias, **steps)
    for backend in ("reference", "numba"):
        with nr.using_backend(backend):
            out, _ = F.conv2d_forward(x, weight, bias, **steps)
        assert np.allclose(out, loops, rtol=1e-12, atol=1e-12)
    print(steps, "->", out.shape)

# %% [markdown]
# Nobody runs seven loops in Python. The package's readable half writes the windows down
# as a matrix, which is the subject of [notebook 02](02_im2col.ipynb). Where to read:
#
# - [`conv2d_forward`](../npresnet/functional/conv.py#L30-L109 "conv2d_forward"): what
#   you called: it checks the arguments and adds the bias,
# - [`output_length`](../npresnet/backend/geometry.py#L14-L23 "output_length"): the
#   formula,
# - [`conv2d`](../npresnet/backend/reference.py#L94-L105 "conv2d"): the sum itself.

# %%
nr.course.source(nr.backend.geometry.output_length)

# %% [markdown]
# ## Exercises
#
# Put your answer where the dots are and run the cell: it tells right from wrong.
# `nr.course.hint("01.1")` gives a hint, `nr.course.hint("01.1", 2)` the next, and
# `nr.course.solution("01.1")` the solution.
#
# **1.** The first convolution of ResNet-50 has windows of 7x7, stride 2 and padding 3.
# An image is 225 pixels high and 224 wide. What is `(OH, OW)`?

# %%
answer = (..., ...)
nr.course.check("01.1", answer)

# %% [markdown]
# **2.** Write the formula as a function.


# %%
def output_length(length, kernel_size, stride, padding, dilation):
    """Count the places of a window along one axis."""
    ...


nr.course.check("01.2", output_length)

# %% [markdown]
# **3.** How many weights has a 3x3 convolution from 64 channels to 128, without bias?

# %%
answer = ...
nr.course.check("01.3", answer)

# %% [markdown]
# **4.** How many pixels at the end of the *padded* row does no window reach? (Dilation
# 1, and windows at least as long as the stride.)


# %%
def left_over(length, kernel_size, stride, padding):
    """Count the pixels behind the last window."""
    ...


nr.course.check("01.4", left_over)

# %% [markdown]
# **5.** Find the 3x3 kernel that moves a picture one pixel to the *right*, with stride
# 1 and padding 1. An array of shape `(3, 3)`.

# %%
answer = ...
nr.course.check("01.5", answer)

# %% [markdown]
# **6.** How many pixels of the image, along one axis, does one pixel behind several
# layers see? `layers` is a list of `(kernel_size, stride)`, the first layer first.


# %%
def receptive_field(layers):
    """Count the image pixels that one output pixel depends on, along one axis."""
    ...


nr.course.check("01.6", receptive_field)
