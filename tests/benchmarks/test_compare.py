"""The command that measures everything: what it takes, prints and writes."""

import importlib.util
import json
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import pytest

from benchmarks import compare, document, startup, steady
from benchmarks.asking import ROOT, MeasurementError
from benchmarks.measurement import Measurement, plain
from benchmarks.rows import Row, macs_row, memory_row, time_row
from benchmarks.worker import replying, working
from benchmarks.works import SIDES, Work

TINY = Work("resnet8", 2, 8, trains=True)
QUICK = ["--rounds", "2", "--seconds", "0", "--threads", "1"]


def made_up(name, outcome, **options):
    """Make a row whose measurement is known, or goes wrong."""

    def measure(effort, tell):
        if isinstance(outcome, BaseException):
            raise outcome
        return plain([outcome] * effort.rounds)

    return Row(name, f"row {name}", measure, 1.0, **options)


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Replace the table's rows, and work in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def replace(*rows):
        monkeypatch.setattr(compare, "ROWS", list(rows))

    return replace


@pytest.fixture
def two_processes(monkeypatch):
    """Let PyTorch's first side answer from here: to start it takes seconds."""

    def on_a_side(side, work, threads):
        if side == "torch":
            return nullcontext(replying(side, work, threads))
        return working(side, work, threads)

    monkeypatch.setattr(steady, "working", on_a_side)


def test_a_small_work_is_measured_on_all_sides(
    torch, two_processes, rows, tmp_path, capsys
):
    rows(time_row("time", TINY, goal=0.5))
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    result = json.loads(where.read_text())
    assert result["rounds"] == 2
    assert result["packages"]["torch"]
    (row,) = result["rows"]
    assert list(row["parts"]) == list(SIDES)
    ours, *torchs = row["parts"].values()
    assert len(ours) == 2
    assert min(ours) > 0
    ratios = [a / min(b, c) for a, b, c in zip(ours, *torchs, strict=True)]
    assert row["figures"] == pytest.approx(ratios)
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].startswith("| ResNet-8, 8x8, batch 2, training step | ")


def test_memory_is_the_peak_less_what_was_held_before(rows, monkeypatch, tmp_path):
    peaks = {"npresnet": 300e6, "torch": 500e6, "torch-channels-last": 400e6}
    asked = []

    @contextmanager
    def held(side, work, threads):
        asked.append(side)
        yield lambda question: {"before": 100e6, "peak": peaks[side]}

    monkeypatch.setattr(steady, "working", held)
    monkeypatch.setattr(steady.memory, "measurable", lambda: True)
    rows(memory_row("memory", TINY))
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    (row,) = json.loads(where.read_text())["rows"]
    assert asked == [*SIDES, *SIDES]  # a new process for every run
    assert row["figures"] == pytest.approx([2 / 3, 2 / 3])
    assert row["unit"] == "bytes"


def test_our_own_rows_need_no_torch(rows, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    larger = Work("resnet8", 4, 8, trains=True)
    alone = Row("import", "import", startup.import_time, 1.0, 0.3)
    rows(macs_row("macs", "twice", [TINY, larger]), alone)
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 0
    macs, seconds = json.loads(where.read_text())["rows"]
    assert list(macs["parts"]) == [TINY.label, larger.label]
    assert min(macs["figures"]) >= 1
    assert 0 < seconds["figure"] < 60
    assert "time per multiply-add: twice" in capsys.readouterr().out


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
    assert "[1/1] row a:" in told
    assert json.loads(written.read_text())["rows"][0]["figure"] == 0.5


def test_what_cannot_be_measured_does_not_lose_the_rest(rows, tmp_path, capsys):
    rows(
        made_up("a", 0.5), made_up("b", MeasurementError("no luck")), made_up("c", 0.7)
    )
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 1
    captured = capsys.readouterr()
    assert "row b: no luck" in captured.err
    assert [r["name"] for r in json.loads(where.read_text())["rows"]] == ["a", "c"]
    assert "row c" in captured.out


def test_what_was_measured_before_ctrl_c_is_kept(rows, tmp_path, capsys):
    rows(made_up("a", 0.5), made_up("b", KeyboardInterrupt()), made_up("c", 0.7))
    where = tmp_path / "results.json"
    assert compare.main([*QUICK, "--json", str(where)]) == 130
    assert [r["name"] for r in json.loads(where.read_text())["rows"]] == ["a"]
    assert "row a" in capsys.readouterr().out


def test_a_page_gets_the_table_and_keeps_everything_else(rows, tmp_path):
    rows(made_up("a", 0.5))
    mark = compare.COMMAND
    page = tmp_path / "page.md"
    page.write_text(
        f"# Above\n<!-- written by {mark} -->\nold\n<!-- end of {mark} -->\n"
    )
    assert compare.main([*QUICK, "--write", str(page)]) == 0
    assert "old" not in page.read_text()
    assert page.read_text().startswith(f"# Above\n<!-- written by {mark} -->\n")
    assert page.read_text().endswith(f"<!-- end of {mark} -->\n")
    assert "| row a |" in document.written(page, mark)


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


def test_without_torch_rows_that_need_it_are_refused(rows, monkeypatch, capsys):
    rows(made_up("a", 0.5), made_up("b", 0.5, needs_torch=True))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        compare.main(QUICK)
    assert stopped.value.code == 2
    assert "PyTorch is not installed" in capsys.readouterr().err
    assert compare.main(["a", *QUICK]) == 0


def test_more_threads_than_processors_are_cut_down_and_said_so(rows, capsys):
    seen = []

    def measure(effort, tell):
        seen.append(effort.threads)
        return Measurement([1.0])

    rows(Row("a", "row a", measure, 1.0))
    assert compare.main(["--threads", "100000"]) == 0
    assert seen == [compare.available_threads()]
    assert f"only {seen[0]} threads" in capsys.readouterr().err


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
