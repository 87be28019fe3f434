"""Training learns, leaves its folder, and repeats itself."""

import csv
import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import Recipe, RunFolder, evaluate
from tests.training.small import (
    RECIPE,
    assert_same_bits,
    new_model,
    run,
    tensors,
)


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
