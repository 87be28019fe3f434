# %% [markdown]
# # 12 · From seven loops to the limit of the machine
#
# **Why do the same sums run ten thousand times faster, and where does it end?**
#
# The convolution of [notebook 01](01_convolution.ipynb), seven loops, is correct and
# unusably slow. Here it gets faster step by step. Each step changes one thing, and each
# gives the same numbers, up to rounding. At the end you know what the package's fast
# kernels do, and can read them.
#
# The steps are those of [the ladder](../docs/ladder.md), measured there with care, on
# all cores. Here everything runs on one core. Times are processor time, which counts
# only while this thread computes; they differ from machine to machine, so that only
# rough ratios are asserted.

# %%
import time
from fractions import Fraction

import numba
import numpy as np

import npresnet as nr
from npresnet import functional as F
from npresnet.backend import Geometry, reference
from npresnet.backend.kernels import micro_kernels, winograd_transforms
from npresnet.backend.kernels.vectors import Emitter
from npresnet.plots import style
from npresnet.plots.ladder import ladder

rng = np.random.default_rng(0)
threads_before = nr.get_threads()
nr.set_threads(1)

# %% [markdown]
# ## What lies next to what
#
# Memory is one long row. An image is `(N, C, H, W)`; which index runs fastest is a
# choice. One image of 4 channels, 6 x 6 pixels, in two layouts:
#
# **Predict.** A 3x3 window sees 36 numbers. Into how many unbroken pieces of memory do
# they fall, channel by channel? And with the channels of a pixel side by side?

# %%
seen = np.zeros((1, 4, 6, 6))
seen[:, :, 1:4, 2:5] = 1
channel_by_channel = seen.ravel()
side_by_side = seen.transpose(0, 2, 3, 1).ravel()


def pieces(memory):
    """Return begin and length of the unbroken runs of ones."""
    edges = np.diff(memory, prepend=0, append=0)
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(b), int(e - b)) for b, e in zip(begins, ends, strict=True)]


def lines_of_memory(layouts, length=48):
    """Draw memory in lines, read like a text; what is seen in blue."""
    with style.house_style():
        figure, every = style.new_figure(2, width=9.5, height=1.9)
        for axes, (name, memory) in zip(every, layouts.items(), strict=True):
            lines = memory.size // length
            axes.barh(range(lines), length, 0.6, color=style.GRID)
            for begin, count in pieces(memory):
                line, left = divmod(begin, length)
                axes.barh(line, count, 0.6, left, color=style.BLUE)
            axes.set_title(f"{name}: {len(pieces(memory))} pieces")
            axes.set(xlim=(0, length), ylim=(lines - 0.5, -0.5))
            axes.set_axis_off()
    return figure


print("channel by channel, (begin, length):", pieces(channel_by_channel))
print("side by side:", pieces(side_by_side))
nr.course.show(
    lines_of_memory(
        {"channel by channel": channel_by_channel, "side by side": side_by_side}
    ),
    "Memory, read line by line like a text; blue is what one 3x3 window sees of 4 "
    "channels. With channels side by side it is three pieces, however many channels "
    "there are.",
)
assert len(pieces(channel_by_channel)) == 4 * 3
assert [length for _, length in pieces(side_by_side)] == [12, 12, 12]

# %% [markdown]
# Shapes stay `(N, C, H, W)` in the whole package; only the strides tell.

# %%
image = rng.standard_normal((2, 64, 28, 28), dtype=np.float32)
x = np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
weight = rng.standard_normal((64, 64, 3, 3), dtype=np.float32)
geometry = Geometry.of((28, 28), 3, padding=1)
print("shape", image.shape, " bytes to the next (n, c, h, w):", image.strides)
print("shape", x.shape, " bytes to the next (n, c, h, w):", x.strides)
assert np.array_equal(x, image)
assert image.strides[3] == x.strides[1] == 4  # the neighbours: pixels; channels

# The work: one 3x3 convolution. A float64 result is the truth to compare with.
truth = reference.conv2d(x.astype(float), weight.astype(float), geometry)
operations = 2 * truth.size * 64 * 3 * 3  # multiplications and additions
print("out", truth.shape, f" {operations:,} operations")
assert operations == 115_605_504


def error(out):
    """Return the largest error, as a part of the largest output."""
    return np.abs(out - truth[tuple(map(slice, out.shape))]).max() / np.abs(truth).max()


# %% [markdown]
# ## 1. Seven loops
#
# Here they are again. Python may do a corner only: 2 channels of 4 x 4 pixels.


# %%
def seven_loops(padded, weight, out):
    """Convolve by definition, stride 1."""
    N, K, OH, OW = out.shape
    _, C, KH, KW = weight.shape
    for n in range(N):
        for k in range(K):
            for u in range(OH):
                for v in range(OW):
                    total = out.dtype.type(0)
                    for c in range(C):
                        for i in range(KH):
                            for j in range(KW):
                                pixel = padded[n, c, u + i, v + j]
                                total += weight[k, c, i, j] * pixel
                    out[n, k, u, v] = total


padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
corner = np.empty((1, 2, 4, 4), np.float32)
seven_loops(padded, weight, corner)
print("corner", corner.shape)
assert error(corner) < 1e-5

# %% [markdown]
# For each product Python looks up types, makes objects for five indices and two
# numbers, and throws them away.
#
# ## 2. The same loops, compiled
#
# **Predict.** Numba compiles the same function, not a line is changed. What is gained:
# 2 times, 20 times, or hundreds of times? And is the result good then?

# %%
compiled_loops = numba.njit(seven_loops)
out = np.empty(truth.shape, np.float32)
compiled_loops(padded, weight, out)  # the first call compiles
assert error(out) < 1e-5


def speed(run, operations, repeats=3):
    """Return billions of operations per second of processor time, at best."""
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        run()
        times.append(time.thread_time() - begin)
    return operations / min(times) / 1e9


# %% tags=["varies"]
share = corner.size / truth.size
speeds = {
    "seven loops, Python": speed(
        lambda: seven_loops(padded, weight, corner), share * operations
    ),
    "seven loops, compiled": speed(
        lambda: compiled_loops(padded, weight, out), operations
    ),
}
for name, value in speeds.items():
    print(f"{name:30} {value:10.4f} GFLOP/s")
assert speeds["seven loops, compiled"] > 20 * speeds["seven loops, Python"]

# %% [markdown]
# **"It is compiled, so it is as fast as the machine."** A vector instruction computes
# 4, 8 or 16 numbers at once. The compiled loops use one lane of it, because every
# addition to `total` waits for the one before, and the compiler may not put them into
# another order: floating-point sums depend on it.
#
# **Predict.** The same 100,000 numbers, added up in 1, 2, 4, 8 and 16 parts. How many
# different sums?

# %%
numbers = rng.standard_normal(100_000, dtype=np.float32)
sums = set()
for parts in (1, 2, 4, 8, 16):
    total = np.float32(0)
    for part in np.array_split(numbers, parts):
        total += np.cumsum(part)[-1]  # one after the other, in float32
    sums.add(float(total))
print(len(sums), "different sums")
assert len(sums) > 1
assert max(sums) - min(sums) < 0.1  # rounding, nothing worse

# %% [markdown]
# ## 3. im2col and a library
#
# [Notebook 02](02_im2col.ipynb): copy the windows into columns, then multiply two
# matrices. The library behind `@` has all that follows below, for matrices.

# %%
out = reference.conv2d(x, weight, geometry)
columns = reference.im2col(x, geometry)
print("columns", columns.shape, f" {columns.nbytes:,} bytes for {x.nbytes:,}")
assert error(out) < 1e-5
assert columns.nbytes == 9 * x.nbytes

# %% [markdown]
# **"im2col is fast because it computes less."** It computes exactly as much, and
# copies on top of it. It is fast because the product is done by all lanes, from the
# cache, with sums in registers. Can we have that without the copy?
#
# ## 4. Lanes along channels
#
# The seven loops in another order: output channels innermost. Then the innermost loop
# adds to 64 *different* sums, and none waits for another. Weights of one tap and one
# input channel lie side by side for all output channels, once they are put in that
# order; the pixel is one number for all of them.


# %%
@numba.njit
def channels_innermost(padded, taps, out):
    """Convolve (N, H, W, C) with taps (KH, KW, C, K)."""
    N, OH, OW, K = out.shape
    KH, KW, C, _ = taps.shape
    for n in range(N):
        for u in range(OH):
            for v in range(OW):
                sums = out[n, u, v]
                sums[:] = 0
                for i in range(KH):
                    for j in range(KW):
                        for c in range(C):
                            pixel = padded[n, u + i, v + j, c]
                            weights = taps[i, j, c]
                            for k in range(K):
                                sums[k] += pixel * weights[k]


padded_last = np.pad(image.transpose(0, 2, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
padded_last = np.ascontiguousarray(padded_last)
taps = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))
out_last = np.empty((2, 28, 28, 64), np.float32)
channels_innermost(padded_last, taps, out_last)
print("padded", padded_last.shape, " taps", taps.shape, " out", out_last.shape)
assert error(out_last.transpose(0, 3, 1, 2)) < 1e-5

# %% [markdown]
# No columns, and nothing is summed across lanes, so padding, stride and odd sizes are
# only addresses. What is left to do: for each product this loop reads a weight, reads a
# sum and writes the sum.
#
# ## 5. The register tile
#
# Many cores multiply and add two vectors per cycle, but only if everything is in
# registers, and there are 16 or 32 of these. So keep a small matrix of sums there:
# `rows` pixels times `vectors` vectors of channels. At each step, load the vectors of
# weights and one number for each pixel: `rows + vectors` loads for `rows * vectors`
# products.
#
# **Predict.** 32 registers. Which tile needs the fewest loads per product: 28 x 1,
# 14 x 2, 9 x 3?


# %%
def registers(rows, vectors):
    """Draw what the registers of a core hold."""
    kinds = ["sum"] * (rows * vectors) + ["weights"] * vectors + ["pixel"]
    kinds += ["free"] * (32 - len(kinds))
    colors = {"sum": style.BLUE, "weights": style.ORANGE, "pixel": style.GREEN}
    colors["free"] = style.GRID
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=8.0, height=3.4)
        for place, kind in enumerate(kinds):
            left, top = place % 16, place // 16
            lost = place >= 32  # these would have to live in memory
            axes.barh(
                top,
                0.9,
                0.85,
                left,
                color=colors[kind],
                edgecolor=style.VERMILION if lost else "none",
                hatch="///" if lost else None,
                label=kind if place == kinds.index(kind) else None,
            )
        lines = max(2, -(-len(kinds) // 16))
        axes.set(xlim=(-0.1, 16), ylim=(max(lines, 3) - 0.4, -0.6))
        axes.set_axis_off()
        loads = (rows + vectors) / (rows * vectors)
        short = max(0, len(kinds) - 32)
        note = f"{short} registers too many" if short else "fits"
        axes.set_title(
            f"{rows} pixels x {vectors} vectors: {loads:.2f} loads per product, {note}"
        )
        figure.legend(loc="outside lower center", ncols=4)
    return figure


nr.course.sliders(
    registers,
    "The package's tile where there are 32 registers: 28 sums, 0.57 loads per product. "
    "A core that can do two loads and two products per cycle is then limited by the "
    "products. In a running notebook there are sliders; hatched registers are not "
    "there, and their sums would go to memory and back.",
    start={"rows": 14, "vectors": 2},
    rows=[1, 2, 4, 6, 8, 9, 10, 14, 16, 28],
    vectors=[1, 2, 3, 4],
)
for rows, vectors in [(1, 1), (28, 1), (14, 2), (9, 3), (16, 2)]:
    needed = rows * vectors + vectors + 1
    loads = (rows + vectors) / (rows * vectors)
    print(f"{rows:2} x {vectors}: {needed:2} registers, {loads:.2f} loads per product")
assert 14 * 2 + 2 + 1 <= 32 < 16 * 2 + 2 + 1
assert (14 + 2) / (14 * 2) < (28 + 1) / 28  # more vectors, fewer loads
assert 9 * 3 + 3 + 1 <= 32

# %% [markdown]
# 9 x 3 would need fewer loads still. But three vectors of 16 are 48 channels, which do
# not divide 64; and with 14 x 2 the products are the limit already, so that there is
# nothing to gain.
#
# The loop that keeps such a tile is called a *micro-kernel*. The package's is an ordinary
# Python function first, which says what is computed; the compiled version, written in
# LLVM's vector types, replaces it inside kernels.

# %%
nr.course.source(micro_kernels.wide_conv)

# %% [markdown]
# Call it as it is. It computes *some* outputs, here the first of one image, and needs to
# know only where each begins to read and to write. Three `segments` are all that is
# left of im2col: with channels side by side, the three taps of a row are one segment of
# memory.

# %% tags=["varies"]
shape = micro_kernels.tile_shape(np.dtype(np.float32))
lanes, rows = shape.lanes, shape.rows
width = 2 * lanes  # channels of a tile
print(f"this machine: {lanes} numbers in a vector, tiles of {rows} x {width}")

row_size = padded_last.shape[2] * 64  # numbers in a row of padded pixels
segments = np.arange(3) * row_size  # where the rows of the window begin
u, v = np.divmod(np.arange(rows), 28)
reads = u * row_size + v * 64
writes = (u * 28 + v) * 64
packed = np.ascontiguousarray(taps.reshape(9 * 64, 64)[:, :width])
zeros = np.zeros(64, np.float32)
result = np.zeros(28 * 28 * 64, np.float32)
micro_kernels.wide_conv(
    *(result, 0, writes),
    *(padded_last.reshape(-1), 0, reads, 0),
    *(segments, 3 * 64),
    *(packed.reshape(-1), 0),
    *(zeros, 0),  # the bias
    *(zeros, False),  # no residual
    np.float32(-np.inf),  # no ReLU: nothing is less
)
for p in range(rows):
    wanted = truth[0, :width, u[p], v[p]]
    computed = result[writes[p] : writes[p] + width]
    assert np.allclose(computed, wanted, rtol=1e-4, atol=1e-3)

# %% [markdown]
# The step that counts, in the words that write vector instructions: broadcast each number
# to a vector, multiply it by every vector of weights, add to the sums.

# %%
nr.course.source(Emitter.add_products)

# %% [markdown]
# ## 6. Winograd: fewer products
#
# When nothing can be computed faster, compute less. Two neighbouring outputs of a row of
# three taps, by definition:
#
# $$ y_0 = x_0 w_0 + x_1 w_1 + x_2 w_2, \qquad y_1 = x_1 w_0 + x_2 w_1 + x_3 w_2 $$
#
# Six products.
#
# **Predict.** Is there a way with four?

# %%
d, w = rng.standard_normal(4), rng.standard_normal(3)
m1 = (d[0] - d[2]) * w[0]
m2 = (d[1] + d[2]) * (w[0] + w[1] + w[2]) / 2
m3 = (d[2] - d[1]) * (w[0] - w[1] + w[2]) / 2
m4 = (d[1] - d[3]) * w[2]
y = np.array([m1 + m2 + m3, m2 - m3 - m4])
print(y, np.correlate(d, w))
assert np.allclose(y, np.correlate(d, w))

# %% [markdown]
# The sums of weights are made once, for all pixels; those of pixels once, for all
# output channels. Only the four products are done for every pair of channels.
#
# In two directions, with 4 x 4 outputs: $F(4 \times 4, 3 \times 3)$. A patch of 6 x 6
# pixels, three fixed matrices, $36$ products instead of $16 \cdot 9 = 144$:
#
# $$ y = A^\top \left[ (G \, w \, G^\top) \odot (B^\top x \, B) \right] A $$
#
# **"Winograd's convolution is an approximation."** In exact arithmetic it is exact.
# Here with the package's own matrices, in fractions:


# %%
def exact(matrix):
    """Turn the package's numbers into fractions; 1/6 is not a float."""
    rows = [[Fraction(value).limit_denominator(24) for value in row] for row in matrix]
    return np.array(rows, dtype=object)


A_T = exact(winograd_transforms._A_TRANSPOSED)
B_T = exact(winograd_transforms._B_TRANSPOSED)
G = exact(winograd_transforms._G)
print("A^T", A_T.shape, " B^T", B_T.shape, " G", G.shape)

patch = np.array(rng.integers(-9, 10, (6, 6)), dtype=object)
kernel = np.array(rng.integers(-9, 10, (3, 3)), dtype=object)
products = (G @ kernel @ G.T) * (B_T @ patch @ B_T.T)
y = A_T @ products @ A_T.T
by_definition = np.array(
    [[(kernel * patch[u : u + 3, v : v + 3]).sum() for v in range(4)] for u in range(4)]
)
print("products:", products.size, " outputs:", y.size)
assert (y == by_definition).all()  # not nearly: exactly
assert products.size == 36
assert 16 * 9 / products.size == 4

# %% [markdown]
# In float32 it costs digits, because it adds and takes away before it multiplies, with
# factors of up to 8. How many digits, is measured. `"direct"` is the register tile,
# `"auto"` may take Winograd.
#
# **Predict.** Where in the image is the error of Winograd larger: at the border, in the
# middle, or does it make a pattern?

# %% tags=["varies"]
with nr.using_algorithm("direct"):
    direct, _ = F.conv2d_forward(x, weight, padding=1)
with nr.using_algorithm("auto"):
    winograd, _ = F.conv2d_forward(x, weight, padding=1)
print(f"direct   {error(direct):.1e} of the largest output")
print(f"Winograd {error(winograd):.1e}")
assert error(direct) < 1e-5
assert error(direct) < error(winograd) < 5e-5

maps = [np.abs(out - truth).mean(axis=(0, 1)) for out in (direct, winograd)]
nr.course.show(
    nr.plots.planes(
        [m * 1e6 for m in maps],
        ["direct, mean error (millionths)", "Winograd, mean error (millionths)"],
        size=4.0,
        numbers=False,
        same_scale=True,
    ),
    "The mean error at every pixel, both on one scale. Winograd's has a pattern of 4 x "
    "4, its tiles: the last row and column of each tile come from the largest factors "
    "of $A$.",
)
tile_errors = maps[1].reshape(7, 4, 7, 4).mean(axis=(0, 2))
assert tile_errors[3, 3] > 2 * tile_errors[0, 0]
assert maps[1].mean() > 2 * maps[0].mean()

# %% [markdown]
# Between five and ten times the rounding error of direct sums: of the seven digits that a
# float32 has, Winograd costs one. `nr.using_algorithm("direct")` is there for who wants
# it back. Winograd is for float32, 3x3 and stride 1, from 16 channels on;
# [`suits`](../npresnet/backend/kernels/winograd.py#L74-L87 "suits") decides. Everything else
# takes the register tile.
#
# ## All rungs

# %% tags=["varies"]
speeds["im2col, NumPy"] = speed(
    lambda: reference.conv2d(x, weight, geometry), operations, 10
)
speeds["channels innermost"] = speed(
    lambda: channels_innermost(padded_last, taps, out_last), operations, 5
)
with nr.using_algorithm("direct"):
    speeds["register tile"] = speed(
        lambda: F.conv2d_forward(x, weight, padding=1), operations, 20
    )
speeds["Winograd"] = speed(
    lambda: F.conv2d_forward(x, weight, padding=1), operations, 20
)
square = rng.standard_normal((512, 512), dtype=np.float32)
peak = speed(lambda: square @ square, 2 * 512**3, 20)

whose = {"register tile": "package", "Winograd": "package"}
nr.course.show(
    ladder(
        list(speeds.items()),
        [whose.get(name, "teaching") for name in speeds],
        peak,
        "3x3 convolution, 64 to 64 channels, 28x28 pixels, batch 2, one core",
    ),
    "Operations of direct convolution per second of processor time, logarithmic on the "
    "left. The dashed line is what NumPy's library reaches in a large product of "
    "matrices, a fair stand-in for the limit of the core. Winograd can pass it, "
    "because it gets by with fewer operations than are counted.",
)
assert speeds["register tile"] > 500 * speeds["seven loops, Python"]
assert speeds["register tile"] > 3 * speeds["seven loops, compiled"]
assert speeds["im2col, NumPy"] > 2 * speeds["seven loops, compiled"]

# %% [markdown]
# ## Which limit?
#
# A core has two limits: how fast it computes, and how fast numbers come from memory.
# What decides is the **arithmetic intensity** of the work: operations per byte that has
# to be moved at least once.
#
# $$ \text{speed} \le \min(\text{peak}, \ \text{intensity} \cdot \text{bandwidth}) $$
#
# This is the *roofline*. **Predict** an order: adding two arrays, a linear layer on one
# image, the 3x3 convolution above. Which has the fewest operations per byte?


# %%
def intensity(operations, *arrays):
    """Count operations per byte, every array moved once."""
    return operations / sum(array.nbytes for array in arrays)


a = np.ones(1 << 23, np.float32)
b, total = a.copy(), np.empty_like(a)
matrix, vector = np.ones((4096, 2048), np.float32), np.ones(2048, np.float32)
vector_out = np.empty(4096, np.float32)
work = {
    "addition": (
        lambda: np.add(a, b, out=total),
        a.size,
        intensity(a.size, a, b, total),
    ),
    "linear, one image": (
        lambda: np.dot(matrix, vector, out=vector_out),
        2 * matrix.size,
        intensity(2 * matrix.size, matrix, vector, vector_out),
    ),
    "product of matrices": (
        lambda: square @ square,
        2 * 512**3,
        intensity(2 * 512**3, square, square, square),
    ),
    "3x3 convolution": (
        lambda: F.conv2d_forward(x, weight, padding=1),
        operations,
        intensity(operations, x, weight, direct),
    ),
}
for name, (_, _, value) in work.items():
    print(f"{name:20} {value:8.3f} operations per byte")
intensities = [value for _, _, value in work.values()]
assert intensities == sorted(intensities)
assert np.isclose(intensities[0], 1 / 12)  # two reads, one write, one operation
assert np.isclose(intensities[1], 0.5, rtol=0.01)  # every weight is used once

# %% tags=["varies"]
bandwidth = speed(lambda: np.copyto(total, a), 2 * a.nbytes, 5)  # in GB/s
with nr.using_algorithm("direct"):
    reached = {name: speed(run, count, 5) for name, (run, count, _) in work.items()}


def roofline(reached, peak, bandwidth):
    """Draw what was reached, under the two limits."""
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=8.0, height=4.0)
        line = np.logspace(-1.5, 2.5, 100)
        roof = np.minimum(peak, line * bandwidth)
        axes.plot(line, roof, color=style.VERMILION, label="roof, as measured here")
        marks = zip(reached.items(), "osD^", strict=True)
        for (name, value), marker in marks:
            at = work[name][2]
            axes.plot([at], [value], marker, color=style.BLUE, markersize=8)
            beside = name == "product of matrices"
            axes.annotate(
                name,
                (at, value),
                xytext=(-9, -4) if beside else (2, -20),
                textcoords="offset points",
                ha="right" if beside else "left",
            )
        low = min(reached.values()) / 4
        axes.set(xscale="log", yscale="log", ylim=(low, 3 * peak), xlim=(0.03, 400))
        axes.set(xlabel="operations per byte", ylabel="GFLOP/s, one core")
        axes.legend(loc="upper left")
    return figure


nr.course.show(
    roofline(reached, peak, bandwidth),
    "Left of the bend memory is the limit, and no better kernel helps; right of it, "
    "arithmetic. An addition, a ReLU, a batch norm are on the left, however clever "
    "their code; 3x3 convolutions are on the right. The slanted line is that of a "
    "copy; work that only reads, or finds its numbers in the cache, may lie above it.",
)
assert reached["addition"] < 0.3 * reached["product of matrices"]
assert reached["linear, one image"] < 0.7 * reached["product of matrices"]
assert reached["3x3 convolution"] > 2 * reached["addition"]

# %% [markdown]
# **"To make a network faster, save multiplications."** Right of the bend, yes. Left of it
# save *passes over memory*: this is why `nr.inference` computes bias, addition and ReLU
# before results leave the registers. It is also why a batch helps a linear layer: with
# $N$ images each weight that comes from memory is used $N$ times.

# %%
for N in (1, 4, 16, 64):
    inputs, outputs = np.ones((N, 2048), np.float32), np.ones((N, 4096), np.float32)
    value = intensity(2 * N * matrix.size, inputs, matrix, outputs)
    print(f"linear layer, {N:2} images: {value:6.2f} operations per byte")
    assert np.isclose(value, N / 2, rtol=0.05)

# %% [markdown]
# ## The gradient with respect to the weights
#
# What is the fastest order of loops for $\partial \ell / \partial w$? Each weight
# collects, over all places, what it saw times what came back:
#
# $$ \frac{\partial \ell}{\partial w_{k,c,i,j}} =
#    \sum_{n,u,v} g_{n,k,u,v} \, x_{n,c,\,u+i,\,v+j} $$
#
# Read as 64 x 576 separate sums over places, each is a long sum of numbers that lie far
# apart, and its lanes have to be added up in the end. Put the sum over places
# *outside*: then every place adds one **outer product**, of what the window saw with
# the gradients of all channels, to the whole matrix.
#
# **Predict.** Of which rank is the sum after one place, after two, after three?

# %%
small_x = rng.standard_normal((1, 3, 5, 4))
small_weight = rng.standard_normal((4, 3, 3, 3))
y, cache = F.conv2d_forward(small_x, small_weight)
g = rng.standard_normal(y.shape)
windows = reference.im2col(small_x, Geometry.of((5, 4), 3))[0]  # (27, places)
gradients = g.reshape(4, -1)  # (4, places)
print("windows", windows.shape, " gradients", gradients.shape)

sums, ranks, states = np.zeros((27, 4)), [], []
for place in range(windows.shape[1]):
    sums += np.outer(windows[:, place], gradients[:, place])
    ranks.append(int(np.linalg.matrix_rank(sums)))
    states.append(sums.T.copy())
print("rank after each place:", ranks)
assert ranks == [1, 2, 3, 4, 4, 4]

_, grad_weight, _ = F.conv2d_backward(g, cache)
assert np.allclose(sums.T.reshape(grad_weight.shape), grad_weight)
nr.course.show(
    nr.plots.planes(
        [states[0], states[1], states[-1]],
        ["after 1 place", "after 2", f"after all {len(states)}"],
        size=6.5,
        columns=1,
        numbers=False,
    ),
    "The gradient with respect to 4 kernels (down) of 27 weights (across) grows output "
    "by output. After the first, all rows are multiples of one another: the window, times each "
    "channel's gradient.",
)

# %% [markdown]
# An outer product is a register tile again: `rows` numbers of the window, each broadcast
# to a vector, times vectors of neighbouring channels of $g$. Sums stay in registers
# over all outputs of a block, and nothing is added across lanes. Here `total` is what is
# in registers:

# %%
nr.course.source(micro_kernels.wide_grad_weight)

# %% [markdown]
# ## "With threads, results differ from run to run"
#
# With many libraries they do: threads add their sums in the order in which they
# finish, or split the sum into as many parts as there are threads. You have seen above
# what that does to the last digits. Here every block of outputs is computed by one
# thread, and sums over the batch have a *fixed* number of splits, which are added in
# order.
#
# **Predict.** Forward and both gradients, with 1, 2, 3 threads: equal to how many digits?

# %%
some_x, some_weight = x[:, :32], weight[:32, :32]  # 32 channels to 32
g = rng.standard_normal(some_x.shape, dtype=np.float32)
first = None
for count in (1, 2, 3):  # cut down to what the machine has
    nr.set_threads(count)
    for algorithm in ("direct", "auto"):
        with nr.using_algorithm(algorithm):
            y, cache = F.conv2d_forward(some_x, some_weight, padding=1)
            grad_x, grad_weight, _ = F.conv2d_backward(g, cache)
        bits = {f"{algorithm} {i}": a for i, a in enumerate((y, grad_x, grad_weight))}
        first = bits if first is None else bits | first  # the earliest stays
        for name, array in bits.items():
            assert np.array_equal(array, first[name])
nr.set_threads(threads_before)
print("equal to the last bit:", ", ".join(first))
assert len(first) == 6

# %% [markdown]
# ## All agree
#
# Six ways to one convolution, each against the float64 result.

# %%
loops = np.empty(truth.shape, np.float32)
compiled_loops(padded, weight, loops)
channels_innermost(padded_last, taps, out_last)
ways = {
    "seven loops, Python (corner)": (corner, 1e-5),
    "seven loops, compiled": (loops, 1e-5),
    "im2col, NumPy": (reference.conv2d(x, weight, geometry), 1e-5),
    "channels innermost": (out_last.transpose(0, 3, 1, 2), 1e-5),
    "register tile": (direct, 1e-5),
    "Winograd": (winograd, 5e-5),
}
for name, (out, tolerance) in ways.items():
    assert error(out) < tolerance
    print(f"{name:30} agrees, within {tolerance:.0e} of the largest output")

# %% [markdown]
# Where to read:
# [`make_conv_micro_kernel`](../npresnet/backend/kernels/micro_kernels.py#L61-L188 "make_conv_micro_kernel")
# and [`make_grad_weight_micro_kernel`](../npresnet/backend/kernels/micro_kernels.py#L191-L294 "make_grad_weight_micro_kernel"),
# [`conv2d`](../npresnet/backend/kernels/conv2d.py#L65-L75 "fused_conv2d") and
# [how its segments are planned](../npresnet/backend/kernels/conv2d.py#L156-L187 "_plan"),
# [`lay_out`](../npresnet/backend/kernels/layout.py#L233-L257 "lay_out"), which makes the
# border, [Winograd](../npresnet/backend/kernels/winograd.py#L302-L313 "_convolve"), the
# [gradient with respect to the weights](../npresnet/backend/kernels/conv2d_grad_weight.py#L53-L71 "conv2d_grad_weight"),
# [`parallel_for`](../npresnet/backend/threads/pool.py#L232-L248 "parallel_for"), and
# [the ladder](../docs/ladder.md), with PyTorch beside it.

# %% [markdown]
# ## Exercises
#
# **1.** Images of shape `shape = (N, C, H, W)` lie in memory with channels side by side.
# How many numbers stand before `x[n, c, h, w]`?


# %%
def place_in_memory(shape, n, c, h, w):
    """Count the numbers before this one."""
    ...


nr.course.check("12.1", place_in_memory)

# %% [markdown]
# **2.** Operations per byte of a convolution with `kernel`x`kernel` windows, stride 1,
# whose output has the size of its input; `shape` is `(N, C, H, W)`, `K` channels come out,
# all is float32, every array moves once. A product with its addition is two operations.


# %%
def conv_intensity(shape, K, kernel):
    """Count operations per byte."""
    ...


nr.course.check("12.2", conv_intensity)

# %% [markdown]
# **3.** The roofline: how fast can it be at best, in GFLOP/s, if the core computes `peak`
# GFLOP/s and memory brings `bandwidth` GB/s?


# %%
def attainable(intensity, peak, bandwidth):
    """Return the height of the roof."""
    ...


nr.course.check("12.3", attainable)

# %% [markdown]
# **4.** How many times fewer products does $F(m \times m, r \times r)$ need? For 4 and 3
# it is 4. Its patch has $m + r - 1$ pixels in each direction.


# %%
def winograd_saving(m, r):
    """Divide the products of the definition by Winograd's."""
    ...


nr.course.check("12.4", winograd_saving)

# %% [markdown]
# **5.** Write the gradient with respect to the weights as a sum of outer products. `windows` is
# `(taps, places)`, `gradients` is `(K, places)`; return `(K, taps)`.


# %%
def grad_by_outer_products(windows, gradients):
    """Let every place add one outer product."""
    ...


nr.course.check("12.5", grad_by_outer_products)
