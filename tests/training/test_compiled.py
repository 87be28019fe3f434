"""Runs take steps as one program, or layer by layer: the same bits, in any mixture."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.models import BasicBlock
from npresnet.training import TrainingInterrupted
from tests.training.small import (
    RECIPE,
    Watch,
    assert_same_run,
    new_model,
    resume,
    run,
    stopping,
)

SHORT = RECIPE.changed(epochs=2)


@pytest.fixture(autouse=True)
def _as_a_user(_strict_arithmetic_exact_convolutions):
    with nr.using_backend("numba"), nr.using_algorithm("auto"):
        yield


@pytest.fixture(scope="module")
def layered(data, tmp_path_factory):
    """The folder of a run whose steps were taken layer by layer."""
    folder = tmp_path_factory.mktemp("layered") / "run"
    with nr.using_backend("numba"), nr.using_algorithm("auto"):
        run(data, folder, recipe=SHORT, compiled=False)
    return folder


def count_programs(monkeypatch):
    """Count the steps that programs take."""
    from npresnet.compiler.program import Program

    taken = []
    right = Program.run_backward

    def counted(self, grad_out):
        taken.append(self)
        return right(self, grad_out)

    monkeypatch.setattr(Program, "run_backward", counted)
    return taken


def test_both_forms_leave_the_same_run(data, layered, tmp_path, monkeypatch):
    taken = count_programs(monkeypatch)
    run(data, tmp_path / "run", recipe=SHORT)
    assert len(taken) == 10
    assert_same_run(layered, tmp_path / "run")


def test_layer_by_layer_no_program_runs(data, layered, tmp_path, monkeypatch):
    taken = count_programs(monkeypatch)
    run(data, tmp_path / "run", recipe=SHORT, compiled=False)
    assert not taken
    assert_same_run(layered, tmp_path / "run")


@pytest.mark.parametrize("first", [True, False])
def test_a_run_begun_in_one_form_goes_on_in_the_other(data, layered, tmp_path, first):
    with pytest.raises(TrainingInterrupted):
        run(
            data,
            tmp_path / "run",
            recipe=SHORT,
            compiled=first,
            progress=stopping(1, 3),
        )
    with pytest.raises(TrainingInterrupted):
        resume(data, tmp_path / "run", compiled=not first, progress=stopping(2, 2))
    resume(data, tmp_path / "run", compiled=first)
    assert_same_run(layered, tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [
        {"average_epochs": 1},
        {"ema_decay": 0.9},
        {"nesterov": False, "spare_norm_and_bias": True},
        {"momentum": 0.0, "nesterov": False},
        {"last_batch": "drop"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_averages_and_other_settings(data, tmp_path, changes):
    recipe = SHORT.changed(**changes)
    for compiled in (True, False):
        run(data, tmp_path / str(compiled), recipe=recipe, compiled=compiled)
    assert_same_run(tmp_path / "True", tmp_path / "False")


class Scaled(BasicBlock):
    """A block of one's own, which does more than add."""

    def forward(self, x):
        branch = self.branch_forward(x)
        return self.relu(branch * np.float32(0.5) + self.shortcut_forward(x))

    def backward(self, grad_output, input_grad=True):
        grad = self.relu.backward(grad_output)
        branch = self.branch_backward(grad * np.float32(0.5), input_grad)
        shortcut = self.shortcut_backward(grad, input_grad)
        return branch + shortcut if input_grad else None


def scaled():
    from npresnet.models import ResNet
    from npresnet.models.resnet import Stem

    stem = Stem(8, 3, 1, False)
    return ResNet(Scaled, (1, 1), 10, widths=(8, 16), stem=stem)


def test_a_block_of_ones_own_is_trained_layer_by_layer_and_one_line_says_so(
    data, tmp_path
):
    watch = Watch()
    options = {"recipe": SHORT, "seed": 3}
    nr.training.fit(scaled(), *data, out=tmp_path / "run", progress=watch, **options)
    said = [text for text in watch.said if "layer by layer" in text]
    assert len(said) == 1
    assert said[0].startswith("training layer by layer: ResNet cannot be compiled: ")
    assert "forward (line" in said[0]
    assert "multiplies an array" in said[0]
    assert "\n" not in said[0]
    nr.training.fit(
        scaled(), *data, out=tmp_path / "asked", compiled=False, quiet=True, **options
    )
    assert_same_run(tmp_path / "run", tmp_path / "asked")


def test_whoever_compiles_sees_what_fit_sees(data):
    """A step of one's own comes to the bits of the training loop's."""
    model, twin = new_model(), new_model()
    recipe = SHORT.changed(epochs=1)
    batches = nr.data.batches(data[0], 32, shuffle=False)
    criterion = nr.nn.CrossEntropyLoss()
    optimizers = [recipe.make_optimizer(one) for one in (model, twin)]
    step = nr.compile(model, criterion, optimizers[0])
    for x, labels in batches:
        loss, logits = step(x, labels)
        theirs, correct = nr.training.step.take_step(
            twin, criterion, optimizers[1], x, labels
        )
        assert float(loss) == theirs
        assert (logits.argmax(axis=1) == labels).sum() == correct
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, twin.state_dict()[name], name)
