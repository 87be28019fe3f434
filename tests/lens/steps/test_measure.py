"""The stepper against autograd, operation by operation, and against the real pass."""

import csv
import importlib
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

import npresnet as nr
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import draw_batch, make_twins

NETWORKS = {
    "resnet8-A": ("resnet8", {"shortcut": "A"}, (3, 3, 9, 8)),
    "resnet8-B": ("resnet8", {"shortcut": "B"}, (2, 3, 9, 8)),
    "resnet8-C": ("resnet8", {"shortcut": "C"}, (2, 3, 8, 9)),
    "plain8": ("plain8", {}, (3, 3, 9, 8)),
    "resnet14-A": ("resnet14", {"shortcut": "A"}, (2, 3, 8, 8)),
    "basic": ("basic", {}, (2, 3, 33, 40)),
    "bottleneck": ("bottleneck", {}, (2, 3, 33, 40)),
}


def make(name, dtype=np.float64, **options):
    if name in ("basic", "bottleneck"):  # the ImageNet family, narrower
        block = getattr(nr.models, {"basic": "BasicBlock"}.get(name, "Bottleneck"))
        widths, stem = (8, 16, 32, 64), nr.models.Stem(8)
        return nr.models.ResNet(
            block, (1, 1, 1, 1), 5, widths=widths, stem=stem, dtype=np.float64
        )
    return nr.models.create(name, dtype=dtype, **options)


def walk(key, rng, training=True, **more):
    name, options, shape = NETWORKS[key]
    model = make(name, **options).train(training)
    x = normal(rng, *shape)
    y = rng.integers(0, 5, len(x))
    return model, x, y, nr.lens.steps(model, x, y, **more)


@pytest.fixture
def small(rng):
    return walk("resnet8-A", rng)


# ---------------------------------------------------------------- right gradients


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", ["resnet8-A", "resnet8-C", "resnet14-A", "plain8"])
def test_every_step_is_what_autograd_finds_there(torch, oracle, rng, name, training):
    layers = importlib.import_module("tests.oracle.layers")
    net, options, shape = NETWORKS[name]
    model, twin = make_twins(
        torch, oracle, net, np.float64, rng, training=training, **options
    )
    x, labels = draw_batch(rng, shape, 10)
    expected, parameters = layers.calls(twin, x, labels)
    steps = nr.lens.steps(model, x, labels)

    calls = Counter(path for path, _ in expected)
    taken, compared = Counter(), 0
    for step in steps:
        where = f"{step.path} {step.operation}"
        if step.operation == "fork":
            whole = expected[step.path, 0].grad_input
            assert_matches(step.grad_input, whole, where)
            around = whole - step.grad_outputs[0]
            assert_matches(step.grad_outputs[1], around, where, size=abs(whole).max())
            compared += 1
        elif step.operation == "addition":
            last = expected[f"{step.path}.relu", 1]
            assert_matches(step.grad_output, last.grad_input, where)
            for way in step.grad_inputs:
                assert_matches(way, last.grad_input, where)
            compared += 1
        elif step.path in calls:
            taken[step.path] += 1  # backward meets the last call first
            call = expected[step.path, calls[step.path] - taken[step.path]]
            assert_matches(step.grad_output, call.grad_output, where)
            assert_matches(step.grad_input, call.grad_input, where)
            for parameter, grad in step.parameter_grads.items():
                theirs = parameters[f"{step.path}.{parameter}"]
                assert_matches(grad, theirs, f"{where} {parameter}")
            compared += 1
    # What autograd has no module for: the loss, a change of shape, identities.
    others = [
        s for s in steps if s.operation in ("cross_entropy", "flatten", "identity")
    ]
    assert compared == len(steps) - len(others)
    assert {f"{s.path}.{p}" for s in steps for p in s.parameter_grads} == set(
        parameters
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_ordinary_backward_pass_with_all_its_bits(rng, name):
    model, x, y, steps = walk(name, rng)
    criterion = nr.nn.CrossEntropyLoss()
    assert steps.loss == criterion(model(x), y)
    grad_logits = criterion.backward()
    grad_images = model.backward(grad_logits)
    assert np.array_equal(steps[0].grad_input, grad_logits)
    assert np.array_equal(steps[-1].grad_input, grad_images)
    found = {f"{s.path}.{n}": g for s in steps for n, g in s.parameter_grads.items()}
    for path, parameter in model.named_parameters():
        assert np.array_equal(found.pop(path), parameter.grad), path
    assert not found


@pytest.mark.parametrize("name", NETWORKS)
def test_what_one_step_hands_on_is_what_the_next_one_gets(rng, name):
    _, _, _, steps = walk(name, rng)
    loose = 0
    ways = {}
    for before, step in pairwise(steps):
        if before.operation == "addition":
            ways = dict(zip(("branch", "shortcut"), before.grad_inputs, strict=True))
        if step.operation == "fork":
            if before.way == "shortcut":
                ways["shortcut"] = before.grad_input
            elif before.way == "branch":
                ways["branch"] = before.grad_input
            assert np.array_equal(step.grad_outputs[0], ways["branch"])
            assert np.array_equal(step.grad_outputs[1], ways["shortcut"])
        elif step.way == "trunk":
            assert np.array_equal(step.grad_output, before.grad_input)
        else:
            assert np.array_equal(step.grad_output, ways[step.way])
            ways[step.way] = step.grad_input
            loose += 1
    assert loose == sum(step.way != "trunk" for step in steps)


def test_at_a_fork_the_two_gradients_add(rng):
    for name in ("resnet8-A", "resnet8-C", "bottleneck"):
        forks = [s for s in walk(name, rng)[3] if s.operation == "fork"]
        assert forks
        for step in forks:
            branch, shortcut = step.grad_output
            assert np.array_equal(step.grad_input, branch + shortcut)
            assert branch.any()
            assert shortcut.any()


def test_a_plain_network_has_one_way(rng):
    steps = walk("plain8", rng)[3]
    assert {step.way for step in steps} == {"trunk"}
    assert not {"fork", "addition"} & {step.operation for step in steps}
    assert len(steps["layer1.0"]) == 6


# ------------------------------------------------------------------------- order


def test_steps_run_from_the_loss_to_the_images(small):
    _, x, _, steps = small
    assert [step.path for step in steps] == [
        *["loss", "fc", "flatten", "avgpool"],
        *(
            f"{block}{part}"
            for block in ("layer3.0", "layer2.0", "layer1.0")
            for part in (
                *[".relu", "", ".bn2", ".conv2", ".relu", ".bn1", ".conv1"],
                *[".downsample", ""],
            )
        ),
        *["relu", "bn1", "conv1"],
    ]
    assert [step.operation for step in steps["layer2.0"]] == [
        *["relu", "addition", "batch_norm", "conv2d", "relu", "batch_norm", "conv2d"],
        *["zero_pad_shortcut", "fork"],
    ]
    assert [step.way for step in steps["layer1.0"]] == [
        *["trunk", "trunk", *["branch"] * 5, "shortcut", "trunk"]
    ]
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert np.array_equal(steps[-1].inputs[0], x)
    assert list(reversed(steps)) == list(steps)[::-1]


def test_steps_are_a_sequence(small):
    *_, steps = small
    assert len(steps) == 34
    assert steps[-1].path == "conv1"
    assert [step.number for step in steps[3:6]] == [4, 5, 6]
    assert isinstance(steps[3:6], nr.lens.Steps)
    assert steps[7] in steps
    assert steps.index(steps[7]) == 7
    assert [step.path for step in steps["layer2.0.downsample"]] == [
        "layer2.0.downsample"
    ]
    assert steps["layer2"].steps == steps["layer2.0"].steps
    assert steps.find("layer2.0").operation == "relu"
    assert steps.find("loss") is steps[0]
    assert steps["fc"][0] is steps[1]
    for wrong in ("layer4", "layer2.0.conv3", "conv"):
        with pytest.raises(KeyError, match="no step"):
            steps[wrong]
    with pytest.raises(IndexError):
        steps[34]


def test_within_keeps_a_part_and_its_numbers(rng):
    model, x, y, steps = walk("resnet8-C", rng)
    part = nr.lens.steps(model, x, y, within="layer2.0")
    assert [s.number for s in part] == [s.number for s in steps["layer2.0"]]
    for one, other in zip(part, steps["layer2.0"], strict=True):
        for ours, theirs in zip(one.grad_inputs, other.grad_inputs, strict=True):
            assert np.array_equal(ours, theirs)
    assert part.check()
    assert part.nbytes < steps.nbytes / 2
    with pytest.raises(ValueError, match=r"within.*layer9"):
        nr.lens.steps(model, x, y, within="layer9")


# -------------------------------------------------------------------- what it knows


def test_a_step_knows_shapes_bytes_and_seconds(small, rng):
    model, _, _, steps = small
    step = steps.find("layer3.0.conv1")
    assert (step.input_shape, step.output_shape) == ((3, 16 * 2, 5, 4), (3, 64, 3, 2))
    assert step.parameter_grads["weight"].shape == model.layer3[0].conv1.weight.shape
    assert step.cache_bytes == 3 * 32 * 5 * 4 * 8  # its input, and no weights
    assert steps.find("avgpool").cache_bytes == 0
    assert all(step.seconds >= 0 for step in steps)
    assert sum(step.seconds for step in steps) > 0
    # A projection keeps what the branch keeps: the whole is less than its parts.
    projected = walk("resnet8-C", rng)[3]
    parts = sum(step.cache_bytes for step in projected)
    assert parts / 2 < projected.cache_bytes < parts
    row = steps.find("layer3.0").row()
    assert row.grad_input_norm == pytest.approx(np.linalg.norm(steps[4].grad_input))


def test_formulas_follow_the_mode_and_the_size(rng):
    frozen = walk("resnet8-A", rng, training=False)[3].find("bn1")
    training = walk("resnet8-A", rng)[3].find("bn1")
    assert r"\langle g \rangle" in training.formula
    assert r"\langle g \rangle" not in frozen.formula
    assert set(training.formulas) == {"forward", "input", "weight", "bias"}
    for step in walk("bottleneck", rng)[3]:
        assert step.formula
        assert step.details.words


def test_what_is_recorded_cannot_be_written_into_nor_changed_by_training(small):
    model, x, _, steps = small
    step = steps.find("layer1.0.conv1")
    for array in (step.inputs[0], step.grad_input, step.parameter_grads["weight"]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    for parameter in model.parameters():
        parameter.data += 1
    x[...] = 0
    assert steps.check()


def test_gradients_of_a_pass_do_not_mix_with_the_models_own(rng):
    model, x, y, steps = walk("resnet8-A", rng)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), y)
    model.backward(criterion.backward())  # the model has gradients now
    again = nr.lens.steps(model, x, y)
    one, other = (s.find("fc").parameter_grads["weight"] for s in (steps, again))
    assert np.array_equal(one, other)


# --------------------------------------------------------------- leaving no trace


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet8-C", "bottleneck", "plain8"])
def test_the_model_is_left_as_it_was(rng, name, training):
    model, x, y, _ = walk(name, rng, training)
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(x), y)
    with left_as_it_was(model):
        nr.lens.steps(model, x, y)["layer1"].check()
    model.backward(criterion.backward())
    with left_as_it_was(model):
        nr.lens.steps(model, x, y, within="fc")


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_the_model_is_left_as_it_was_when_it_is_stopped(rng, method):
    model, x, y, _ = walk("resnet8-A", rng)
    calls = []
    own = getattr(nr.nn.BatchNorm2d, method)

    class Stopping(nr.nn.BatchNorm2d):
        pass

    def stop(self, *args, **options):
        calls.append(1)
        if len(calls) == 2:  # the first pass only warms up
            raise KeyboardInterrupt
        return own(self, *args, **options)

    setattr(Stopping, method, stop)
    model.layer2[0].bn1.__class__ = Stopping
    with left_as_it_was(model), pytest.raises(KeyboardInterrupt):
        nr.lens.steps(model, x, y)
    assert len(calls) == 2


# --------------------------------------------------------------- modules of one's own


class Scale(nr.nn.Module):
    """A module of another kind, with a part inside."""

    def __init__(self):
        super().__init__()
        self.relu = nr.nn.ReLU()
        self.factor = nr.nn.Parameter(np.array([1.5]))

    def forward(self, x):
        self.push_cache(x)
        return self.relu(x) * self.factor.data

    def backward(self, grad_output, input_grad=True):
        x = self.pop_cache()
        self.factor.accumulate(np.array([(grad_output * np.maximum(x, 0)).sum()]))
        return self.relu.backward(grad_output * self.factor.data)


def test_a_module_of_your_own_is_one_step(rng):
    model, x, y, _ = walk("resnet8-A", rng)
    model.layer2 = nr.nn.Sequential(*model.layer2, Scale())
    steps = nr.lens.steps(model, x, y)
    step = steps.find("layer2.1")
    assert step.operation == "Scale"
    assert set(step.parameter_grads) == {"factor"}
    assert len(steps["layer2.1"]) == 1
    assert steps.check()
    assert "Scale" in repr(steps)


def test_a_block_of_your_own_is_understood(rng):
    class PreActivation(nr.models.BasicBlock):
        """He et al. 2016: the ReLU is before the fork, nothing behind the addition."""

        def forward(self, x):
            x = self.relu(x)
            return self.branch_forward(x) + self.shortcut_forward(x)

        def backward(self, grad_output, input_grad=True):
            grad_branch = self.branch_backward(grad_output)
            grad = grad_branch + self.shortcut_backward(grad_output)
            return self.relu.backward(grad)

    model, x, y, _ = walk("resnet8-A", rng)
    model.layer1 = nr.nn.Sequential(PreActivation(16, 16, dtype=np.float64, rng=0))
    steps = nr.lens.steps(model, x, y)
    operations = [step.operation for step in steps["layer1.0"]]
    assert operations[0] == "addition"
    assert operations[-2:] == ["fork", "relu"]
    assert steps.check()


def test_what_is_no_operation_is_refused(rng):
    class Halving(nr.models.ResNet):
        def forward(self, x):
            return self.fc(
                self.avgpool(self.layer1(self.bn1(self.conv1(x))) / 2)[..., 0, 0]
            )

    block = nr.models.BasicBlock
    model = Halving(block, (1,), 10, widths=(16,), dtype=np.float64)
    x, y = normal(rng, 2, 3, 8, 8), np.array([1, 2])
    model.backward = lambda grad, input_grad=True: grad
    with pytest.raises(ValueError, match=r"layer1.0.*avgpool"):
        nr.lens.steps(model, x, y)


def test_a_bad_batch_is_refused(rng):
    model = make("resnet8")
    x, y = normal(rng, 2, 3, 8, 8), np.array([1, 2])
    with pytest.raises(TypeError, match="Module"):
        nr.lens.steps("resnet8", x, y)
    with pytest.raises(TypeError, match="float64"):
        nr.lens.steps(model, x.astype(np.float32), y)
    with pytest.raises(ValueError, match="label"):
        nr.lens.steps(model, x, y[:1])


# -------------------------------------------------------------- printing and saving


def test_it_prints_a_row_per_step(small):
    *_, steps = small
    lines = repr(steps).splitlines()
    assert lines[0].split()[:4] == ["step", "path", "operation", "way"]
    assert len(lines) == 1 + 34 + 1 + 3
    assert "34 steps" in lines[-1]
    assert steps._repr_html_().count("<tr>") == 35
    text = str(steps.find("layer3.0.conv2"))
    for part in ("Convolution", "on the branch of layer3.0", "3x64x3x2", r"\frac"):
        assert part in text
    card = steps.find("layer3.0.conv2")._repr_html_()
    assert "<math " in card
    assert "Convolution" in card
    fork = str(steps["layer3.0"][-1])
    assert "branch" in fork
    assert "cosine" in fork


def test_it_saves_data_and_a_picture(small, tmp_path):
    *_, steps = small
    for ending in ("json", "csv", "png"):
        steps.save(tmp_path / f"steps.{ending}")
    data = json.loads((tmp_path / "steps.json").read_text())
    assert data == json.loads(json.dumps(steps.to_dict()))
    assert data["rows"][12]["grad_shortcut_norm"] > 0
    assert data["rows"][6]["parameter_grad_norms"].keys() == {"weight", "bias"}
    with open(tmp_path / "steps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [step.path for step in steps]
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"steps\.xml.*\.html"):
        steps.save(tmp_path / "steps.xml")


def test_a_network_that_has_blown_up_can_be_looked_at(rng, tmp_path):
    model, x, y, _ = walk("resnet8-A", rng)
    model.layer2[0].conv1.weight.data[0, 0, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        steps = nr.lens.steps(model, x, y)
        for ending in ("json", "csv", "png", "html"):
            steps.save(tmp_path / f"steps.{ending}")
    assert json.loads((tmp_path / "steps.json").read_text())["loss"] is None
    page = (tmp_path / "steps.html").read_text()
    assert 'width="nan' not in page
    assert 'stroke-width="nan' not in page
    assert "nan" in repr(steps)


def test_an_empty_part_has_no_page(small):
    *_, steps = small
    assert len(steps[:0]) == 0
    with pytest.raises(ValueError, match="no steps"):
        steps[:0].html()


def test_the_page_of_a_resnet20_is_small_whatever_the_images(rng, tmp_path):
    model = make("resnet20", np.float32)
    x = rng.standard_normal((2, 3, 32, 32), dtype=np.float32)  # noise packs worst
    nr.lens.steps(model, x, np.array([1, 2])).save(tmp_path / "steps.html")
    assert 1e6 < (tmp_path / "steps.html").stat().st_size < 5e6
