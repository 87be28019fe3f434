# %% [markdown]
# # 10 · Training a network
#
# **What turns random weights into a network that reads, and what do its curves tell
# you?**
#
# The earlier notebooks made the gradient. This one uses it: four lines, repeated some
# hundred times. Everything else, the momentum, the schedule, the augmentation, decides
# how far each repetition gets. You train on the handwritten digits that ship with the
# package, some seconds a run; what changes for CIFAR-10 stands near the end.

# %%
import math
import os
import signal
import tempfile
from pathlib import Path

import numpy as np

import npresnet as nr
from npresnet.plots import style

train, test = nr.data.digits()
print(train)
print(test)
shown = train.images[:18].transpose(0, 2, 3, 1) / 255  # (18, 8, 8, 3), 0 to 1
nr.course.show(
    nr.plots.tiles(
        shown,
        [str(label) for label in train.labels[:18]],
        "Digits",
        "The first eighteen.",
    ),
    "Eighteen of the training images, 8x8 pixels, with their labels. The network sees "
    "these, and is judged on others.",
)

# %% [markdown]
# ## Where training begins
#
# **Predict.** A fresh network knows nothing. There are ten classes. About how large is
# its loss, in nats?

# %%
recipe = nr.training.recipes.get("digits-quick")
model = nr.models.resnet8(shortcut="A", seed=0)
before = nr.training.evaluate(model, test)
x, labels = next(nr.data.batches(train, 256, shuffle=False))
first_loss = float(nr.nn.CrossEntropyLoss()(model.train()(x), labels))
print(f"ln 10 = {math.log(10):.3f}")
print(f"fresh, in training mode:   loss {first_loss:.2f}")
print(f"fresh, in evaluation mode: loss {before.loss:.2f}, {before.accuracy:.0%} right")
assert math.log(10) < first_loss < 2 * math.log(10)
assert before.loss > first_loss
assert before.accuracy < 0.3

# %% [markdown]
# <details><summary>Why</summary>
#
# Whoever gives each of ten classes the probability 1/10 pays $-\ln(1/10) = \ln 10 =
# 2.303$ nats, whatever the label. A fresh network is not even: it is sure of something
# at random, so it pays more; most of all in evaluation mode, where batch norm's running
# statistics are still 0 and 1 and normalise nothing. A *first* loss of 20 or of 0.001
# is a bug, not luck.
#
# </details>
#
# ## The loop
#
# One step of training is: forward, loss, backward, update. This is the package's own.

# %%
nr.course.source(nr.training.step.take_step)

# %% [markdown]
# Half of it looks for NaN. What is left is short, so build it up once:


# %% tags=["varies"]
def train_by_hand(model, recipe, seed):
    """Train with four lines a step."""
    steps = recipe.steps_per_epoch(len(train))
    schedule = recipe.make_schedule(steps)
    optimizer = recipe.make_optimizer(model)
    criterion = nr.nn.CrossEntropyLoss()
    augment = recipe.make_augmentation(3)
    step, losses = 0, []
    model.train()
    for epoch in range(1, recipe.epochs + 1):
        for x, labels in nr.data.batches(
            train,
            recipe.batch_size,
            shuffle=True,
            seed=seed,
            epoch=epoch,
            augment=augment,
        ):
            optimizer.lr = schedule(step)
            losses.append(float(criterion(model(x), labels)))  # forward
            optimizer.zero_grad()  # forget the last batch's gradients
            model.backward(criterion.backward(), input_grad=False)  # backward
            optimizer.step()  # update
            step += 1
    return losses


short = recipe.changed(epochs=1)
by_hand = nr.models.resnet8(shortcut="A", seed=0)
losses = train_by_hand(by_hand, short, seed=0)
print(f"{len(losses)} steps: loss {losses[0]:.2f} -> {losses[-1]:.2f}")
assert len(losses) == math.ceil(1437 / 64) == 23
assert losses[-1] < losses[0]

# %% [markdown]
# `nr.training.fit` does the same, and adds what a person needs: a run folder,
# checkpoints, curves, progress. **Predict**: do the two agree to three digits, to
# seven, or to the last bit?

# %%
runs = Path(tempfile.mkdtemp())


def fit(name, recipe, data=train, seed=0, **options):
    """Train a fresh ResNet-8 and leave a run folder."""
    fresh = nr.models.resnet8(shortcut="A", seed=0)
    options = {"recipe": recipe, "out": runs / name, "seed": seed, **options}
    return fresh, nr.training.fit(fresh, data, test, quiet=True, **options)


def same_bits(one, other):
    """Tell whether two networks agree in every bit of every array."""
    a, b = one.state_dict(), other.state_dict()
    return all(np.array_equal(a[name], b[name]) for name in a)


by_fit, one_epoch = fit("one-epoch", short)
print("arrays:", len(by_fit.state_dict()), " same bits:", same_bits(by_hand, by_fit))
assert same_bits(by_hand, by_fit)
assert one_epoch.recipe.epochs == len(one_epoch.history) == 1

# %% [markdown]
# To the last bit: no random number depends on what was drawn before it, only on seed,
# epoch and batch. Where to read on:
#
# - [`fit`](../npresnet/training/fit.py#L24-L168 "fit"): sets a run up,
# - [`_train_epoch`](../npresnet/training/loop.py#L245-L266 "Session._train_epoch"): your
#   inner loop,
# - [`batches`](../npresnet/data/batching.py#L24-L134 "batches"): order and augmentation.
#
# ## The update: momentum
#
# With the gradient $g$, learning rate $\eta$ and momentum $\rho$, the velocity $r$ is
# what moves the weights ([derivation](../docs/derivations/sgd.md)):
#
# $$ r \leftarrow \rho \, r + g, \qquad w \leftarrow w - \eta \, r $$
#
# Below, a valley: steep across (curvature 25), flat along (curvature 1). The ball has
# to get along. Move the sliders: which setting is fast, which one breaks out?

# %%
curvature = np.array([1.0, 25.0])


def walk(lr, momentum, steps=40):
    """Let the package's SGD walk down a valley: points (steps + 1, 2)."""
    ball = nr.nn.Parameter(np.array([-1.0, 0.3]))
    optimizer = nr.optim.SGD([ball], lr=lr, momentum=momentum)
    points = [ball.data.copy()]
    for _ in range(steps):
        ball.grad = curvature * ball.data  # of the sum of curvature * w**2 / 2
        optimizer.step()
        points.append(ball.data.copy())
    return np.array(points)


def valley(lr, momentum):
    """Draw one walk."""
    points = walk(lr, momentum)
    across, along = np.meshgrid(np.linspace(-1.2, 0.6, 80), np.linspace(-0.5, 0.5, 60))
    height = (curvature[0] * across**2 + curvature[1] * along**2) / 2
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=7, height=3.2)
        axes.contour(across, along, height, levels=12, colors=style.GRID)
        axes.plot(*points.T, **{**style.RESIDUAL.keywords(1), "linewidth": 1})
        axes.plot(0, 0, "*", color=style.VERMILION, markersize=12)
        axes.set(xlim=(-1.2, 0.6), ylim=(-0.5, 0.5))
        axes.set(xlabel="along: curvature 1", ylabel="across: curvature 25")
        left = np.linalg.norm(points[-1])
        axes.set_title(f"lr {lr}, momentum {momentum}: {left:.2g} left after 40 steps")
    return figure


nr.course.sliders(
    valley,
    "Forty steps towards the star. With momentum 0.9 the ball rolls: it overshoots, "
    "and is near the star when one without momentum is still on its way. In a running "
    "notebook, set momentum to 0 and try every learning rate.",
    start={"lr": 0.02, "momentum": 0.9},
    lr=[0.005, 0.02, 0.04, 0.079, 0.081, 0.1],
    momentum=[0.0, 0.5, 0.9],
)
assert np.linalg.norm(walk(0.02, 0.9)[-1]) < np.linalg.norm(walk(0.02, 0.0)[-1])

# %% [markdown]
# Two facts to take along, both asserted. Without momentum a step of length $\eta$
# multiplies the distance across by $1 - 25\eta$: beyond $\eta = 2/25 = 0.08$ it grows.
# And a gradient that stays the same is summed up as $1 + \rho + \rho^2 + \dots =
# 1/(1 - \rho)$: with momentum 0.9 steps become *ten times* as long as `lr` says.

# %%
assert abs(walk(0.079, 0.0)[-1, 1]) < 0.3 < abs(walk(0.081, 0.0)[-1, 1])

slope = nr.nn.Parameter(np.zeros(1))
optimizer = nr.optim.SGD([slope], lr=0.1, momentum=0.9)
moves = []
for _ in range(100):
    start = slope.data.copy()
    slope.grad = np.ones(1)  # the same gradient at every step
    optimizer.step()
    moves.append(float(start[0] - slope.data[0]))
print(f"step 1: {moves[0]:.3f}   step 10: {moves[9]:.3f}   step 100: {moves[-1]:.3f}")
assert math.isclose(moves[0], 0.1)
assert math.isclose(moves[-1], 0.1 / (1 - 0.9), rel_tol=1e-3)

# %% [markdown]
# ## Weight decay
#
# Weight decay adds $\lambda w$ to the gradient before momentum. Where the loss does not
# care, a weight then shrinks by $1 - \eta\lambda$ a step.
#
# **"Weight decay keeps the network simple by keeping its weights small."** Not where
# batch norm follows. Make a convolution ten times larger: batch norm divides by ten
# again. The network computes *the same*; but the gradient is ten times smaller, on
# weights ten times as large. What weight decay decides there is how far a step turns
# the filters.

# %%
x, labels = next(nr.data.batches(train, 64, shuffle=False))


def logits_and_gradient(model):
    """Run one batch both ways; look at the first convolution."""
    criterion = nr.nn.CrossEntropyLoss()
    model.train()
    logits = model(x)
    criterion(logits, labels)
    model.zero_grad()
    model.backward(criterion.backward(), input_grad=False)
    return logits, model.conv1.weight.grad.copy()


small = nr.models.resnet8(shortcut="A", seed=0)
large = nr.models.resnet8(shortcut="A", seed=0)
large.conv1.weight.data *= 10
logits, grad = logits_and_gradient(small)
logits_large, grad_large = logits_and_gradient(large)
print(f"logits: largest change {np.abs(logits - logits_large).max():.1e}")
print(f"|gradient|: {np.linalg.norm(grad) / np.linalg.norm(grad_large):.3f} to 1")
assert np.allclose(logits, logits_large, atol=1e-3)
assert np.allclose(grad, 10 * grad_large, atol=1e-3 * np.abs(grad).max())

# %% [markdown]
# (Not to the last digit: batch norm adds $\varepsilon = 10^{-5}$ to the variance.)
#
# And the order matters. Decay that joins the gradient goes through momentum and is
# multiplied by ten, as the gradient is:

# %%
weight = nr.nn.Parameter(np.ones(1))
optimizer = nr.optim.SGD([weight], lr=0.1, momentum=0.0, weight_decay=0.5)
weight.grad = np.zeros(1)
optimizer.step()
print("one step without a gradient:", weight.data)
assert math.isclose(weight.data[0], 1 - 0.1 * 0.5)

# %%
nr.course.source(nr.backend.reference.sgd_update)

# %% [markdown]
# ## The schedule
#
# Large steps get far, small steps settle. A schedule is a function from the step number
# to the learning rate; the package's remember nothing, which is what makes resuming
# easy. The recipe's is *one cycle*: up in a line, down in a line.

# %%
steps_per_epoch = recipe.steps_per_epoch(len(train))
total = recipe.total_steps(steps_per_epoch)
kinds = {
    "one-cycle": recipe,
    "cosine": recipe.changed(schedule="cosine", warmup_epochs=2.0),
    "steps": recipe.changed(schedule="steps", milestones=(10.0, 15.0)),
}
schedules = {name: one.make_schedule(steps_per_epoch) for name, one in kinds.items()}


def draw_schedules():
    """Draw the learning rate of every step."""
    looks = (style.RESIDUAL, style.PLAIN, style.VALIDATION)
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=7, height=3)
        for look, (name, schedule) in zip(looks, schedules.items(), strict=True):
            rates = [schedule(step) for step in range(total)]
            axes.plot(rates, label=name, **look.keywords(total))
        axes.set(xlabel="step", ylabel="learning rate", title="Three schedules")
        axes.legend()
    return figure


nr.course.show(
    draw_schedules(),
    "The same highest rate, 0.1, three ways down. All end small: the last steps are "
    "for settling. The paper's is the staircase: a tenth at half of its steps, a "
    "hundredth at three quarters.",
)
one_cycle = schedules["one-cycle"]
print(f"{total} steps, first lr {one_cycle(0):.3f}, last {one_cycle(total - 1):.3f}")
assert total == 20 * 23
assert math.isclose(one_cycle(0), 0.1 / 25)
assert math.isclose(max(one_cycle(step) for step in range(total)), 0.1, rel_tol=0.01)
assert one_cycle(total - 1) == 0

# %% [markdown]
# ## Training, and its curves
#
# Twenty epochs: 460 steps of 64 images. **Predict** how many of the 360 test images are
# right in the end. And which of the two curves will be *above*: accuracy on the images
# it learns from, or on the test images?

# %% tags=["varies"]
model, run = fit("digits", recipe)
print(f"{run.test.correct} of {run.test.total} test images are right")
nr.course.show(
    nr.plots.learning_curves(run.history),
    "Left, the share that is right; middle, the loss, on a logarithmic axis, for it "
    "falls far; right, the learning rate. Most is learnt while the rate is high; the "
    "loss goes on falling as the rate does.",
)
assert run.test.accuracy > 0.95
assert run.history[-1]["train_loss"] < run.history[0]["train_loss"] / 3

# %% [markdown]
# **"The test accuracy is above the training accuracy, so something leaks."** Look at
# how the two are measured. The training figures are collected *during* the epoch, with
# weights that are still changing, on crops that were shifted at random, by batch norm's
# noisy batch statistics. The test figure is taken at the epoch's end, on straight
# images. Measure both sets alike and the order is the usual one:

# %% tags=["varies"]
collected = one_epoch.history[0]["train_accuracy"]
alike = nr.training.evaluate(by_fit, train).accuracy
print(f"epoch 1, collected while training: {collected:.1%}")
print(f"the same images, measured like the test set: {alike:.1%}")
print(f"test set: {one_epoch.test.accuracy:.1%}")
assert alike > collected

# %% [markdown]
# ## Three ways to go wrong
#
# **Predict** what the curves of these three runs look like, before you see them:
#
# 1. 100 training images instead of 1,437, no augmentation, no weight decay;
# 2. 400 images and a learning rate of 0.005 instead of 0.1, for four epochs;
# 3. the same with a learning rate of 20.

# %% tags=["varies"]
bare = {"crop_padding": 0, "weight_decay": 0.0}
few, some = train.subset(np.arange(100)), train.subset(np.arange(400))
slowly, wildly = (recipe.changed(lr=lr, epochs=4) for lr in (5e-3, 20.0))
failures = {
    "100 images: overfitting": fit("few", recipe.changed(**bare), few)[1],
    "lr 0.005: underfitting": fit("slow", slowly, some)[1],
    "lr 20: too high": fit("wild", wildly, some)[1],
}


def draw_failures():
    """Draw the accuracies of the three runs."""
    with style.house_style():
        figure, panels = style.new_figure(3, width=11, height=3.3, sharey=True)
        for axes, (name, one) in zip(panels, failures.items(), strict=True):
            for which, look in (("train", style.TRAIN), ("test", style.TEST)):
                values = [100 * row[f"{which}_accuracy"] for row in one.history]
                numbers = range(1, len(values) + 1)
                axes.plot(numbers, values, label=which, **look.keywords(len(values)))
            axes.set(title=name, xlabel="epoch", ylim=(0, 102))
            axes.legend(loc="center right")
            axes.locator_params(axis="x", integer=True)
        panels[0].set_ylabel("images right (%)")
    return figure


nr.course.show(
    draw_failures(),
    "Left, a gap: all of the 100 training images are right and many test images are "
    "not; more training does not help, more images do. Middle, no gap, both low: "
    "it steps too slowly, or was stopped too early. Right, no gap and no progress: "
    "the steps throw it about.",
)
over, under, wild = failures.values()
for name, one in failures.items():
    last = one.history[-1]
    print(f"{name}: train {last['train_accuracy']:.1%}, test {one.test.accuracy:.1%}")
assert over.history[-1]["train_accuracy"] > 0.99
assert over.test.accuracy < over.history[-1]["train_accuracy"] - 0.03
assert under.test.accuracy < run.test.accuracy - 0.1
assert wild.test.accuracy < run.test.accuracy - 0.1

# %% [markdown]
# Look at the *gap* first, then at the *level*. Large gap: more images, augmentation,
# weight decay. No gap and a low level: longer, faster, a larger network. The loss says
# it sooner than the accuracy: on a set that is all right already, it still grows when
# the network becomes surer of its mistakes.
#
# ## What a seed means
#
# **Predict.** The same seed twice: the same accuracy, or the same bits? And three
# different seeds, two short epochs each: how far apart, in images out of 360?

# %% tags=["varies"]
brief = recipe.changed(epochs=2)  # 2 epochs of 7 steps
pairs = [fit(f"seed-{seed}", brief, some, seed) for seed in (0, 1, 2)]
print("seeds 0, 1, 2:", [one.test.correct for _, one in pairs], "of 360")
first, second = pairs[0][0], pairs[1][0]
again, _ = fit("seed-0-again", brief, some, 0)
print("seed 0 again, same bits:", same_bits(first, again))
assert same_bits(first, again)
assert not same_bits(first, second)

# %% [markdown]
# The seed of `fit` decides the order of the images and their crops, the model's `seed`
# its first weights. Neither is a setting to be tuned: seeds tell how much of a
# difference is luck. And even *one* network measured on other images would score
# differently: with $N$ images and accuracy $a$ the standard error is
# $\sqrt{a (1 - a) / N}$.

# %%
error = math.sqrt(0.98 * 0.02 / 360)
print(f"98 % of 360 images: give or take {error:.2%}, {error * 360:.1f} images")
print(f"98 % of 10,000: {math.sqrt(0.98 * 0.02 / 10_000):.2%}")
assert 2 < error * 360 < 3

# %% [markdown]
# **"My change is better: 355 right instead of 353."** Two images are within one
# standard error. Compare means over several seeds, and choose between settings on
# images that you hold out of the *training* set (`validation=...`); who chooses by the
# test set reports luck.
#
# ## Stopped and resumed
#
# Press Ctrl-C in the middle of an epoch. Nothing is lost, and the run that goes on ends
# with the same bits as one that was never stopped: the run of seed 0 above. Here the
# notebook presses it for you, after step 10 of 14:


# %%
def press_ctrl_c(step):
    """Send the signal that Ctrl-C sends."""
    if step == 10:
        os.kill(os.getpid(), signal.SIGINT)


try:
    fit("stopped", brief, some, step_callbacks=[press_ctrl_c])
    stopped = ""
except nr.training.TrainingInterrupted as interruption:
    stopped = str(interruption).partition(";")[0]
print(stopped)
assert "in epoch 2 of 2, after step 3 of 7" in stopped

other_weights = nr.models.resnet8(shortcut="A", seed=99)  # replaced by the checkpoint
resumed = nr.training.fit(
    other_weights, some, test, resume=runs / "stopped", quiet=True
)
print("resumed, same bits:", same_bits(other_weights, first))
assert same_bits(other_weights, first)
assert len(resumed.history) == 2

# %% [markdown]
# A checkpoint holds weights, running statistics, the optimiser's velocities, the
# history, and the place within the epoch. Leave the velocities out and the bits differ.
#
# ## What the run folder holds

# %%
names = sorted(path.name for path in (runs / "stopped").iterdir())
print("\n".join(name for name in names if not name.startswith(".")))
folder = nr.training.RunFolder.open(runs / "stopped")
config = folder.read_config()
print("\nconfig.json:", ", ".join(sorted(config)))
assert config["seed"] == 0
assert config["recipe"]["lr"] == 0.1

loaded = nr.models.resnet8(shortcut="A")
loaded.load_state_dict(nr.weights.load(folder.weights_path))
assert same_bits(loaded, other_weights)
print("weights.safetensors holds the final weights")

# %% [markdown]
# `config.json` decides the run, `metrics.csv` has a row per epoch, `curves.png` the
# picture above, `report.html` all of it on one page, with the images that were
# mistaken. What each file is for stands at the head of
# [`run_folder.py`](../npresnet/training/run_folder.py#L140-L344 "RunFolder"); what a run
# survives, [here](../docs/what_a_run_survives.md).
#
# ## CIFAR-10
#
# Nothing in the loop changes: 50,000 images of 32x32, ten classes, a larger network, and
# mirror images as well. On a terminal:
#
# ```
# npresnet train --recipe cifar10-quick --data-dir DIR
# ```
#
# What the recipes reach is [measured there](../docs/results/README.md), not here. If
# `NPRESNET_DATA_DIR` says where your CIFAR-10 is, the next cell takes thirty steps.

# %% tags=["varies"]
data_dir = os.environ.get("NPRESNET_DATA_DIR")
if data_dir:
    photos, others = nr.data.cifar10(data_dir)
    thirty = nr.training.recipes.get("cifar10-quick").changed(max_steps=30, lr=0.05)
    network = nr.models.resnet20(shortcut="A", seed=0)
    started = nr.training.fit(
        network,
        photos,
        others.subset(np.arange(1000)),
        recipe=thirty,
        out=runs / "cifar10",
        quiet=True,
    )
    print(f"thirty steps: {started.test.accuracy:.0%} right, of ten classes")
    assert started.test.accuracy > 0.13
else:
    print("no CIFAR-10 here: the digits will do")

# %% [markdown]
# ## Exercises
#
# `nr.course.hint("10.1")` gives a hint, `nr.course.solution("10.1")` the solution.
#
# **1.** CIFAR-100 has a hundred classes. What is the loss, in nats, of a network that
# gives all of them the same probability?

# %%
answer = ...
nr.course.check("10.1", answer)

# %% [markdown]
# **2.** How many steps does a run take?


# %%
def number_of_steps(images, batch_size, epochs):
    """Count the updates of the weights."""
    ...


nr.course.check("10.2", number_of_steps)

# %% [markdown]
# **3.** One step of SGD with momentum and weight decay, without Nesterov. Return the
# new weight and the new velocity, `(w, r)`.


# %%
def sgd_step(w, grad, r, lr, momentum, weight_decay):
    """Take one step as the package does."""
    ...


nr.course.check("10.3", sgd_step)

# %% [markdown]
# **4.** The paper's staircase: `lr`, a tenth of it from step `milestones[0]` on, a
# hundredth from `milestones[1]` on, and so forth.


# %%
def staircase(step, lr, milestones):
    """Compute the learning rate of a step."""
    ...


nr.course.check("10.4", staircase)

# %% [markdown]
# **5.** After 100 epochs a network has 99.9 % of its training images right and 71 % of
# the test images; the test loss has been rising for 60 epochs. Answer with one of
# `"overfitting"`, `"underfitting"`, `"learning rate too high"`, `"bad luck"`.

# %%
answer = ...
nr.course.check("10.5", answer)

# %% [markdown]
# **6.** The standard error of an accuracy that was measured on some images.


# %%
def standard_error(correct, images):
    """Estimate how far the accuracy is off by chance."""
    ...


nr.course.check("10.6", standard_error)
