"""Readings while a model trains, which the training does not notice."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

import npresnet as nr
from npresnet.training import recipes
from npresnet.training.checkpoint import load as load_checkpoint
from tests.lens.state import left_as_it_was

RECIPE = replace(
    recipes.get("digits-quick"), name="short", epochs=2, batch_size=32, flip=False
)


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


@pytest.fixture(scope="module")
def data():
    train, test = nr.data.digits()
    return train.subset(range(128)), test.subset(range(20))


@pytest.fixture(scope="module")
def batch(data):
    return next(nr.data.batches(data[0], 8, shuffle=False))


def train(model, data, out, **options):
    nr.training.fit(model, *data, recipe=RECIPE, out=out, quiet=True, **options)
    return load_checkpoint(out / "checkpoint.safetensors")


def test_readings_come_every_so_many_steps_and_training_does_not_notice(
    data, batch, tmp_path
):
    model = nr.models.resnet8()
    log = nr.lens.Log(nr.lens.ledger, model, *batch, every=3)
    log.read(0)
    watched = train(model, data, tmp_path / "watched", step_callbacks=[log])
    assert log.moments == [0, 3, 6]  # of 2 epochs of 4 steps
    assert log.unit == "step"
    losses = [reading.loss for reading in log.readings]
    assert losses[-1] < losses[0]

    alone = train(nr.models.resnet8(), data, tmp_path / "alone")
    for name, value in alone.model.items():
        np.testing.assert_array_equal(watched.model[name], value, err_msg=name)


def test_readings_can_come_after_epochs(data, batch, tmp_path):
    model = nr.models.resnet8()
    log = nr.lens.Log(nr.lens.spectrum, model, *batch)
    train(model, data, tmp_path / "run", callbacks=[log])
    assert (log.unit, log.moments) == ("epoch", [1, 2])
    # In training mode, on the weights at the epoch's end.
    state = nr.weights.load(tmp_path / "run" / "weights.safetensors")
    model = nr.models.resnet8()
    model.load_state_dict(state)
    assert nr.lens.spectrum(model, *batch).loss == log.readings[-1].loss


def test_checkpoints_are_read_and_the_model_put_back(batch, tmp_path):
    models = [nr.models.resnet8(seed=seed) for seed in (1, 2)]
    nr.weights.save(tmp_path / "one.safetensors", models[0])
    model = nr.models.resnet8()
    log = nr.lens.Log(nr.lens.spectrum, model, *batch)
    with left_as_it_was(model):
        log.read_checkpoints(
            {1: tmp_path / "one.safetensors", 5: models[1].state_dict()}
        )
    assert (log.unit, log.moments) == ("epoch", [1, 5])
    for reading, other in zip(log.readings, models, strict=True):
        assert reading.loss == nr.lens.spectrum(other, *batch).loss


@pytest.fixture
def log(batch, request):
    instrument, builder = request.param
    model = builder()
    log = nr.lens.Log(instrument, model, *batch)
    for step in (0, 10, 40):
        log.read(step)
        for parameter in model.parameters():
            parameter.data = parameter.data * np.float32(0.9)
    return log


LEDGER = (nr.lens.ledger, nr.models.resnet8), nr.lens.LedgerHistory
PLAIN = (nr.lens.ledger, nr.models.plain8), nr.lens.LedgerHistory
SPECTRUM = (nr.lens.spectrum, nr.models.resnet8), nr.lens.SpectrumHistory


@pytest.mark.parametrize(("log", "kind"), [LEDGER, PLAIN, SPECTRUM], indirect=["log"])
def test_a_history_prints_a_line_per_moment_and_saves_every_row(log, kind, tmp_path):
    history = kind.of(log)
    lines = repr(history).splitlines()
    assert [line.split()[0] for line in lines] == ["step", "0", "10", "40"]
    history.save(tmp_path / "history.csv")
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    per_moment = len(log.readings[0].rows)
    assert [int(row["step"]) for row in rows] == sorted([0, 10, 40] * per_moment)
    history.save(tmp_path / "history.json")
    data = json.loads((tmp_path / "history.json").read_text())
    assert data["readings"][2] == log.readings[2].to_dict()


@pytest.mark.parametrize(
    ("log", "kind", "field", "scale"),
    [
        (*LEDGER, "grad_output_norm", 1),
        (*PLAIN, "grad_output_norm", 1),
        (*SPECTRUM, "share", 100),
    ],
    indirect=["log"],
)
def test_a_history_is_drawn_with_the_numbers_that_were_read(log, kind, field, scale):
    figure = kind.of(log).plot()
    axes = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(axes) == {LEDGER[1]: 3, SPECTRUM[1]: 2}[kind] - (
        "plain" in log.readings[0].network.lower()
    )
    (mesh,) = axes[0].collections
    drawn = np.asarray(mesh.get_array())
    rows = [[getattr(row, field) for row in one.rows] for one in log.readings]
    expected = scale * np.array(rows).T
    if kind is nr.lens.LedgerHistory:
        expected = expected[::-1]  # the last block is on top
        names = [label.get_text() for label in axes[0].get_yticklabels()]
        assert names == ["layer3.0", "layer2.0", "layer1.0"]
    np.testing.assert_allclose(drawn, expected)
    assert all(one.get_xlabel() == "step" for one in axes)


def test_a_log_refuses_what_makes_no_sense(batch):
    with pytest.raises(ValueError, match="every: expected 1 or more"):
        nr.lens.Log(nr.lens.ledger, nr.models.resnet8(), *batch, every=0)
    log = nr.lens.Log(nr.lens.ledger, nr.models.resnet8(), *batch)
    with pytest.raises(ValueError, match="at least one reading"):
        nr.lens.LedgerHistory.of(log)
