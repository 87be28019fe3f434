"""Finished runs become a row: mean and range over seeds, no path of the machine."""

import json
import shutil
from pathlib import Path

import pytest

import npresnet as nr
from benchmarks import results
from npresnet.training import RunFolder, fit, recipes
from tests.training.small import new_model, small_data

ROOT = Path(__file__).resolve().parents[2]
PAGE = f"# Results\n\n{results._BEGIN}\n\nold\n\n{results._END}\n\nmore\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of one recipe, and one with another learning rate."""
    parent = tmp_path_factory.mktemp("runs")
    made = {}
    for name, seed, lr in (("a", 0, 0.1), ("b", 1, 0.1), ("c", 2, 0.1), ("d", 0, 0.3)):
        repeat = f"npresnet train --data-dir {parent} --seed {seed}"
        record = {
            "model": {"name": "resnet8", "shortcut": "A"},
            "dataset": {"data_dir": str(parent)},
            "environment": {"repeat": repeat},
        }
        with nr.using_backend("reference"):
            run = fit(
                new_model(seed),
                *small_data(),
                recipe=recipes.get("digits-quick").changed(epochs=2, lr=lr),
                out=parent / name,
                seed=seed,
                quiet=True,
                record=record,
            )
        made[name] = run
    return made


@pytest.fixture
def place(tmp_path):
    (tmp_path / "README.md").write_text(PAGE)
    return tmp_path


def texts(place):
    return {path: path.read_text() for path in place.rglob("*") if path.is_file()}


def hand_over(place, *runs):
    return results.main([*(str(run.folder) for run in runs), "--results", str(place)])


def test_seeds_share_a_row_with_their_mean_and_range(runs, place, capsys):
    three = [runs[name] for name in "abc"]
    assert hand_over(place, *three, runs["d"]) == 0
    shares = [100 * run.test.accuracy for run in three]
    text = (place / "README.md").read_text()
    assert capsys.readouterr().out.strip() in text
    assert text.startswith("# Results\n") and text.endswith("\n\nmore\n")
    rows = [line for line in text.splitlines() if line.startswith("| digits-quick")]
    assert len(rows) == 2
    row, other = rows
    mean, low, high = sum(shares) / 3, min(shares), max(shares)
    assert f"| {mean:.2f} % ({low:.2f} to {high:.2f}); seeds [0](" in row
    assert "| digits-quick, epochs=2 | resnet8 A |" in row
    assert "`npresnet train --data-dir DIR --seed SEED`" in row
    assert f"| {100 * runs['d'].test.accuracy:.2f} %; seeds [0](" in other
    assert "| digits-quick, epochs=2, lr=0.3 |" in other


def test_metrics_are_copied_and_paths_are_not(runs, place):
    assert hand_over(place, *runs.values()) == 0
    folder = place / "digits-quick_resnet8-A_epochs-2"
    assert {path.name for path in folder.iterdir()} == {
        "runs.json",
        "seed-0.csv",
        "seed-1.csv",
        "seed-2.csv",
    }
    for name, seed in (("a", 0), ("b", 1), ("c", 2)):
        copy = (folder / f"seed-{seed}.csv").read_bytes()
        assert copy == (runs[name].folder / "metrics.csv").read_bytes()
    facts = json.loads((folder / "runs.json").read_text())
    assert facts["runs"]["1"]["cpu"] == nr.training.machine.processor()
    for text in texts(place).values():
        assert str(runs["a"].folder.parent) not in text


def test_handing_over_again_changes_nothing_and_seeds_may_come_later(runs, place):
    assert hand_over(place, *runs.values()) == 0
    whole = texts(place)
    assert hand_over(place, runs["b"]) == 0
    assert results.main(["--results", str(place)]) == 0
    assert texts(place) == whole

    shutil.rmtree(place / "digits-quick_resnet8-A_epochs-2")
    for name in "acb":
        assert hand_over(place, runs[name]) == 0
    assert texts(place) == whole


def test_what_cannot_be_a_row_is_refused_and_changes_nothing(
    runs, place, tmp_path_factory, capsys
):
    parent = tmp_path_factory.mktemp("wrong")
    twin, unfinished = parent / "twin", parent / "unfinished"
    shutil.copytree(runs["a"].folder, twin)
    shutil.copytree(runs["b"].folder, unfinished)
    metrics = RunFolder(unfinished).metrics_path
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:2]))
    for folders, message in (
        ([runs["a"].folder, twin], f"{twin}: same recipe, network and seed as "),
        ([runs["a"].folder, unfinished], f"{unfinished}: not finished, 1 of 2 epochs"),
        ([parent], f"{parent}: holds no run"),
    ):
        assert results.main([*map(str, folders), "--results", str(place)]) == 2
        assert message in capsys.readouterr().err
        assert [path.name for path in place.iterdir()] == ["README.md"]
        assert (place / "README.md").read_text() == PAGE


def test_a_row_is_never_a_mixture_of_settings(runs, place, capsys):
    assert hand_over(place, runs["a"]) == 0
    path = place / "digits-quick_resnet8-A_epochs-2" / "runs.json"
    facts = json.loads(path.read_text())
    facts["recipe"]["momentum"] = 0.5
    path.write_text(json.dumps(facts))
    before = texts(place)
    assert hand_over(place, runs["b"]) == 2
    assert "has other settings" in capsys.readouterr().err
    assert texts(place) == before
    # Other words for the same settings are no other settings.
    facts["recipe"].update(momentum=0.9, description="better said")
    path.write_text(json.dumps(facts))
    assert hand_over(place, runs["b"]) == 0


def test_a_page_without_a_place_for_the_table_is_refused(place, capsys):
    (place / "README.md").write_text("# Results\n")
    assert results.main(["--results", str(place)]) == 2
    assert "expected the lines" in capsys.readouterr().err


def test_the_page_in_the_repository_is_what_its_files_say():
    page = (ROOT / "docs" / "results" / "README.md").read_text()
    table = results.make_table(ROOT / "docs" / "results")
    assert f"{results._BEGIN}\n\n{table}\n\n{results._END}" in page
