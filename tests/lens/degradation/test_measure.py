"""Depths are trained as `fit` trains them, once each, and go on where they were."""

import json

import pytest

import npresnet as nr
from npresnet.lens.degradation.measure import degradation
from npresnet.training import TrainingInterrupted, fit, recipes
from npresnet.training.metrics import read_metrics

SMALL = {"recipe": "digits-quick", "epochs": 2}


@pytest.fixture(autouse=True)
def _algorithm_of_a_user(_strict_arithmetic_exact_convolutions):
    with nr.using_algorithm("auto"):
        yield


@pytest.fixture(scope="module")
def sets():
    train, test = nr.data.digits(channels=1)
    return train.subset(range(96)), test.subset(range(40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sets):
    """Runs of two depths, stopped once on the way."""
    out = tmp_path_factory.mktemp("degradation") / "runs"

    def stop(done, total):
        if done == 8 * 4 + 14 * 3:  # within the second network's second epoch
            raise KeyboardInterrupt

    with nr.using_algorithm("auto"):
        with pytest.raises(TrainingInterrupted, match=r"plain14, seed 1.*goes on"):
            degradation(
                *sets, depths=[14, 8], seeds=[1], out=out, progress=stop, **SMALL
            )
        degradation(*sets, depths=[8, 14], seeds=[1], out=out, **SMALL)
    return out


def again(sets, folder, **options):
    options = {"depths": (8, 14), "seeds": (1,), **SMALL, **options}
    return degradation(*sets, out=folder, **options)


def test_every_run_is_what_fit_makes_of_it(folder, sets, tmp_path):
    result = again(sets, folder)
    assert [row.network for row in result.rows] == [
        "plain8",
        "plain14",
        "resnet8",
        "resnet14",
    ]
    recipe = recipes.get("digits-quick").changed(epochs=2)
    for row, curve in zip(result.rows, result.curves, strict=True):
        model = nr.models.create(row.network, seed=1, in_channels=1)
        out = tmp_path / row.network
        fit(model, *sets, recipe=recipe, seed=1, out=out, quiet=True)
        history = read_metrics(out / "metrics.csv")
        assert curve.train_loss == tuple(epoch["train_loss"] for epoch in history)
        last = history[-1]
        assert row.train_loss == last["train_loss"]
        assert row.test_loss == last["test_loss"]
        assert row.train_error == 1 - last["train_accuracy"] == curve.train_error[-1]
        assert row.test_error == 1 - last["test_accuracy"] == curve.test_error[-1]
    assert result.mean("plain", "train_loss") == [
        row.train_loss for row in result.rows[:2]
    ]


def test_what_is_finished_is_not_done_again(folder, sets, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("trained once more")

    before = again(sets, folder)
    monkeypatch.setattr("npresnet.training.fit", refuse)
    told = []
    result = again(sets, folder, progress=lambda *now: told.append(now))
    assert result.to_dict() == before.to_dict()
    total = 2 * 4 * (8 + 14)
    assert told == [(32, total), (88, total), (120, total), (176, total)]
    with pytest.raises(AssertionError, match="once more"):
        again(sets, folder, depths=(8, 20))


def test_a_folder_from_before_a_setting_existed_is_gone_on_with(folder, sets):
    path = folder / "settings.json"
    whole = path.read_text()
    settings = json.loads(whole)
    del settings["recipe"]["last_batch"]
    path.write_text(json.dumps(settings))
    again(sets, folder)
    path.write_text(whole)


def test_other_settings_and_other_folders_are_refused(folder, sets, tmp_path):
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(ValueError, match="epochs 2, not 3; name another folder"):
        again(sets, folder, epochs=3)
    with pytest.raises(ValueError, match="train_sha256"):
        again((sets[1], sets[1]), folder)
    assert sorted(path.name for path in folder.rglob("*")) == before
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="expected a new folder"):
        again(sets, tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match="not readable as settings"):
        again(sets, tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"depths": [9]}, "depths: expected 6n"),
        ({"depths": [2]}, "depths: expected 8 or more"),
        ({"depths": []}, "at least one"),
        ({"seeds": [-1]}, "seeds: expected 0 or more"),
        ({"recipe": "no such"}, "recipe"),
    ],
)
def test_what_cannot_be_trained_is_named_before_anything_is(
    sets, tmp_path, options, text
):
    with pytest.raises(ValueError, match=text):
        again(sets, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_it_prints_and_draws_losses_by_depth(folder, sets, tmp_path):
    result = again(sets, folder)
    text = repr(result)
    assert "digits, 96 training images, 2 epochs of digits-quick; seed 1" in text
    assert "plain: training loss by depth 8: " in text
    loss, error, plain, residual = result.plot().axes
    means = loss.lines[0]
    assert list(means.get_xdata()) == [8, 14]
    assert list(means.get_ydata()) == result.mean("plain", "train_loss")
    assert list(error.lines[0].get_ydata()) == pytest.approx(
        [100 * value for value in result.mean("plain", "test_error")]
    )
    for axes, curves in ((plain, result.curves[:2]), (residual, result.curves[2:])):
        assert [tuple(line.get_ydata()) for line in axes.lines] == [
            curve.train_loss for curve in curves
        ]
    result.save(tmp_path / "degradation.json")
    data = json.loads((tmp_path / "degradation.json").read_text())
    assert data["rows"][3]["depth"] == 14
