"""The command that measures everything: what it takes, prints and writes."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial

import pytest

from benchmarks import compare, document, pages
from benchmarks.asking import ROOT, MeasurementError
from benchmarks.measurement import Taken, against, first_over_second, plain
from benchmarks.rows import Row, eager_row, layered_row
from benchmarks.startup import Import
from benchmarks.steady import Shares, Times
from benchmarks.works import Work

TINY = Work("resnet8", 2, 8, trains=True)
QUICK = ["--rounds", "2", "--seconds", "0", "--threads", "1"]


@dataclass(frozen=True)
class MadeUp:
    """A measurement whose outcome is known, or that goes wrong."""

    label: str
    outcome: object
    missing: dict = field(default_factory=dict, hash=False)
    asked: list = field(default_factory=list, hash=False, compare=False)

    def measure(self, sides, effort, tell):
        self.asked.append((list(sides), effort.threads))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        there = [side for side in sides or ["npresnet"] if side not in self.missing]
        parts = {side: [self.outcome] * effort.rounds for side in there}
        return Taken(parts, "s", self.missing)


def made_up(name, outcome, **options):
    """Make a row of it."""
    return Row(
        name, f"row {name}", MadeUp(f"source {name}", outcome), plain, 1.0, **options
    )


def rival_row(name, source, *rivals):
    """Make a row that holds ours against others."""
    judge = partial(against, rivals)
    return Row(name, f"row {name}", source, judge, 1.0, sides=("npresnet", *rivals))


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Replace the table's rows, and work in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def replace(*rows):
        monkeypatch.setattr(compare, "ROWS", list(rows))

    return replace


def test_a_small_work_is_measured_on_all_sides(rows, tmp_path, capsys):
    pytest.importorskip("torch")
    source = Times(TINY)
    rows(eager_row("time", source, 0.6, 0.5), layered_row("layered", TINY))
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    result = json.loads(where.read_text())
    assert result["rounds"] == 2
    assert result["packages"]["torch"]
    eager, layered = result["rows"]
    assert list(eager["parts"]) == ["npresnet", "torch", "torch-channels-last"]
    assert list(layered["parts"]) == ["npresnet", "npresnet-layered"]
    # Once for both.
    assert eager["parts"]["npresnet"] == layered["parts"]["npresnet"]
    ours, *torchs = eager["parts"].values()
    assert len(ours) == 2
    assert min(ours) > 0
    ratios = [a / min(b, c) for a, b, c in zip(ours, *torchs, strict=True)]
    assert eager["figures"] == pytest.approx(ratios)
    printed = capsys.readouterr().out.splitlines()
    label = "| ResNet-8, 8x8, batch 2, training step / "
    assert printed[2].startswith(f"{label}PyTorch | ")
    assert printed[3].startswith(f"{label}layer by layer | ")


def test_works_of_ours_are_compared_with_each_other(rows, tmp_path, capsys):
    larger = Work("resnet8", 4, 8, trains=True)
    shares = Shares((TINY, larger), "s/image")
    rows(
        Row("batch", "small over large", shares, first_over_second, 1.0),
        Row("import", "import", Import(), plain, 1.0, 0.3),
    )
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    batch, seconds = json.loads(where.read_text())["rows"]
    assert list(batch["parts"]) == [TINY.label, larger.label]
    assert min(batch["figures"]) > 0
    assert batch["unit"] == "s/image"
    assert 0 < seconds["figure"] < 60
    assert "small over large" in capsys.readouterr().out


def test_rows_that_share_a_source_ask_it_once_for_all_their_sides(rows, capsys):
    source = MadeUp("work", 0.5)
    rows(
        rival_row("a", source, "torch-compile"),
        made_up("b", 0.6),
        rival_row("c", source, "npresnet-layered"),
    )
    assert compare.main(QUICK) == 0
    assert source.asked == [(["npresnet", "npresnet-layered", "torch-compile"], 1)]
    lines = capsys.readouterr().out.splitlines()[2:5]
    assert [line.split("|")[1].strip() for line in lines] == ["row a", "row b", "row c"]


def test_sides_that_cannot_run_do_not_fail_the_table(rows, tmp_path, capsys):
    source = MadeUp("work", 0.5, {"openvino": "OpenVINO is not installed: pip"})
    rows(
        rival_row("a", source, "openvino"),
        rival_row("b", source, "openvino", "onnxruntime"),
    )
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    captured = capsys.readouterr()
    assert "a: not measured (OpenVINO is not installed: pip)" in captured.err
    first, second = captured.out.splitlines()[2:4]
    assert first.startswith("| row a |  | OpenVINO is not installed: pip |")
    assert first.endswith("| not measured |")
    assert "| ONNX Runtime 500 ms; OpenVINO is not installed: pip |" in second
    nothing, something = json.loads(where.read_text())["rows"]
    assert nothing["why_not"] == "OpenVINO is not installed: pip"
    assert something["missing"] == source.missing
    assert something["figure"] == 1.0


def test_optional_rows_are_measured_where_they_are_asked_for(rows, capsys):
    rows(made_up("a", 0.5), made_up("b", 0.6, optional=True))
    for arguments, names in (
        ([], ["row a"]),
        (["--engines"], ["row a", "row b"]),
        (["b"], ["row b"]),
    ):
        assert compare.main([*arguments, *QUICK]) == 0
        lines = capsys.readouterr().out.splitlines()
        found = [cell for cell in (line.split("|")[1:2] for line in lines) if cell]
        assert [cell[0].strip() for cell in found[2:]] == names


def test_rows_are_chosen_by_name_and_measured_in_that_order(rows, capsys):
    rows(made_up("a", 0.5), made_up("b", 0.6), made_up("c", 0.7))
    assert compare.main(["c", "a", "c", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()[2:4]
    assert [line.split("|")[1].strip() for line in lines] == ["row c", "row a"]


def test_progress_and_place_of_the_results_are_told(rows, tmp_path, capsys):
    rows(made_up("a", 0.5))
    assert compare.main(QUICK) == 0
    told = capsys.readouterr().err
    (written,) = (tmp_path / "runs").iterdir()
    assert f"results go to runs/{written.name}" in told
    assert "[1/1] source a:\n" in told
    assert "    a: 500 ms (500 ms to 500 ms), met" in told
    assert json.loads(written.read_text())["rows"][0]["figure"] == 0.5


def test_what_cannot_be_measured_does_not_lose_the_rest(rows, tmp_path, capsys):
    rows(
        made_up("a", 0.5), made_up("b", MeasurementError("no luck")), made_up("c", 0.7)
    )
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 1
    captured = capsys.readouterr()
    assert "source b: no luck" in captured.err
    assert [r["name"] for r in json.loads(where.read_text())["rows"]] == ["a", "c"]
    assert "row c" in captured.out


def test_what_was_measured_before_ctrl_c_is_kept(rows, tmp_path, capsys):
    rows(made_up("a", 0.5), made_up("b", KeyboardInterrupt()), made_up("c", 0.7))
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 130
    assert [r["name"] for r in json.loads(where.read_text())["rows"]] == ["a"]
    assert "row a" in capsys.readouterr().out


def test_a_page_gets_the_table(rows, monkeypatch, tmp_path):
    rows(made_up("a", 0.5))
    monkeypatch.setattr(pages, "ROWS", compare.ROWS)
    mark = pages.HOSTS
    page = tmp_path / "page.md"
    page.write_text(
        f"# Above\n<!-- written by {mark} -->\n<!-- end of {mark} -->\nbelow\n"
    )
    assert compare.main([*QUICK, "--write", str(page)]) == 0
    assert page.read_text().startswith(f"# Above\n<!-- written by {mark} -->\n")
    assert page.read_text().endswith(f"<!-- end of {mark} -->\nbelow\n")
    assert "| row a |" in document.written(page, mark)


def test_a_page_stays_as_it_is_where_something_went_wrong(rows, monkeypatch, tmp_path):
    rows(made_up("a", 0.5), made_up("b", MeasurementError("no luck")))
    monkeypatch.setattr(pages, "ROWS", compare.ROWS)
    page = tmp_path / "page.md"
    page.write_text(
        f"<!-- written by {pages.HOSTS} -->\nold\n<!-- end of {pages.HOSTS} -->\n"
    )
    before = page.read_text()
    assert compare.main([*QUICK, "--write", str(page)]) == 1
    assert page.read_text() == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "no row 'nope'; there are a"),
        (["--rounds", "0"], "--rounds: expected a whole number of at least 1, got '0'"),
        (["--threads", "two"], "--threads: expected a whole number"),
        (["--seconds", "-1"], "--seconds: expected"),
        (["--seconds", "inf"], "--seconds: expected seconds, 0 or more, got 'inf'"),
        (["--json", "no/where.json"], "no folder 'no'"),
        (["--json", "."], "is a folder"),
        (["--write", "missing.md"], "--write: [Errno 2]"),
        (["--write", "empty.md"], "--write: empty.md: no lines <!-- written by"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(
    arguments, complaint, rows, tmp_path, capsys
):
    rows(made_up("a", AssertionError("nothing may be measured")))
    (tmp_path / "empty.md").write_text("")
    with pytest.raises(SystemExit) as stopped:
        compare.main(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare: ")
    assert complaint in line


def test_more_threads_than_processors_are_cut_down_and_said_so(rows, capsys):
    row = made_up("a", 0.5)
    rows(row)
    assert compare.main(["--threads", "100000"]) == 0
    assert row.source.asked == [([], compare.available_threads())]
    assert f"only {compare.available_threads()} threads" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [[str(ROOT / "benchmarks" / "compare.py")], ["-m", "benchmarks.compare"]]
)
def test_it_runs_as_a_file_and_as_a_module(command, tmp_path):
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=ROOT if command[0] == "-m" else tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "resnet20-training" in done.stdout
