"""A run goes on with its own data, settings and arithmetic, or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import RunFolder, TrainingInterrupted, fit
from npresnet.training import checkpoint as checkpoints
from tests.training.small import (
    RECIPE,
    Watch,
    assert_same_bits,
    assert_same_run,
    new_model,
    resume,
    run,
    stopping,
    tensors,
)


@pytest.fixture
def cut(data, tmp_path):
    """The folder of a run that was interrupted in its second epoch."""
    with pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", progress=stopping(2))
    return tmp_path / "cut"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_resuming_a_finished_run_changes_nothing(data, tmp_path):
    finished = run(data, tmp_path / "run", epochs=2)
    before = tensors(tmp_path / "run")
    watch = Watch()
    again = resume(data, tmp_path / "run", progress=watch)
    assert again.test == finished.test
    assert again.history == finished.history
    assert "going on after the last epoch: this run is complete" in watch.said
    assert_same_bits(before, tensors(tmp_path / "run"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 9}, "epochs.* has 4, got 9"),
        ({"seed": 7}, "seed.* has 3, got 7"),
        ({"lr": 0.5}, "lr"),
        ({"recipe": "cifar10-quick"}, "recipe"),
    ],
)
def test_settings_that_disagree_are_refused(data, cut, options, message):
    before = contents(cut)
    with pytest.raises(ValueError, match=message):
        resume(data, cut, **options)
    assert contents(cut) == before


def flip_a_pixel(train, test):
    images = train.images.copy()
    images[77, 1, 3, 4] ^= 1
    return replace(train, images=images), test


def change_a_label(train, test):
    labels = train.labels.copy()
    labels[-1] = (labels[-1] + 1) % 10
    return replace(train, labels=labels), test


def change_the_order(train, test):
    return train.subset([1, 0, *range(2, len(train))]), test


def flip_a_test_pixel(train, test):
    images = test.images.copy()
    images[0, 0, 0, 0] ^= 1
    return train, replace(test, images=images)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (flip_a_pixel, "train"),
        (change_a_label, "train"),
        (change_the_order, "train"),
        (flip_a_test_pixel, "test"),
    ],
)
def test_other_data_are_refused_to_the_last_bit(data, whole, cut, other, name):
    before = contents(cut)
    with pytest.raises(
        ValueError, match=f"dataset, {name}: not the images and labels that the run"
    ):
        resume(other(*data), cut)
    assert contents(cut) == before
    resume(data, cut)
    assert_same_run(whole, cut)


def test_other_sets_and_other_models_are_refused(data, cut):
    before = contents(cut)
    train, test = data
    with pytest.raises(ValueError, match=r"dataset, train: the run in .* has 150"):
        resume((test, test), cut)
    with pytest.raises(ValueError, match=r"dataset, validation: .* has 0, got"):
        resume(data, cut, validation_set=test)
    with pytest.raises(ValueError, match="model, parameters"):
        other = nr.models.create("resnet8", num_classes=10, shortcut="B")
        fit(other, train, test, resume=cut, quiet=True)
    assert contents(cut) == before


def test_a_run_that_was_cut_off_before_its_first_checkpoint_starts_anew(
    data, whole, tmp_path, monkeypatch
):
    def killed(path, checkpoint):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", killed)
        with pytest.raises(SystemExit):
            run(data, tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"config.json"}
    with pytest.raises(ValueError, match="began with other weights than these"):
        resume(data, tmp_path / "run")
    fit(new_model(), *data, resume=tmp_path / "run", quiet=True)
    assert_same_run(whole, tmp_path / "run")


def test_results_without_a_checkpoint_are_not_overwritten(data, tmp_path):
    run(data, tmp_path / "run", epochs=1)
    for path in (tmp_path / "run").glob("checkpoint*"):
        path.unlink()
    before = contents(tmp_path / "run")
    with pytest.raises(ValueError, match="holds weights, but no checkpoint"):
        fit(new_model(), *data, resume=tmp_path / "run", quiet=True)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "empty", "gone"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    data, whole, tmp_path, damage
):
    folder = tmp_path / "run"
    run(data, folder)
    path = RunFolder(folder).checkpoint_path
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        size = {"cut short": len(content) // 2, "empty": 0}.get(damage)
        path.write_bytes(content[:size])
    watch = Watch()
    resume(data, folder, progress=watch)
    told = [text for text in watch.said if "going on from the one before it" in text]
    aside = folder / "checkpoint-damaged.safetensors"
    if damage == "gone":
        assert not told
    else:
        assert len(told) == 1
        assert told[0].startswith(f"{path}: ")
        assert aside.read_bytes() == bytes(content[:size])
    assert "going on in epoch 4 of 4, before its first step" in watch.said
    assert_same_run(whole, folder)


def test_two_damaged_checkpoints_are_an_error_that_names_both(data, cut):
    for path in cut.glob("checkpoint*"):
        path.write_bytes(path.read_bytes()[:-1])
    before = contents(cut)
    with pytest.raises(
        ValueError, match=r"checkpoint\.safetensors.*checkpoint-previous"
    ):
        resume(data, cut)
    assert contents(cut) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["recipe"].update(weight_decay=0.1),
        lambda config: config["recipe"].update(epochs=9),
        lambda config: config.update(seed=4),
        lambda config: config["numerics"].update(algorithm="direct"),
        lambda config: config["model"].update(name="resnet14"),
    ],
)
def test_an_edited_config_is_noticed(data, tmp_path, change):
    with nr.using_algorithm("auto"), pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", progress=stopping(2))
    change_config(tmp_path / "cut", change)
    before = contents(tmp_path / "cut")
    with pytest.raises(ValueError, match="not what the run began with"):
        fit(new_model(), *data, resume=tmp_path / "cut", quiet=True)
    assert contents(tmp_path / "cut") == before


def test_a_checkpoint_of_another_run_is_noticed(data, cut, tmp_path):
    run(data, tmp_path / "other", recipe=RECIPE.changed(weight_decay=0.1))
    for path in (tmp_path / "other").glob("checkpoint*"):
        (cut / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="not what the run began with"):
        resume(data, cut)


def test_moved_data_and_another_machine_do_not_matter(data, whole, cut):
    def change(config):
        config["dataset"]["data_dir"] = "elsewhere"
        config["environment"].update(numpy="1.0", threads=99)

    change_config(cut, change)
    watch = Watch()
    resume(data, cut, progress=watch)
    told = [text for text in watch.said if "its bits may differ" in text]
    assert told == [
        f"numpy {np.__version__} instead of 1.0: the run goes on, but its bits may "
        "differ from those of a run that was never stopped"
    ]
    assert_same_run(whole, cut)


def test_backend_and_algorithm_are_those_of_the_beginning(data, tmp_path):
    with nr.using_backend("reference"):
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        run(data, whole)
        with pytest.raises(TrainingInterrupted):
            run(data, cut, progress=stopping(2))
    seen = set()

    def act(epoch, batch):
        seen.add((nr.get_backend(), nr.get_algorithm()))

    watch = Watch(act)
    with nr.using_backend("numba"), nr.using_algorithm("auto"):
        resume(data, cut, progress=watch)
        assert (nr.get_backend(), nr.get_algorithm()) == ("numba", "auto")
    assert seen == {("reference", "direct")}
    assert (
        "computing as the run began: backend reference, algorithm direct" in watch.said
    )
    assert_same_run(whole, cut)
