"""A run does what its recipe says: steps, held-out images, means, mirror images."""

import csv
import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import TrainingInterrupted, evaluate
from tests.training.small import new_model, resume, small_data, stopping, tensors
from tests.training.tiny import train, weights_of


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_a_run_ends_with_its_last_step_within_an_epoch(tmp_path):
    run = train(tmp_path / "run", epochs=9, max_steps=12)  # 5 + 5 + 2
    assert run.recipe.epochs == len(run.history) == 3
    assert tensors(tmp_path / "run").optimizer["steps"] == 12
    assert run.history[-1]["lr"] == 0  # the cycle has its end there
    # The last epoch's mean is that of two batches.
    right = run.history[-1]["train_accuracy"] * 64
    assert right == pytest.approx(round(right))
    # Nothing is left to do.
    assert len(resume(small_data(), tmp_path / "run").history) == 3
    assert tensors(tmp_path / "run").optimizer["steps"] == 12


def test_milestones_in_steps_change_the_rate_within_an_epoch(tmp_path):
    run = train(tmp_path / "run", schedule="steps", milestone_steps=(4, 7))
    assert [row["lr"] for row in run.history] == pytest.approx([0.01, 0.001, 0.001])


def test_held_out_images_are_measured_and_the_test_images_once(tmp_path):
    run = train(tmp_path / "run", validation=40)
    assert all(row["validation_accuracy"] is not None for row in run.history)
    assert [row["test_accuracy"] is None for row in run.history] == [True, True, False]
    dataset = config_of(tmp_path / "run")["dataset"]
    assert [dataset[name] for name in ("train", "validation", "test")] == [110, 40, 60]
    assert resume(small_data(), tmp_path / "run").test == run.test


def test_the_mean_at_every_pixel_travels_with_the_weights(tmp_path):
    run = train(tmp_path / "run", normalization="pixel")
    dataset = config_of(tmp_path / "run")["dataset"]
    assert np.shape(dataset["mean"]) == (3, 8, 8)
    note = nr.weights.read_metadata(tmp_path / "run" / "weights.safetensors")
    assert json.loads(note["npresnet"])["dataset"]["mean"] == dataset["mean"]
    model = new_model(9)
    model.load_state_dict(weights_of(tmp_path / "run"))
    statistics = {"mean": dataset["mean"], "std": dataset["std"]}
    assert evaluate(model, small_data()[1], **statistics) == run.test
    assert resume(small_data(), tmp_path / "run").test == run.test
    # Numbers by the row: the file can be read.
    lines = (tmp_path / "run" / "config.json").read_text().splitlines()
    assert len(lines) < 200


def test_mirror_images_are_looked_at_and_that_is_said(tmp_path):
    run = train(tmp_path / "run", test_flip=True)
    assert run.test.flip
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["test_flip"] for row in rows] == ["1", "1", "1"]
    plain = train(tmp_path / "plain")
    assert "test_flip" not in plain.history[0]
    assert plain.test.loss != run.test.loss
    np.testing.assert_array_equal(
        weights_of(tmp_path / "plain")["fc.weight"],
        weights_of(tmp_path / "run")["fc.weight"],
    )


def test_everything_together_survives_an_interruption(tmp_path):
    settings = {
        "validation": 40,
        "normalization": "pixel",
        "ema_decay": 0.7,
        "test_flip": True,
        "max_steps": 10,
        "label_smoothing": 0.1,
    }
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "cut", progress=stopping(2), **settings)
    resumed = resume(small_data(), tmp_path / "cut")
    assert resumed.test == whole.test
    for name, value in weights_of(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, weights_of(tmp_path / "cut")[name])
