# %% [markdown]
# # 13 · Looking inside
#
# **What has a trained network learnt, where does it look, and how do you know that the
# picture of it is true?**
#
# Pictures of a network's inside convince easily: there is always something to be seen.
# So every instrument here is used twice, once to look, and once in a way that it could
# fail: against finite differences, against random weights, against a network whose
# answer is known.

# %%
import tempfile
from pathlib import Path

import numpy as np

import npresnet as nr
from npresnet.plots import style

train, test = nr.data.digits()
recipe = nr.training.recipes.get("digits-quick").changed(epochs=6)
fresh = nr.models.resnet14(seed=0).eval()
model = nr.models.resnet14(seed=0)

# %% [markdown]
# A ResNet-14, six blocks, some seconds of training
# ([notebook 10](10_training.ipynb) says what happens there).

# %% tags=["varies"]
run = nr.training.fit(
    model, train, test, recipe=recipe, out=Path(tempfile.mkdtemp()) / "run", quiet=True
)
model.eval()
x = nr.data.normalize(test.images, train.mean, train.std)  # (360, 3, 8, 8)
print(f"x {x.shape}: {run.test.correct} of {run.test.total} right")
assert run.test.accuracy > 0.85

some = [int(np.flatnonzero(test.labels == digit)[0]) for digit in range(10)]
pictures = test.images[some]
nr.course.show(
    nr.lens.grad_cam(
        model, x[some][:4], layer="layer2", classes=test.classes, pictures=pictures[:4]
    ).plot(),
    "Four test images and, over them, where the second stage finds what speaks for the "
    "predicted class (Grad-CAM). It looks convincing. By the end of this notebook you "
    "know what it is worth.",
)

# %% [markdown]
# ## Filters
#
# The first convolution sees pixels, so its filters are pictures themselves. The digits
# are grey, the same in all three channels.
#
# **Predict.** Of the 27 weights of a filter, how many numbers matter: 27, 9, or 3?

# %% tags=["varies"]
filters = nr.lens.filters(model, grey=True)
print("conv1.weight", model.conv1.weight.data.shape, " drawn", filters.weights.shape)
nr.course.show(
    filters.plot(),
    "The sixteen 3x3 filters, channels added up; mid-grey is zero. Some are edges in "
    "one direction or another, others look like noise. Do not read too much into nine "
    "pixels.",
)
shifted = nr.models.resnet14(seed=0)
shifted.load_state_dict(model.state_dict())
shifted.eval()
shifted.conv1.weight.data[:, 0] += 0.5  # channels move,
shifted.conv1.weight.data[:, 1] -= 0.5  # their sum does not
assert np.allclose(shifted(x[:8]), model(x[:8]), atol=1e-3)
print("three channels alike: only the nine sums over the channels matter")

# %% [markdown]
# **"The filters show what the network has learnt."** The first layer alone, and not even
# that: how far are they from the random ones that training began with?

# %% tags=["varies"]
before = fresh.conv1.weight.data.reshape(16, -1)
after = model.conv1.weight.data.reshape(16, -1)
lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
cosines = (before * after).sum(axis=1) / lengths
print(
    f"cosine of a filter with its beginning: {cosines.min():.2f} to {cosines.max():.2f}"
)
assert np.median(cosines) > 0.6

# %% [markdown]
# Most still point the way they were thrown. Random filters are good features already;
# what is learnt is to a large part how to put them together.
#
# ## Feature maps
#
# A layer makes of an image as many pictures as it has channels. **Predict** their number
# and size behind each of the three stages, for an image of 8x8.

# %% tags=["varies"]
layers = ["relu", "layer1", "layer2", "layer3"]


def maps(layer):
    """Draw what a layer makes of a three."""
    return nr.lens.feature_maps(model, x[some[3]][None], layer).plot(most=32)


for layer in layers:
    print(f"{layer:6}", nr.lens.feature_maps(model, x[:1], layer).maps.shape[1:])
nr.course.sliders(
    maps,
    "A three, in the channels of the first stage: pieces of the stroke, its edges, the "
    "ground beside it. In a running notebook the slider goes deeper: the maps get "
    "smaller, until 2x2 pixels say little about *where* and much about *what*.",
    start={"layer": "layer1"},
    layer=layers,
)
assert nr.lens.feature_maps(model, x[:1], "layer1").maps.shape == (1, 16, 8, 8)
assert nr.lens.feature_maps(model, x[:1], "layer2").maps.shape == (1, 32, 4, 4)
assert nr.lens.feature_maps(model, x[:1], "layer3").maps.shape == (1, 64, 2, 2)

# %% [markdown]
# ## Activations and dead units
#
# Behind a ReLU a number is zero or positive. A channel is *dead* if it is zero at every
# pixel of every image.
#
# **Predict.** You count dead channels on 4 images, and on 360. Which count is larger?

# %% tags=["varies"]
look = nr.lens.activations(model, x)
few = nr.lens.activations(model, x[:4])
print(few.summary())
print(look.summary())
nr.course.show(
    look.plot(),
    "Behind every ReLU, from the first to the last: how large the numbers are, and "
    "what share of them is zero. Zeros are what a ReLU is for; a channel is dead only "
    "if it has nothing else.",
)
assert few.dead_channels >= look.dead_channels
closed = [row.zeros for row in look.rows if row.zeros is not None]
assert 0.1 < np.mean(closed) < 0.95

# %% [markdown]
# **"A unit that is zero on my batch is dead."** It may open on the next image: dead is a
# statement about *all* images, and a batch only bounds it from above.
#
# Why does a dead channel stay dead? Kill one and look at its gradients: with a shift
# $\beta$ far below zero, batch norm's output is negative everywhere, the ReLU is closed,
# and its backward pass hands on nothing.

# %% tags=["varies"]
victim = nr.models.resnet14(seed=0)
victim.load_state_dict(model.state_dict())
block = victim.layer1[0]
block.bn1.bias.data[5] = -1000
killed = nr.lens.activations(victim.eval(), x)
row = next(row for row in killed.rows if row.name == "layer1.0.relu#1")
print(f"{row.name}: {row.dead} dead of {row.shape[0]}")
assert row.dead >= 1

victim.train()
criterion = nr.nn.CrossEntropyLoss()
criterion(victim(x[:64]), test.labels[:64])
victim.backward(criterion.backward(), input_grad=False)
into = np.abs(block.conv1.weight.grad[5]).max(), np.abs(block.bn1.bias.grad[5])
out_of = np.abs(block.conv2.weight.grad[:, 5]).max()
others = np.abs(block.conv1.weight.grad[:5]).max(axis=(1, 2, 3))
print("gradients of its filter, its shift, and of the weights that read it:")
print(f"{into[0]}, {into[1]}, {out_of}; of other filters: {others.min():.0e} and more")
assert into == (0, 0)
assert out_of == 0
assert others.max() > 0

# %% [markdown]
# Exactly zero: no gradient step brings it back. (Weight decay might, in time: it pulls
# $\beta$ towards zero.)
#
# ## Saliency
#
# Which pixels matter? Take the gradient of a class's score, its logit $z_k$, by the
# image: one backward pass that begins not at the loss but at one logit.

# %%
nr.course.source(nr.lens.saliency)

# %% [markdown]
# A gradient can be checked. Change one pixel a little, and see what the score does, in
# float64:

# %% tags=["varies"]
exact = nr.models.resnet14(seed=0, dtype=np.float64)
exact.load_state_dict(
    {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in model.state_dict().items()
    }
)
exact.eval()
image = x[some[3]][None].astype(np.float64)  # (1, 3, 8, 8)
saliency = nr.lens.saliency(exact, image, target=3, grey=True)
row, column = np.unravel_index(saliency.maps[0].argmax(), (8, 8))
h = 1e-5
brighter, darker = image.copy(), image.copy()
brighter[0, :, row, column] += h  # all three channels: a grey pixel
darker[0, :, row, column] -= h
slope = (exact(brighter)[0, 3] - exact(darker)[0, 3]) / (2 * h)
analytic = saliency.gradients[0, :, row, column].sum()
print(f"gradients {saliency.gradients.shape}, map {saliency.maps.shape}")
print(f"pixel ({row}, {column}): backward {analytic:.6f}, differences {slope:.6f}")
assert np.isclose(analytic, slope, rtol=1e-4)


def ask(target):
    """Draw the saliency of a three for another class."""
    return nr.lens.saliency(
        model,
        x[some[3]][None],
        target=target,
        grey=True,
        classes=test.classes,
        pictures=test.images[some[3]][None],
    ).plot()


nr.course.sliders(
    ask,
    "A three, and how strongly each pixel pulls at the score of *three*, up or down. "
    "In a running notebook, ask about the eight: which pixels would have to change?",
    start={"target": 3},
    target=range(10),
)

# %% [markdown]
# **"Bright pixels in the map are pixels that speak for the class."** The map is a
# magnitude. It says where the score would *change*, up or down, and a pixel on the dark
# ground, where no stroke is, can be the brightest of all.

# %% tags=["varies"]
all_of_them = nr.lens.saliency(model, x[some], grey=True)
pulls = all_of_them.gradients.sum(axis=1)  # (10, 8, 8)
strongest = np.abs(pulls) >= np.quantile(np.abs(pulls), 0.8, axis=(1, 2), keepdims=True)
downwards = float((pulls[strongest] < 0).mean())
dark = float((pictures[:, 0][strongest] < 64).mean())
print(
    f"of the strongest fifth, {downwards:.0%} pull down, {dark:.0%} are on dark ground"
)
assert 0.05 < downwards < 0.95
assert dark > 0.05

# %% [markdown]
# ## Grad-CAM
#
# Pixels are fine but speckled. Grad-CAM asks a *layer* instead: which feature maps $A_k$
# matter for the class, and where are they active?
#
# $$ \alpha_k = \frac{1}{HW} \sum_{p,q} \frac{\partial z}{\partial A_{k,p,q}}, \qquad
# \text{map} = \mathrm{relu}\Big(\sum_k \alpha_k A_k\Big) $$
#
# Here $k$ counts the layer's channels, and $H, W$ are its size. Both halves can be
# checked. The sum, with the layer's own feature maps; and $\alpha_k$ by finite
# differences: raise all pixels of map $k$ by $h$, and the score changes by $h \cdot HW
# \cdot \alpha_k$.

# %% tags=["varies"]
cam = nr.lens.grad_cam(exact, image, target=3, layer="layer2")
features = nr.lens.feature_maps(exact, image, "layer2").maps
print(
    "features", features.shape, " weights", cam.weights.shape, " map", cam.coarse.shape
)
by_hand = np.maximum(np.einsum("nk,nkhw->nhw", cam.weights, features), 0)
assert np.allclose(by_hand, cam.coarse, rtol=1e-10, atol=1e-12)


def score_from(features):
    """Run the rest of the network, from layer2 on."""
    with nr.nn.no_grad():
        pooled = exact.layer3(features).mean(axis=(2, 3))
        return exact.fc(pooled)[0, 3]


k = int(np.abs(cam.weights[0]).argmax())
raised, lowered = features.copy(), features.copy()
raised[0, k] += h
lowered[0, k] -= h
slope = (score_from(raised) - score_from(lowered)) / (2 * h) / (4 * 4)
print(f"channel {k}: weight {cam.weights[0, k]:.6f}, differences {slope:.6f}")
assert np.isclose(slope, cam.weights[0, k], rtol=1e-3)

# %% [markdown]
# So the map *is* what it says. Does it also mean what one hopes?
#
# ## The sanity check
#
# **"The map lies on the digit, so the network looks at the digit."** An edge detector
# draws maps that lie on the digit as well, without any network. Adebayo et al. (arXiv
# 1810.03292) ask for more: when you *destroy* the network, from the classifier down, the
# map must change.
#
# **Predict.** Three methods: saliency, Grad-CAM, and an edge detector that only looks at
# the image. Which of the three changes as the weights become random?

# %% tags=["varies"]
sample = np.arange(0, 360, 9)  # 40 images
targets = model(x[sample]).argmax(axis=1)


def edges(images):
    """Draw the strength of edges: no network at all."""
    down, right = np.gradient(images[:, 0].astype(float), axis=(1, 2))
    return np.hypot(down, right)


def explain(network):
    """Make the maps of all three methods, for the same classes."""
    return {
        "saliency": nr.lens.saliency(network, x[sample], targets, grey=True).maps,
        "Grad-CAM": nr.lens.grad_cam(
            network, x[sample], targets, layer="layer2"
        ).coarse,
        "edges": edges(test.images[sample]),
    }


def rank_correlation(a, b):
    """Average Spearman's correlation over the images; ties share a rank."""
    found = []
    for one, other in zip(a.reshape(len(a), -1), b.reshape(len(b), -1), strict=True):
        if np.ptp(one) == 0 or np.ptp(other) == 0:
            continue  # an empty map has no order
        ranks = [
            np.searchsorted(np.sort(values), values, side="left")
            + np.searchsorted(np.sort(values), values, side="right")
            for values in (one, other)
        ]
        found.append(np.corrcoef(*ranks)[0, 1])
    return float(np.mean(found)) if found else 0.0


def destroyed(*parts):
    """Copy the network and give some of its parts the first weights of another."""
    copy, stranger = nr.models.resnet14(seed=0), nr.models.resnet14(seed=77)
    state = model.state_dict()
    for name, array in stranger.state_dict().items():
        if name.partition(".")[0] in parts:
            state[name] = array
    copy.load_state_dict(state)
    return copy.eval()


order = ["fc", "layer3", "layer2", "layer1", "conv1"]
whole = explain(model)
similarity = {name: [1.0] for name in whole}
for count in range(1, len(order) + 1):
    parts = [*order[:count], "bn1"] if count == len(order) else order[:count]
    for name, found in explain(destroyed(*parts)).items():
        similarity[name].append(rank_correlation(whole[name], found))


def draw_similarity():
    """Draw how alike the maps are to those of the trained network."""
    looks = (style.RESIDUAL, style.PLAIN, style.VALIDATION)
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=7.5, height=3.2)
        for look, (name, values) in zip(looks, similarity.items(), strict=True):
            axes.plot(values, label=name, **look.keywords(len(values)))
        axes.set_xticks(range(6), ["none", *(f"... {part}" for part in order)])
        axes.set(ylim=(-0.3, 1.05), xlabel="random from the classifier down to")
        axes.set_ylabel("rank correlation with\nthe trained network's maps")
        axes.set_title("Sanity check")
        axes.legend()
    return figure


nr.course.show(
    draw_similarity(),
    "Saliency and Grad-CAM lose what they said when the network is destroyed: they "
    "depend on what was learnt. The edge detector draws the same maps of any network, "
    "random or trained, and so says nothing about either.",
)
for name, values in similarity.items():
    print(f"{name:8}", " ".join(f"{value:6.2f}" for value in values))
assert similarity["edges"] == [1.0] * 6 or np.allclose(similarity["edges"], 1)
assert abs(similarity["saliency"][-1]) < 0.4
assert abs(similarity["Grad-CAM"][-1]) < 0.5

# %% [markdown]
# Passing does not prove that a map is right; failing proves that it is not about the
# network.
#
# ## Lesions
#
# Looking is one thing, cutting another. Delete the branch of one block of the *trained*
# network: what remains is its shortcut.
#
# **Predict.** Six blocks. A plain network with a layer missing is mostly near chance,
# 10 %. How much is left here, block by block? Where does it hurt most?

# %% tags=["varies"]
sub = np.arange(0, 360, 3)
cut = nr.lens.lesion(
    model, x[sub], test.labels[sub], removals=[1, 2, 3, 4, 5, 6], draws=2
)
print(cut)
nr.course.show(
    cut.plot(),
    "Left, each block deleted on its own: without the last one the network reads "
    "almost as before, without the first hardly at all. Middle, several deleted at "
    "random: two are too many for a network of six. Right, two blocks of one shape "
    "swapped.",
)
accuracies = np.array([row.accuracy for row in cut.rows])
stays = [row.stays for row in cut.rows]
assert stays.count("identity") == 4
assert accuracies.max() > 0.8 > 0.6 > accuracies.min()
assert cut.removals[1].accuracy < cut.removals[0].accuracy  # two, one

# %% [markdown]
# <details><summary>Why it survives at all</summary>
#
# With $L$ blocks there are $2^L$ paths from the image to the logits: at each block the
# shortcut or the branch. Without one branch half of them are left, all those that took
# its shortcut. A plain network has a single path, and cutting it mostly ends
# everything. With more blocks one of them matters less: six are few.
# [Trained twins of 20 layers](../docs/lens_lesions.md) side by side.
#
# </details>
#
# **"What can be deleted is useless."** The others were trained *with* it. Deleting two
# blocks hurts more than either alone, and a network that is trained without the block
# from the start is another network.
#
# Where to read on:
#
# - [`filters`](../npresnet/lens/filters/measure.py#L21-L71 "filters"),
#   [`feature_maps`](../npresnet/lens/feature_maps/measure.py#L21-L73 "feature_maps"),
#   [`activations`](../npresnet/lens/activations/measure.py#L23-L66 "activations"),
# - [`saliency`](../npresnet/lens/saliency/measure.py#L20-L95 "saliency"),
#   [`grad_cam`](../npresnet/lens/grad_cam/measure.py#L21-L130 "grad_cam"): with their sources,
# - [`lesion`](../npresnet/lens/lesion/measure.py#L29-L170 "lesion"),
# - [the lens](../docs/lens.md) on the command line, with CIFAR-10 and published weights.

# %% [markdown]
# ## Exercises
#
# `nr.course.hint("13.1")` gives a hint, `nr.course.solution("13.1")` the solution.
#
# **1.** Count the dead channels of activations `(N, C, H, W)`, taken behind a ReLU.


# %%
def dead_channels(activations):
    """Count the channels that never open."""
    ...


nr.course.check("13.1", dead_channels)

# %% [markdown]
# **2.** Grad-CAM of one image, from the layer's `features` and the score's `gradients`
# by them, both of shape `(K, H, W)`. Return the map, of shape `(H, W)`.


# %%
def grad_cam(features, gradients):
    """Weigh the feature maps and add them up."""
    ...


nr.course.check("13.2", grad_cam)

# %% [markdown]
# **3.** One map from the gradient with respect to a *colour* image, `(C, H, W)`: at every pixel the
# largest magnitude over the channels.


# %%
def saliency_map(gradients):
    """Reduce the channels to one map."""
    ...


nr.course.check("13.3", saliency_map)

# %% [markdown]
# **4.** Spearman's rank correlation of two maps without ties: the correlation of their
# *ranks*.


# %%
def rank_correlation(a, b):
    """Compare the order of the pixels of two maps."""
    ...


nr.course.check("13.4", rank_correlation)

# %% [markdown]
# **5.** ResNet-110 has 54 blocks. Delete the branch of one: what share of its paths is
# left?

# %%
answer = ...
nr.course.check("13.5", answer)
