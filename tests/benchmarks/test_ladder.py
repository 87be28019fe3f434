"""Every rung of the ladder is the same convolution; the page quotes what runs."""

import json
from contextlib import nullcontext

import numpy as np
import pytest

import npresnet as nr
from benchmarks import document
from benchmarks.ladder import climb, page, rungs, torch_rung
from benchmarks.ladder.__main__ import main
from benchmarks.ladder.work import SHAPES, Work
from npresnet.backend import reference
from npresnet.plots.ladder import ladder as draw
from tests.docs.test_derivations import FENCE, ROOT, first_missing_run

# Odd images, just large enough for Winograd's algorithm to be chosen.
SHAPE = (2, 16, 32, 13, 15)
IN_PROCESS = [rung for rung in rungs.RUNGS if rung.run is not None]


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    before = nr.get_threads()
    yield
    nr.set_threads(before)


@pytest.fixture(scope="module")
def work():
    return Work(SHAPE)


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setattr(torch_rung, "installed", lambda: False)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rung", IN_PROCESS, ids=lambda rung: rung.name)
def test_every_rung_computes_the_convolution(rung, threads, work):
    nr.set_threads(threads)
    out = rung.run(*work.arguments(rung.channels_last))
    assert out.dtype == np.float32
    if rung.run is rungs.corner_in_python:
        assert out.shape == (1, 4, 4, 15)
    else:
        assert out.shape == work.truth.shape
    assert work.error(out) <= rung.tolerance


def test_rungs_get_images_as_they_have_to_lie(work):
    for channels_last, row_of_neighbours in ((False, 3), (True, 1)):
        x = work.arguments(channels_last)[0]
        assert x.strides[row_of_neighbours] == x.itemsize
        np.testing.assert_array_equal(x, work.x)


def test_the_last_rung_of_the_package_is_winograds(work):
    direct = rungs.register_tile(*work.arguments(True))
    other = rungs.winograd_tile(*work.arguments(True))
    assert not np.array_equal(direct, other)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("rung", IN_PROCESS, ids=lambda rung: rung.name)
def test_channels_may_be_odd_and_images_of_any_layout(rung, channels_last):
    work = Work((2, 5, 3, 8, 7))
    out = rung.run(*work.arguments(channels_last))
    assert work.error(out) <= rung.tolerance


def test_blocks_that_do_not_divide_the_image_come_out(monkeypatch):
    monkeypatch.setattr(rungs, "BLOCK_BYTES", 3 * 5 * 9 * 7 * 4)  # three rows
    work = Work((2, 5, 3, 8, 7))
    out = rungs.columns_in_blocks(*work.arguments(False))
    assert work.error(out) <= rungs.TOLERANCE


@pytest.fixture
def one_process(monkeypatch):
    """Let the first of PyTorch's rungs answer from here: to start it takes seconds."""
    started = torch_rung.serving

    def serving(shape, threads, channels_last):
        if channels_last:
            return started(shape, threads, channels_last)
        return nullcontext(torch_rung.prepare(shape, threads, channels_last))

    monkeypatch.setattr(torch_rung, "serving", serving)


def test_a_run_reports_every_rung(one_process, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(SHAPES, "64x56x56", SHAPE)
    where, picture = tmp_path / "ladder.json", tmp_path / "ladder.png"
    options = ["--threads", "1", "--seconds", "0"]
    options += ["--json", str(where), "--picture", str(picture)]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("| rung |")
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = json.loads(where.read_text())
    assert result["threads"] == 1
    assert result["peak_gflops"] > 0
    names = [row["name"] for row in result["rungs"]]
    assert names == [rung.name for rung in rungs.RUNGS]
    before = None
    for row in result["rungs"]:
        (line,) = [x for x in printed.splitlines() if f"| {row['name']} |" in x]
        if row["whose"] == "torch" and not torch_rung.installed():
            assert "not installed" in line
            continue
        assert row["left_out"] is None
        assert len(row["seconds"]) == climb.ROUNDS
        best = row["operations"] / min(row["seconds"]) / 1e9
        assert row["gflops"] == pytest.approx(best)
        assert row["share_of_peak"] == pytest.approx(best / result["peak_gflops"])
        if before:
            assert row["speed_up"] == pytest.approx(best / before)
        before = best
        assert f"{row['gflops']:.3g}" in line


def test_operations_are_those_of_direct_convolution(work):
    N, C, K, H, W = SHAPE
    assert work.operations(work.truth) == 2 * N * K * H * W * C * 9


def test_a_wrong_rung_is_not_timed(monkeypatch, capsys, no_torch):
    def wrong(x, weight, geometry):
        out = reference.conv2d(x, weight, geometry)
        out[-1, -1, -1, -1] += 1
        return out

    monkeypatch.setattr(climb, "RUNGS", [rungs.Rung("wrong", "teaching", wrong)])
    monkeypatch.setitem(SHAPES, "64x56x56", SHAPE)
    assert main(["--seconds", "0"]) == 1
    captured = capsys.readouterr()
    assert "rung 1, wrong: error" in captured.err
    assert "|" not in captured.out


def test_nan_is_wrong(monkeypatch, no_torch):
    def nothing(x, weight, geometry):
        return np.full((len(x), len(weight), *geometry.output_size), np.nan, x.dtype)

    monkeypatch.setattr(climb, "RUNGS", [rungs.Rung("nan", "teaching", nothing)])
    with pytest.raises(climb.WrongResultError, match="nan"):
        climb.climb(SHAPE, 1, 0.0)


def test_without_torch_and_with_few_channels_those_rungs_are_left_out(no_torch):
    result = climb.climb((2, 3, 5, 7, 9), 1, 0.0)
    left_out = [row["name"] for row in result["rungs"] if row["left_out"]]
    assert left_out == ["Winograd", "PyTorch", "PyTorch, channels_last"]
    assert "not installed" in page.table(result)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--threads", "0"], "--threads: expected a whole number of at least 1"),
        (["--seconds", "nan"], "--seconds: expected seconds, 0 or more, got 'nan'"),
        (["--shape", "1x1"], "--shape: invalid choice"),
        (["--json", "no/such/folder"], "no folder 'no/such'"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(options, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ladder: ")
    assert complaint in line


def test_the_picture_shows_every_bar_and_the_peak():
    figure = draw([("one", 0.02), ("two", 50.0)], ["teaching", "torch"], 200.0, "x")
    speed, share = figure.axes
    for axes, values, peak in ((speed, [0.02, 50], 200), (share, [0.01, 25], 100)):
        ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
        assert ends == pytest.approx(values)
        assert [list(line.get_xdata()) for line in axes.lines] == [[peak, peak]]
    assert speed.get_xscale() == "log"
    assert {"0.02", "50"} <= {text.get_text() for text in speed.texts}
    assert {"0.01 %", "25 %"} <= {text.get_text() for text in share.texts}
    with pytest.raises(ValueError, match="kinds"):
        draw([("one", 1.0)], [], 200.0, "x")


def test_the_page_quotes_code_that_stands_in_its_file():
    text = page.PAGE.read_text(encoding="utf-8")
    blocks = [found["body"] for found in FENCE.finditer(text) if found[1] == "python"]
    assert len(blocks) >= len(rungs.RUNGS)
    for block in blocks:
        first, _, lines = block.partition("\n")
        path = first.removeprefix("# ")
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()
        missing = first_missing_run(lines, source)
        assert missing is None, f"{path} does not contain\n{missing}"


def test_the_page_has_a_paragraph_a_row_and_the_picture_for_every_rung():
    text = page.PAGE.read_text(encoding="utf-8")
    figures = document.written(page.PAGE, page.COMMAND)
    for number, rung in enumerate(rungs.RUNGS, start=1):
        assert f"\n## {number}. " in text
        assert f"| {number} | {rung.name} |" in figures
    assert "](pictures/ladder.png)" in text
    assert page.PICTURE.is_file()


def test_writing_the_page_changes_table_and_picture_alone(
    monkeypatch, tmp_path, no_torch
):
    copy = tmp_path / "ladder.md"
    copy.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    monkeypatch.setattr(page, "PICTURE", tmp_path / "ladder.png")
    monkeypatch.setitem(SHAPES, "64x56x56", SHAPE)
    before = copy.read_text(encoding="utf-8")
    old = document.written(copy, page.COMMAND)
    assert main(["--threads", "1", "--seconds", "0", "--write"]) == 0
    new = document.written(copy, page.COMMAND)
    assert "not installed" in new
    assert copy.read_text(encoding="utf-8") == before.replace(old, new)
    assert page.PICTURE.is_file()


def test_digits_of_small_shares_are_kept():
    assert page.percent(0.000012) == "0.0012 %"
    assert page.percent(0.5) == "50 %"
