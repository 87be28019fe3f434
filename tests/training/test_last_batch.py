"""One image left over at an epoch's end: a batch that batch norm may not take."""

import json
from dataclasses import replace

import numpy as np
import pytest

import npresnet as nr
from npresnet.data import batches
from npresnet.training import RunFolder, TrainingInterrupted, configuration
from npresnet.training import checkpoint as checkpoints
from tests.training.small import (
    RECIPE,
    Watch,
    assert_same_run,
    resume,
    run,
    stopping,
)


@pytest.fixture(scope="module")
def data():
    """13 images to learn from: in batches of 4, one is left over.

    They are so small that the last feature map is 1x1, as ResNet-18's is for 8x8: one
    image is no batch to the network.
    """
    train, test = nr.data.digits()
    return cut_out(train.subset(range(13))), cut_out(test.subset(range(10)))


def cut_out(dataset):
    return replace(dataset, images=dataset.images[:, :, 2:6, 2:6].copy())


@pytest.fixture(scope="module")
def wide_data():
    """The same number of images, larger: a network takes one of these alone."""
    train, test = nr.data.digits()
    return train.subset(range(13)), test.subset(range(10))


def sizes(folder, data):
    """Return how many images each batch of the first epoch had."""
    recipe = RunFolder(folder).read_config()["recipe"]
    kinds = {"join": {"join_single": True}, "drop": {"drop_last": True}, "keep": {}}
    chosen = kinds[recipe["last_batch"]]
    return [len(y) for _, y in batches(data[0], 4, shuffle=False, **chosen)]


def test_one_image_left_over_joins_the_batch_before_and_the_run_says_so(data, tmp_path):
    watch = Watch()
    result = run(data, tmp_path / "run", batch_size=4, epochs=1, progress=watch)
    assert len(result.history) == 1
    assert np.isfinite(result.history[0]["train_loss"])
    assert any("1 image left over" in text for text in watch.said)
    assert sizes(tmp_path / "run", data) == [4, 4, 5]


def test_a_last_batch_may_be_left_out(data, tmp_path):
    steps = []
    recipe = RECIPE.changed(epochs=2, batch_size=4, last_batch="drop")
    result = run(data, tmp_path / "run", recipe=recipe, step_callbacks=[steps.append])
    assert steps == [1, 2, 3, 4, 5, 6]
    # The shares are of the twelve images that were learnt from.
    for row in result.history:
        correct = row["train_accuracy"] * 12
        assert correct == pytest.approx(round(correct))


def test_all_images_count_where_the_last_one_joined(data, tmp_path):
    result = run(data, tmp_path / "run", batch_size=4, epochs=2)
    for row in result.history:
        correct = row["train_accuracy"] * 13
        assert correct == pytest.approx(round(correct))


def test_a_batch_of_one_image_can_be_asked_for(data, wide_data, tmp_path):
    steps = []
    recipe = RECIPE.changed(epochs=1, batch_size=4, last_batch="keep")
    with pytest.raises(ValueError, match="more than one value per channel"):
        run(data, tmp_path / "run", recipe=recipe)
    run(wide_data, tmp_path / "kept", recipe=recipe, step_callbacks=[steps.append])
    assert steps == [1, 2, 3, 4]


@pytest.mark.parametrize("last_batch", ["join", "drop"])
def test_an_interrupted_epoch_with_such_a_batch_ends_with_the_same_bits(
    last_batch, data, tmp_path
):
    recipe = RECIPE.changed(epochs=2, batch_size=4, last_batch=last_batch)
    run(data, tmp_path / "whole", recipe=recipe)
    with pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", recipe=recipe, progress=Stopping(2))
    resume(data, tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


class Stopping(Watch):
    """Interrupts a run after so many batches of its second epoch."""

    def __init__(self, batch):
        super().__init__()
        self.stop = stopping(2, batch)

    def begin_epoch(self, epoch, epochs, steps):
        self.stop.epoch, self.stop.batches = epoch, 0

    def batch(self, loss, accuracy, images, lr):
        self.stop.batch(loss, accuracy, images, lr)


def test_other_runs_have_the_bits_that_they_always_had(data, tmp_path):
    """13 images in batches of 5: three are left over, whatever the setting."""
    for name in ("join", "keep"):
        recipe = RECIPE.changed(epochs=2, batch_size=5, last_batch=name)
        watch = Watch()
        run(data, tmp_path / name, recipe=recipe, progress=watch)
        assert not any("left over" in text for text in watch.said)
    ours = nr.weights.load(RunFolder(tmp_path / "join").weights_path)
    theirs = nr.weights.load(RunFolder(tmp_path / "keep").weights_path)
    for name in ours:
        assert ours[name].tobytes() == theirs[name].tobytes()


def test_a_run_from_before_the_setting_goes_on_as_it_began(wide_data, tmp_path):
    data = wide_data
    recipe = RECIPE.changed(epochs=2, batch_size=4, last_batch="keep")
    run(data, tmp_path / "whole", recipe=recipe)
    with pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", recipe=recipe, progress=Stopping(1))
    forget_setting(tmp_path / "cut")
    resume(data, tmp_path / "cut")
    forget_setting(tmp_path / "whole")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def forget_setting(folder):
    """Make a run one of an older version: its config says nothing of last batches."""
    folder = RunFolder(folder)
    config = json.loads(folder.config_path.read_text())
    del config["recipe"]["last_batch"]
    folder.config_path.write_text(json.dumps(config))
    state = checkpoints.load(folder.checkpoint_path)
    state = replace(state, run=configuration.identity(config))
    checkpoints.save(folder.checkpoint_path, state)


def test_leaving_out_the_only_batch_is_refused(data, tmp_path):
    recipe = RECIPE.changed(batch_size=14, last_batch="drop")
    with pytest.raises(ValueError, match=r"last_batch: .*13 .*14"):
        run(data, tmp_path / "run", recipe=recipe)
    assert not (tmp_path / "run").exists()


def test_a_single_image_in_all_has_no_batch_to_join(data):
    train = data[0].subset([3])
    assert RECIPE.changed(batch_size=4).steps_per_epoch(1) == 1
    (only,) = batches(train, 4, shuffle=False, join_single=True)
    assert len(only[1]) == 1
