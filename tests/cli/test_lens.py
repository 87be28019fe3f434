"""`npresnet lens`: instruments on networks that are named, or given as files."""

import csv
import importlib
import json
import re
from dataclasses import replace

import click
import pytest

import npresnet as nr
from npresnet.training import recipes
from tests.cli.test_commands import assert_one_error_line, invoke


def last_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def digits_batch(images, seed=0):
    train, _ = nr.data.digits()
    return next(nr.data.batches(train, images, shuffle=True, seed=seed, epoch=0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of a resnet8 with shortcut B."""
    out = tmp_path_factory.mktemp("runs") / "small"
    train, test = nr.data.digits()
    recipe = replace(recipes.get("digits-quick"), epochs=1)
    nr.training.fit(
        nr.models.resnet8(shortcut="B"),
        train.subset(range(64)),
        test.subset(range(10)),
        recipe=recipe,
        out=out,
        quiet=True,
        record={"model": {"name": "resnet8", "shortcut": "B"}},
    )
    return out


def test_a_fresh_ledger_is_written_printed_and_drawn_once(tmp_path):
    out = tmp_path / "new" / "looks"
    args = ("lens", "ledger", "resnet8", "plain8", "--images", 6, "--out", out)
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [
        "ledger-plain8.csv",
        "ledger-plain8.json",
        "ledger-resnet8-plain8.png",
        "ledger-resnet8.csv",
        "ledger-resnet8.json",
    ]
    assert result.stdout.count("layer2.0") == 2
    assert result.stderr.count("wrote ") == 5
    expected = nr.lens.ledger(nr.models.resnet8(), *digits_batch(6))
    data = json.loads((out / "ledger-resnet8.json").read_text())
    assert data["rows"][0]["name"] == "layer1.0"
    assert data["loss"] == pytest.approx(expected.loss, rel=1e-5)
    for row, other in zip(data["rows"], expected.rows, strict=True):
        assert row["grad_input_norm"] == pytest.approx(other.grad_input_norm, rel=1e-4)
    with open(out / "ledger-plain8.csv", newline="") as file:
        assert [row["grad_shortcut_norm"] for row in csv.DictReader(file)] == [""] * 3

    before = {path: path.read_bytes() for path in out.iterdir()}
    (out / "ledger-resnet8-plain8.png").unlink()
    other = invoke(*args, "--seed", 1)
    assert_one_error_line(other, "ledger-plain8.csv", "already", "--force")
    assert set(out.iterdir()) < set(before)  # nothing was written
    assert all(path.read_bytes() == before[path] for path in out.iterdir())
    again = invoke(*args)
    assert again.exit_code == 0
    assert again.stderr.count("the same already") == 4
    assert again.stderr.count("wrote ") == 1
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_folder_and_its_file_of_weights_are_the_same(run, tmp_path):
    options = ("--images", 5, "--mode", "eval", "--json")
    folder = last_json(invoke("lens", "ledger", run, *options))
    file = last_json(invoke("lens", "ledger", run / "weights.safetensors", *options))
    assert folder == file
    assert folder["model"] == "resnet8"
    assert folder["dataset"] == "digits"
    assert folder["training"] is False

    model = nr.models.resnet8(shortcut="B")
    model.load_state_dict(nr.weights.load(run / "weights.safetensors"))
    # Images are normalised as those were that the network was trained on.
    config = json.loads((run / "config.json").read_text())["dataset"]
    train, _ = nr.data.digits()
    x, y = next(
        nr.data.batches(
            train,
            5,
            shuffle=True,
            seed=0,
            epoch=0,
            mean=config["mean"],
            std=config["std"],
        )
    )
    expected = nr.lens.ledger(model.eval(), x, y)
    assert folder["loss"] == pytest.approx(expected.loss, rel=1e-5)

    invoke("lens", "ledger", run, run, "--images", 5, "--out", tmp_path)
    assert (tmp_path / "ledger-small-2.csv").exists()
    assert (tmp_path / "ledger-small-small-2.png").exists()


def test_several_networks_are_several_results_in_json():
    answer = last_json(
        invoke("lens", "ledger", "resnet8", "plain8", "--images", 4, "--json")
    )
    assert [one["model"] for one in answer["results"]] == ["resnet8", "plain8"]


def test_the_seed_decides_weights_and_images():
    def loss(*options):
        args = ("lens", "spectrum", "resnet8", "--images", 4, "--json", *options)
        return last_json(invoke(*args))["loss"]

    assert loss() == loss("--seed", 0) != loss("--seed", 1)


def test_a_spectrum_is_written_and_printed(run, tmp_path):
    result = invoke("lens", "spectrum", run, "--images", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "where the average path crosses 1.50" in result.stdout
    data = json.loads((tmp_path / "spectrum-small.json").read_text())
    assert [row["paths"] for row in data["rows"]] == [1, 3, 3, 1]
    assert data["total_error"] < 1e-4
    picture = (tmp_path / "spectrum-small.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_spectra_before_and_after_training_are_one_picture(run, tmp_path):
    result = invoke(
        *("lens", "spectrum", "resnet8", run, "--images", 4, "--out", tmp_path)
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "spectrum-resnet8-small.png").exists()
    assert (tmp_path / "spectrum-small.csv").exists()


def test_cost_agrees_with_summary_and_measures_times(tmp_path):
    args = ("lens", "cost", "resnet8", "--input", "1,16,16", "--repeats", 2)
    answer = last_json(invoke(*args, "--json", "--out", tmp_path))
    summary = last_json(invoke("summary", "resnet8", "--input", "1,16,16", "--json"))
    for total in ("parameters", "macs"):
        assert answer[total] == summary[total]
    assert answer["input_shape"] == [1, 16, 16]
    assert answer["parameter_bytes"] == 4 * answer["parameters"]
    assert answer["seconds"] > 0
    assert all(row["seconds"] > 0 for row in answer["rows"])
    assert (tmp_path / "cost-resnet8.png").exists()
    untimed = last_json(invoke("lens", "cost", "resnet8", "--repeats", 0, "--json"))
    assert untimed["seconds"] is None


def test_cost_knows_what_weights_were_made_for(run):
    answer = last_json(invoke("lens", "cost", run, "--repeats", 0, "--json"))
    assert answer["input_shape"] == [3, 8, 8]
    assert answer["parameters"] == 78_042  # shortcut B projects


def test_what_is_wrong_is_named(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for command in ("ledger", "spectrum", "steps", "cost"):
        assert_one_error_line(invoke("lens", command, "resnet9"), "resnet9", "models")
        assert_one_error_line(
            invoke("lens", command, tmp_path / "empty"), "run folder", "missing"
        )
        assert_one_error_line(invoke("lens", command), "WEIGHTS_OR_MODEL")
    assert_one_error_line(
        invoke("lens", "ledger", "resnet8", "--images", 2000), "--images", "1437"
    )
    assert_one_error_line(
        invoke("lens", "ledger", "resnet8", "--model", "resnet14"), "--model"
    )
    assert_one_error_line(
        invoke("lens", "ledger", "plain8", "--shortcut", "B"), "--shortcut", "plain8"
    )
    assert_one_error_line(
        invoke("lens", "spectrum", run, "--dataset", "nope"), "--dataset"
    )
    (tmp_path / "file").write_text("here")
    assert_one_error_line(
        invoke("lens", "spectrum", "resnet8", "--out", tmp_path / "file"), "--out"
    )
    assert_one_error_line(invoke("lens", "telescope"), "telescope")


def test_lens_alone_explains_itself():
    text = invoke("lens").stdout
    assert text == invoke("lens", "--help").stdout
    for command in ("ledger", "spectrum", "steps", "cost"):
        assert f"\n  {command} " in text
        assert len(invoke("lens", command, "--help").stdout) > 500


# ------------------------------------------------------------------------- steps


def test_steps_are_all_printed_where_there_is_no_terminal(run, tmp_path):
    result = invoke("lens", "steps", run, "--images", 4, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    model = nr.models.resnet8(shortcut="B")
    model.load_state_dict(nr.weights.load(run / "weights.safetensors"))
    steps = nr.lens.steps(model, *digits_batch(4))
    for step in steps:
        assert f"{step.number}  {step.path}  {step.details.title}" in result.stdout
        assert step.formula in result.stdout
    assert f"{len(steps)} steps" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"steps-small.{ending}" for ending in ("csv", "html", "json", "png")
    ]
    page = (tmp_path / "steps-small.html").read_text()
    assert "layer3.0.downsample.1" in page
    assert page.endswith("</html>")
    other = invoke("lens", "steps", run, "--images", 3, "--out", tmp_path)
    assert_one_error_line(other, "steps-small.csv", "already")


def test_steps_as_json_may_be_a_part():
    args = ("lens", "steps", "resnet8", "--images", 4, "--within", "layer2")
    answer = last_json(invoke(*args, "--json"))
    assert answer["model"] == "resnet8"
    assert [row["operation"] for row in answer["rows"]][::8] == ["relu", "fork"]
    wrong = invoke("lens", "steps", "resnet8", "--images", 4, "--within", "layer9")
    assert_one_error_line(wrong, "--within", "layer9")
    assert_one_error_line(invoke("lens", "steps", "resnet9"), "resnet9", "models")
    assert_one_error_line(invoke("lens", "steps"), "WEIGHTS_OR_MODEL")


def test_on_a_terminal_keys_walk_through_the_steps(monkeypatch, capsys):
    command = importlib.import_module("npresnet.lens.steps.command")

    steps = nr.lens.steps(nr.models.resnet8(), *digits_batch(4))
    keys = iter(["\x1b[C", "n", "b", "c", "x", "j", "j", "j", "n", "\x1b[D", "q"])
    answers = iter(["layer2.0", "999", "layer9"])
    monkeypatch.setattr(click, "getchar", lambda: next(keys))
    monkeypatch.setattr(click, "prompt", lambda *_, **__: next(answers))
    command.walk(steps)
    out = capsys.readouterr().out
    shown = [
        int(line.split()[0])
        for line in out.splitlines()
        if re.match(r"\d+  [a-z]", line)
    ]
    assert shown == [1, 2, 3, 2, 14, 15, 14]
    assert "step 2, fc, linear: passed" in out
    assert "there are steps 1 to 34" in out
    assert "no step is inside a module called 'layer9'" in out
    assert out.count("n or → next") == 12  # at every prompt, and for the key x
    assert next(keys, None) is None


def test_the_walk_ends_where_the_steps_do(monkeypatch, capsys):
    command = importlib.import_module("npresnet.lens.steps.command")

    steps = nr.lens.steps(nr.models.resnet8(), *digits_batch(4))[:1]
    keys = iter(["b", "n", "\x03"])
    monkeypatch.setattr(click, "getchar", lambda: next(keys))
    command.walk(steps)
    out = capsys.readouterr().out
    assert "this is the first step" in out
    assert "this is the last step" in out
