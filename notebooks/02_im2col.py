# %% [markdown]
# # 02 · Convolution as matrices
#
# **How does a convolution become one matrix product, and what must its backward pass
# add up?**
#
# Seven loops define a convolution ([notebook 01](01_convolution.ipynb)). Copy every
# window into a column of a matrix, and the loops over channels and taps become a matrix
# product. The copying is called *im2col*. It is worth understanding for one reason
# above all: once the convolution is two matrices, its backward pass is the same two
# matrices, transposed.

# %%
import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.backend import Geometry, reference

rng = np.random.default_rng(0)

# %% [markdown]
# ## Windows into columns
#
# Four by four pixels, numbered, so that you see where each one goes.

# %%
x = np.arange(16.0).reshape(1, 1, 4, 4)  # (N, C, H, W)
geometry = Geometry.of((4, 4), 3)  # a 3x3 window, stride 1, no padding
columns = reference.im2col(x, geometry)
print("x", x.shape, " columns (N, C*KH*KW, OH*OW)", columns.shape)
assert columns.shape == (1, 1 * 3 * 3, 2 * 2)


def windows_and_columns(place):
    """Draw the window of one place, and the column that it became."""
    u, v = divmod(place, 2)
    window, column = np.zeros((4, 4), bool), np.zeros((9, 4), bool)
    window[u : u + 3, v : v + 3] = True
    column[:, place] = True
    return nr.plots.planes(
        [x[0, 0], columns[0]],
        ["image, 4 x 4", "columns, 9 x 4"],
        marked=[window, column],
        same_scale=True,
        numbers=True,
    )


nr.course.sliders(
    windows_and_columns,
    "The framed window, read row by row, is the framed column. Pixel 5 stands in all "
    "four columns: four windows see it. In a running notebook the slider moves on.",
    place=range(4),
)
assert np.array_equal(columns[0, :, 0], x[0, 0, 0:3, 0:3].ravel())
assert (columns == 5).sum() == 4

# %% [markdown]
# How does the package fill that matrix? Not place by place. One kernel tap $(i, j)$
# sees, over all places together, a plane of pixels with step $S$: a slice. So there are
# $KH \cdot KW$ copies, however large the image.

# %%
nr.course.source(reference.im2col)

# %%
nr.course.source(reference.window)

# %% [markdown]
# ## The product
#
# Put each kernel into a row of a matrix $\mathcal{W}$, $K \times (C \cdot KH \cdot
# KW)$. Row times column is the sum over channels and taps, which is one output number:
#
# $$ y = \mathcal{W} \, A(x) $$
#
# where $A$ stands for im2col. **Predict** the shape of $y$ for 2 images of 3 channels,
# 6x5 pixels, 4 kernels of 3x3, stride 2, padding 1.

# %%
x = rng.standard_normal((2, 3, 6, 5))
weight = rng.standard_normal((4, 3, 3, 3))
geometry = Geometry.of((6, 5), 3, stride=2, padding=1)

columns = reference.im2col(x, geometry)
kernels = weight.reshape(4, -1)
y = kernels @ columns
print("kernels", kernels.shape, " columns", columns.shape, " y", y.shape)
y = y.reshape(2, 4, *geometry.output_size)
print("as images", y.shape)

out, cache = F.conv2d_forward(x, weight, stride=2, padding=1)
assert np.allclose(y, out, rtol=1e-12, atol=1e-12)

# %% [markdown]
# That was the whole forward pass. **What it costs** is memory: the columns repeat each
# pixel as often as it is seen, up to $KH \cdot KW$ times.

# %%
image = np.zeros((1, 64, 56, 56), np.float32)  # in the first stage of a ResNet-50
repeated = reference.im2col(image, Geometry.of((56, 56), 3, padding=1))
print(f"{image.nbytes:,} bytes became {repeated.nbytes:,}")
assert repeated.nbytes == 9 * image.nbytes

# %% [markdown]
# This is why the package does not keep the columns for the backward pass but builds
# them again, and why its fast kernels never write them down at all.
#
# A 1x1 convolution needs no copying: its columns *are* the image, in another shape.

# %%
same = reference.im2col(x, Geometry.of((6, 5), 1))
assert np.array_equal(same, x.reshape(2, 3, 6 * 5))
print("1x1: columns", same.shape, "are the image", x.shape)

# %% [markdown]
# ## im2col is a matrix, too
#
# Copying is linear, so $A$ can be written as a matrix of zeros and ones: one row for
# each entry of the columns, one column for each pixel. Push one bright pixel after the
# other through `im2col`, and you get it column by column.

# %%
small = Geometry.of((4, 4), 3, padding=1)
pixels = np.eye(16).reshape(16, 1, 4, 4)  # image number p is bright at pixel p only
A = reference.im2col(pixels, small).reshape(16, -1).T
print("A", A.shape, " = (taps * places, pixels) = (9 * 16, 16)")

some = rng.standard_normal((1, 1, 4, 4))
assert np.array_equal(A @ some.ravel(), reference.im2col(some, small).ravel())
nr.course.show(
    nr.plots.planes(
        [A.T], ["A, transposed: 16 pixels down, 144 entries across"], size=8
    ),
    "Every entry of the columns (across) comes from one pixel (down), or from none: it "
    "reads the border. Every pixel goes to several entries. Diagonal stripes are the "
    "nine taps.",
)
ones_per_entry = A.sum(axis=1)
ones_per_pixel = A.sum(axis=0).reshape(4, 4)
assert set(ones_per_entry) == {0, 1}
print("a pixel goes to so many entries:")
print(ones_per_pixel)

# %% [markdown]
# ## Backward
#
# From above comes $g = \partial \ell / \partial y$, of the shape of $y$. With
# $y = \mathcal{W} X$ and $X = A x$, the rules for matrix products give all of it:
#
# $$ \frac{\partial \ell}{\partial \mathcal{W}} = g \, X^\top, \qquad
#    \frac{\partial \ell}{\partial X} = \mathcal{W}^\top g, \qquad
#    \frac{\partial \ell}{\partial x} = A^\top \frac{\partial \ell}{\partial X} $$
#
# The same matrices, transposed. Shapes leave no choice: try to multiply them in any
# other order.

# %%
g = rng.standard_normal(out.shape)  # random, as every gradient in a test should be
g_rows = g.reshape(2, 4, -1)
grad_kernels = g_rows @ columns.transpose(0, 2, 1)
print("g", g_rows.shape, "times columns, transposed:", grad_kernels.shape)
grad_weight = grad_kernels.sum(axis=0).reshape(weight.shape)  # all images add up
grad_columns = kernels.T @ g_rows
print("kernels, transposed, times g:", grad_columns.shape)

package_x, package_weight, _ = F.conv2d_backward(g, cache)
assert np.allclose(grad_weight, package_weight, rtol=1e-12, atol=1e-12)
assert grad_columns.shape == columns.shape

# %% [markdown]
# What is left is $A^\top$: from gradients of column entries to gradients of pixels.
# That is `col2im`.
#
# ## "col2im undoes im2col"
#
# **Predict.** An image of ones goes through `im2col` and then through `col2im`. Does it
# come back?

# %%
ones = np.ones((1, 1, 4, 4))
back = reference.col2im(reference.im2col(ones, small), small)
nr.course.show(
    nr.plots.planes([ones[0, 0], back[0, 0]], ["before", "after im2col, col2im"]),
    "It comes back multiplied by the number of windows that saw each pixel: nine in "
    "the middle, six at an edge, four in a corner.",
)
assert not np.array_equal(back, ones)
assert np.array_equal(back[0, 0], ones_per_pixel)

# %% [markdown]
# `col2im` is the *transpose* of `im2col`, not its inverse. A pixel that went to nine
# entries influenced nine things, and its gradient is the sum of what all nine send
# back. Copying forward is adding backward.

# %%
c = rng.standard_normal((1, 9, 16))
assert np.allclose(A.T @ c.ravel(), reference.col2im(c, small).ravel())
# What defines a transpose: <A x, c> = <x, A^T c>.
left = (reference.im2col(some, small) * c).sum()
right = (some * reference.col2im(c, small)).sum()
print(f"<A x, c> = {left:.6f}   <x, A^T c> = {right:.6f}")
assert np.isclose(left, right)

# %%
nr.course.source(reference.col2im)

# %% [markdown]
# ## Why `+=`
#
# **Predict.** In `col2im`, write `=` instead of `+=`. Which pixels come out wrong?


# %%
def col2im_overwriting(columns, geometry):
    """Do what col2im does, but with = where it has +=."""
    (H, W), (KH, KW) = geometry.input_size, geometry.kernel_size
    (PH, PW), (OH, OW) = geometry.padding, geometry.output_size
    planes = columns.reshape(len(columns), -1, KH, KW, OH, OW)
    padded = np.zeros((len(columns), planes.shape[1], H + 2 * PH, W + 2 * PW))
    for i in range(KH):
        for j in range(KW):
            reference.window(padded, i, j, geometry)[...] = planes[:, :, i, j]
    return reference.crop(padded, geometry)


grad_x = reference.col2im(grad_columns, geometry)
overwritten = col2im_overwriting(grad_columns, geometry)
seen = reference.col2im(np.ones_like(columns), geometry)[0, 0]
off = ~np.isclose(grad_x, overwritten).all(axis=(0, 1))
nr.course.show(
    nr.plots.planes(
        [seen, grad_x[0, 0], overwritten[0, 0]],
        ["windows that see a pixel", "grad_x, +=", "grad_x, ="],
        marked=[None, off, off],
    ),
    "Framed: where = goes wrong. Exactly where more than one window sees the pixel; "
    "where only one does, there is nothing to add.",
)
assert np.array_equal(off, seen > 1)
assert np.allclose(grad_x, package_x, rtol=1e-12, atol=1e-12)

# %% [markdown]
# With windows that do not overlap (stride as large as the kernel) the bug would not
# show. A test of convolution that has only such windows proves nothing.

# %%
apart = Geometry.of((6, 6), 3, stride=3)
c = rng.standard_normal((1, 9, 4))
assert np.array_equal(reference.col2im(c, apart), col2im_overwriting(c, apart))
print("stride 3, windows of 3x3: no difference")

# %% [markdown]
# ## "`a[index] += b` adds everything up"
#
# One may want to do it all in one line: an array that says for every entry of the
# columns which pixel it came from, and `grad_x[index] += grad_columns`.
#
# **Predict.** What does this print?

# %%
a = np.zeros(3)
a[[0, 0, 1]] += 1
print(a)

# %% [markdown]
# <details><summary>Why</summary>
#
# `a[index] += 1` means `a[index] = a[index] + 1`. The right side is read once, with
# `a[0]` as it was, and pixel 0 is written twice with the same 1. Repetitions are lost.
# `np.add.at` adds once per entry of the index. It is correct, and slow.
#
# </details>

# %%
assert np.array_equal(a, [1, 1, 0])
a = np.zeros(3)
np.add.at(a, [0, 0, 1], 1)
print(a)
assert np.array_equal(a, [2, 1, 0])

# The same with a convolution: where did every entry come from?
number = np.arange(16.0).reshape(1, 1, 4, 4)
valid = Geometry.of((4, 4), 3)
index = reference.im2col(number, valid).astype(int).ravel()
c = rng.standard_normal(index.size)
truth = reference.col2im(c.reshape(1, 9, 4), valid).ravel()

lost, added = np.zeros(16), np.zeros(16)
lost[index] += c
np.add.at(added, index, c)
assert np.allclose(added, truth)
assert not np.allclose(lost, truth)
print("wrong pixels with +=:", (~np.isclose(lost, truth)).sum(), "of 16")

last = np.zeros(16)
last[index] = c
assert np.array_equal(lost, last)  # from zero on, it is as wrong as =

# %% [markdown]
# Why may `col2im` say `+=` then? Because it adds to a *slice*, one tap at a time, and
# within one tap no pixel comes twice. The taps come one after the other.
#
# ## Left over, gone
#
# Pixels that no window saw get exactly 0: no row of $A$ reads them.

# %%
x7 = rng.standard_normal((1, 1, 8, 8))
w3 = rng.standard_normal((1, 1, 3, 3))
out7, cache7 = F.conv2d_forward(x7, w3, stride=2)
grad7, _, _ = F.conv2d_backward(rng.standard_normal(out7.shape), cache7)
assert (grad7[..., 7, :] == 0).all()
assert (grad7[..., :, 7] == 0).all()
assert (grad7[..., :7, :7] != 0).all()
print("8 pixels, window 3, stride 2: gradient of the last row", grad7[0, 0, 7])

# %% [markdown]
# ## Is it true?
#
# You do not have to believe matrix rules. Change one number a little and watch the
# loss: $\partial \ell / \partial x_p \approx (\ell(x_p + h) - \ell(x_p - h)) / 2h$.
# With the loss $\ell = \sum g \, y$ the gradient by $y$ is just $g$.


# %%
def loss(x, weight):
    """Weigh the output with g: its gradient with respect to the output is g."""
    out, _ = F.conv2d_forward(x, weight, stride=2, padding=1)
    return (out * g).sum()


def measured(array, place, h=1e-6):
    """Measure the slope of the loss by one number of x or weight."""
    before = array[place]
    array[place] = before + h
    up = loss(x, weight)
    array[place] = before - h
    down = loss(x, weight)
    array[place] = before
    return (up - down) / (2 * h)


for name, array, gradient in [("x", x, grad_x), ("weight", weight, grad_weight)]:
    for place in [(0, 0, 0, 0), (1, 2, 2, 1)]:
        slope = measured(array, place)
        print(f"{name}{place}: measured {slope:9.6f}, computed {gradient[place]:9.6f}")
        assert np.isclose(slope, gradient[place], rtol=1e-6, atol=1e-7)

# %% [markdown]
# `nr.testing.check_gradients` does this for all numbers at once, in random directions;
# it raises an error where one is wrong.

# %%
with nr.using_backend("reference"):
    layer = nr.nn.Conv2d(
        3, 4, 3, stride=2, padding=1, bias=False, dtype=np.float64, rng=rng
    )
    checks = nr.testing.check_gradients(layer, x)
for check in checks:
    print(
        f"{check.name:6} computed {check.analytic:9.6f}, measured {check.numeric:9.6f}"
    )
assert [check.name for check in checks] == ["x", "weight"]

# %% [markdown]
# ## "Backward costs as much as forward"
#
# Twice as much: two products, each with as many multiplications as the forward pass.

# %%
N, places = 2, columns.shape[-1]
forward = N * 4 * 27 * places  # (4, 27) @ (27, places), for each image
by_weight = N * 4 * places * 27  # (4, places) @ (places, 27)
by_input = N * 27 * 4 * places  # (27, 4) @ (4, places)
print(f"forward {forward:,}, backward {by_weight:,} + {by_input:,}")
assert forward == by_weight == by_input

# %% [markdown]
# ## The kernel turns after all
#
# There is a second way to write the gradient with respect to the input. Pixel $p$ was seen by output
# $u$ through tap $i = p - u$: the further on the output, the *earlier* the tap. So at
# stride 1 the gradient is itself a convolution, of $g$ with the kernels turned by 180
# degrees, and with the roles of $K$ and $C$ exchanged.
#
# **Predict.** `weight` is `(4, 3, 3, 3)` and $g$ has 4 channels. Which shape must the
# turned weights have, so that 3 channels come out?

# %%
out1, cache1 = F.conv2d_forward(x, weight, padding=1)
g1 = rng.standard_normal(out1.shape)
grad_x1, _, _ = F.conv2d_backward(g1, cache1)

turned = weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
again, _ = F.conv2d_forward(g1, turned, padding=3 - 1 - 1)
print("turned", turned.shape, " grad_x", again.shape)
assert np.allclose(again, grad_x1, rtol=1e-12, atol=1e-12)

not_turned = weight.transpose(1, 0, 2, 3)
assert not np.allclose(F.conv2d_forward(g1, not_turned, padding=1)[0], grad_x1)

# %% [markdown]
# It is the same sum in another order. `col2im` adds where the outputs push; the turned
# kernel collects where a pixel pulls. With a stride, only the first stays simple.
#
# ## The whole backward pass
#
# Six lines, and both halves of the package agree with them.


# %%
def backward_by_hand(g, x, weight, geometry):
    """Return the gradients with respect to x and weight, from matrices."""
    K = len(weight)
    columns = reference.im2col(x, geometry)
    kernels, g_rows = weight.reshape(K, -1), g.reshape(len(x), K, -1)
    grad_weight = (g_rows @ columns.transpose(0, 2, 1)).sum(axis=0)
    grad_x = reference.col2im(kernels.T @ g_rows, geometry)
    return grad_x, grad_weight.reshape(weight.shape)


ours_x, ours_weight = backward_by_hand(g, x, weight, geometry)
for backend in ("reference", "numba"):
    with nr.using_backend(backend):
        _, cache = F.conv2d_forward(x, weight, stride=2, padding=1)
        grad_x, grad_weight, _ = F.conv2d_backward(g, cache)
    assert np.allclose(grad_x, ours_x, rtol=1e-12, atol=1e-12)
    assert np.allclose(grad_weight, ours_weight, rtol=1e-12, atol=1e-12)
    print(backend, "agrees: grad_x", grad_x.shape, " grad_weight", grad_weight.shape)

# %% [markdown]
# Where to read: [`conv2d`](../npresnet/backend/reference.py#L94-L105 "conv2d"),
# [`conv2d_grad_input`](../npresnet/backend/reference.py#L108-L114 "conv2d_grad_input") and
# [`conv2d_grad_weight`](../npresnet/backend/reference.py#L117-L126 "conv2d_grad_weight"),
# the derivation with indices in [conv2d.md](../docs/derivations/conv2d.md), and how to
# be fast without the columns in [the ladder](../docs/ladder.md).

# %% [markdown]
# ## Exercises
#
# **1.** `x` has shape `(8, 16, 32, 32)`; windows of 3x3, stride 2, padding 1, and 32
# channels out. What is the shape of the columns?

# %%
answer = (..., ..., ...)
nr.course.check("02.1", answer)

# %% [markdown]
# **2.** A 3x3 convolution of ResNet-20, 16 channels, 32x32 pixels, stride 1, padding 1,
# batch of 128, float32. How many bytes do its columns take?

# %%
answer = ...
nr.course.check("02.2", answer)

# %% [markdown]
# **3.** In one dimension: how often is every pixel seen? Return an array of `length`
# whole numbers (no padding).


# %%
def times_seen(length, kernel_size, stride):
    """Count the windows that see each pixel of a row."""
    ...


nr.course.check("02.3", times_seen)

# %% [markdown]
# **4.** Write `col2im` for one row. `columns` is `(taps, places)`; return `length`
# numbers (no padding).


# %%
def add_back(columns, length, stride):
    """Add every column back to the pixels it was read from."""
    ...


nr.course.check("02.4", add_back)

# %% [markdown]
# **5.** The gradient with respect to the weights, as a matrix: `grad_rows` is `(N, K, places)`,
# `columns` is `(N, taps, places)`; return `(K, taps)`.


# %%
def grad_kernels(grad_rows, columns):
    """Let every weight collect what it multiplied."""
    ...


nr.course.check("02.5", grad_kernels)
