"""Training learns, leaves its folder, and goes on where it stopped, bit for bit."""

import csv
import errno
import json
import os
import signal

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import Recipe, RunFolder, TrainingInterrupted, evaluate, fit
from npresnet.training import checkpoint as checkpoints
from npresnet.training.progress import Silent

RECIPE = Recipe(
    name="test",
    description="small",
    source="here",
    dataset="digits",
    model="resnet8",
    shortcut="A",
    epochs=4,
    batch_size=32,
    lr=0.1,
    crop_padding=1,
    crop_fill="black",
    label_smoothing=0.1,
)


@pytest.fixture(autouse=True)
def reference_backend():
    """Nothing here depends on the backend: spare the compilation."""
    with nr.using_backend("reference"):
        yield


@pytest.fixture(scope="module")
def data():
    train, test = nr.data.digits()
    return train.subset(range(150)), test.subset(range(60))


def new_model(seed=0):
    return nr.models.create("resnet8", num_classes=10, seed=seed)


def run(data, out, **options):
    options = {"recipe": RECIPE, "seed": 3, "quiet": True, **options}
    return fit(new_model(), *data, out=out, **options)


class StopAfter(Silent):
    """Sends this process a signal in the middle of an epoch."""

    def __init__(self, epoch, batch=2, number=signal.SIGINT):
        self.when, self.number = (epoch, batch), number
        self.epoch = self.batches = 0

    def begin_epoch(self, epoch, epochs, steps):
        self.epoch, self.batches = epoch, 0

    def batch(self, loss, accuracy, images, lr):
        self.batches += 1
        if (self.epoch, self.batches) == self.when:
            os.kill(os.getpid(), self.number)


def tensors_exist(folder):
    return RunFolder(folder).checkpoint_path.exists()


def tensors(folder):
    return checkpoints.load(RunFolder(folder).checkpoint_path)


def assert_same_bits(one, other):
    for part in ("model", "optimizer"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
            assert ours[name].dtype == theirs[name].dtype


def test_the_loss_falls_and_the_folder_is_complete(data, tmp_path):
    result = run(data, tmp_path / "run")
    losses = [row["train_loss"] for row in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert result.folder == tmp_path / "run"
    assert {path.name for path in result.folder.iterdir()} == {
        "config.json",
        "metrics.csv",
        "weights.safetensors",
        "curves.png",
        "report.html",
        "checkpoint.safetensors",
        "checkpoint-previous.safetensors",
    }
    with open(result.folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert list(rows[0]) == [
        "epoch",
        "lr",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "seconds",
        "images_per_second",
    ]
    assert float(rows[-1]["test_accuracy"]) == pytest.approx(
        result.test.accuracy, rel=1e-5
    )
    config = json.loads((result.folder / "config.json").read_text())
    assert Recipe.from_dict(config["recipe"]) == RECIPE
    assert config["seed"] == 3
    assert config["dataset"]["classes"] == list("0123456789")


def test_the_weights_on_disk_repeat_the_result(data, tmp_path):
    result = run(data, tmp_path / "run", epochs=2)
    model = new_model(seed=9)
    model.load_state_dict(nr.weights.load(result.folder / "weights.safetensors"))
    assert evaluate(model, data[1]) == result.test


def test_evaluation_does_not_depend_on_the_batch_size_nor_change_the_mode(data):
    model = new_model()
    whole, parts = evaluate(model, data[1]), evaluate(model, data[1], 7)
    assert whole.correct == parts.correct
    assert whole.total == parts.total == 60
    assert whole.loss == pytest.approx(parts.loss, rel=1e-6)
    assert model.training
    model.eval()
    evaluate(model, data[1])
    assert not model.training


def test_same_seed_same_bits(data, tmp_path):
    run(data, tmp_path / "one", epochs=2)
    run(data, tmp_path / "two", epochs=2)
    run(data, tmp_path / "other", epochs=2, seed=4)
    one, two = tensors(tmp_path / "one"), tensors(tmp_path / "two")
    assert_same_bits(one, two)
    other = tensors(tmp_path / "other").model["fc.weight"]
    assert not np.array_equal(one.model["fc.weight"], other)


@pytest.mark.parametrize("epoch", [2, 4])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_to_the_same_bits(data, tmp_path, epoch, number):
    whole = run(data, tmp_path / "whole")
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match=f"epoch {epoch} of 4") as stopped:
        run(data, tmp_path / "cut", progress=StopAfter(epoch, number=number))
    assert stopped.value.folder == tmp_path / "cut"
    assert stopped.value.signal_number == number
    assert signal.getsignal(number) is before
    assert f"--resume {tmp_path / 'cut'}" in str(stopped.value)
    assert len((tmp_path / "cut" / "metrics.csv").read_text().splitlines()) == epoch

    resumed = fit(new_model(5), *data, resume=tmp_path / "cut", quiet=True)
    assert_same_bits(tensors(tmp_path / "whole"), tensors(tmp_path / "cut"))
    assert resumed.test == whole.test
    timeless = [
        [{k: v for k, v in row.items() if "second" not in k} for row in result.history]
        for result in (whole, resumed)
    ]
    assert timeless[0] == timeless[1]


def test_a_run_cut_off_before_its_first_checkpoint_starts_anew(data, tmp_path):
    with pytest.raises(TrainingInterrupted, match="no epoch was complete"):
        run(data, tmp_path / "cut", progress=StopAfter(1))
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    fit(new_model(), *data, resume=tmp_path / "cut", quiet=True)
    run(data, tmp_path / "whole")
    assert_same_bits(tensors(tmp_path / "whole"), tensors(tmp_path / "cut"))


def test_resuming_a_finished_run_changes_nothing(data, tmp_path):
    finished = run(data, tmp_path / "run", epochs=2)
    before = tensors(tmp_path / "run")
    again = fit(new_model(8), *data, resume=tmp_path / "run", quiet=True)
    assert again.test == finished.test
    assert again.history == finished.history
    assert_same_bits(before, tensors(tmp_path / "run"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(data, tmp_path):
    whole = run(data, tmp_path / "run", epochs=3)
    path = RunFolder(tmp_path / "run").checkpoint_path
    expected = tensors(tmp_path / "run")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        checkpoints.load(path)
    resumed = fit(new_model(), *data, resume=tmp_path / "run", quiet=True)
    assert resumed.test == whole.test
    assert_same_bits(expected, tensors(tmp_path / "run"))

    path.write_bytes(content[: len(content) // 2])
    checkpoints.previous_path(path).write_bytes(b"")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
        fit(new_model(), *data, resume=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 9}, "epochs.* has 4, got 9"),
        ({"seed": 7}, "seed.* has 3, got 7"),
        ({"lr": 0.5}, "lr"),
        ({"recipe": "cifar10-quick"}, "recipe"),
    ],
)
def test_settings_that_disagree_with_the_folder_are_refused(
    data, tmp_path, options, message
):
    with pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", progress=StopAfter(2))
    before = tensors(tmp_path / "cut")
    with pytest.raises(ValueError, match=message):
        fit(new_model(), *data, resume=tmp_path / "cut", quiet=True, **options)
    with pytest.raises(ValueError, match="train"):
        fit(new_model(), data[1], data[1], resume=tmp_path / "cut", quiet=True)
    with pytest.raises(ValueError, match="parameters"):
        other = nr.models.create("resnet8", num_classes=10, shortcut="B")
        fit(other, *data, resume=tmp_path / "cut", quiet=True)
    assert_same_bits(before, tensors(tmp_path / "cut"))


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(data, tmp_path):
    run(data, tmp_path / "run", epochs=1)
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(FileExistsError, match="already holds a run"):
        run(data, tmp_path / "run", epochs=1)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="found a file"):
        run(data, tmp_path / "file", epochs=1)


def test_a_run_without_a_name_gets_a_fresh_folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = RunFolder.create(None, "resnet8", "digits").path
    second = RunFolder.create(None, "resnet8", "digits").path
    assert first != second
    assert first.parent == second.parent
    assert first.parent.name == "runs"
    assert "resnet8-digits" in first.name


def test_a_loss_that_is_not_finite_stops_and_keeps_the_weights(data, tmp_path):
    class Poison(Silent):
        def begin_epoch(self, epoch, epochs, steps):
            if epoch == 3:
                model.fc.weight.data[0, 0] = np.nan

    model = new_model()
    with pytest.raises(
        FloatingPointError, match="epoch 3, step 1 of 5: the loss is nan"
    ):
        fit(model, *data, recipe=RECIPE, out=tmp_path / "run", progress=Poison())
    kept = nr.weights.load(tmp_path / "run" / "weights.safetensors")
    assert all(np.isfinite(array).all() for array in kept.values())
    assert tensors(tmp_path / "run").epoch == 2


def test_the_test_set_is_seen_once_where_there_is_a_validation_set(data, tmp_path):
    train, test = data
    rest, held_out = nr.data.split(train, 30, seed=0)
    result = run((rest, test), tmp_path / "run", validation_set=held_out, epochs=3)
    assert all(row["validation_loss"] > 0 for row in result.history)
    assert [row["test_loss"] is None for row in result.history] == [True, True, False]
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert "validation_accuracy" in header
    assert ",," in rows[0]
    assert ",," not in rows[-1]
    assert result.test.total == len(test)


def test_a_full_disk_names_the_folder_and_keeps_the_last_epoch(
    data, tmp_path, monkeypatch
):
    save = checkpoints.weights.save

    def fails_at_the_third_epoch(path, *args, **kwargs):
        if tensors_exist(tmp_path / "run") and tensors(tmp_path / "run").epoch == 2:
            (tmp_path / "run" / ".half.tmp").write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.weights, "save", fails_at_the_third_epoch)
        with pytest.raises(OSError, match="No space left") as raised:
            run(data, tmp_path / "run")
    assert raised.value.filename == str(tmp_path / "run")
    whole = run(data, tmp_path / "whole")
    resumed = fit(new_model(), *data, resume=tmp_path / "run", quiet=True)
    assert resumed.test == whole.test
    assert_same_bits(tensors(tmp_path / "whole"), tensors(tmp_path / "run"))
    assert not list((tmp_path / "run").glob(".*"))


def test_callbacks_get_every_row(data, tmp_path):
    rows = []
    result = run(data, tmp_path / "run", epochs=2, callbacks=[rows.append])
    assert rows == result.history


def test_data_that_do_not_fit_are_refused_by_name(data, tmp_path):
    train, test = data
    narrow = nr.data.digits(channels=1)[1]
    with pytest.raises(ValueError, match="test: expected images of shape"):
        run((train, narrow), tmp_path / "a")
    with pytest.raises(ValueError, match="train: expected at least one image"):
        run((train.subset([]), test), tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
