"""Every rung of the ladder is the same convolution; the page quotes what runs."""

import importlib.util
import json

import numpy as np
import pytest

import npresnet as nr
from benchmarks import ladder
from npresnet.plots.ladder import ladder as draw
from tests.docs.test_derivations import FENCE, ROOT, first_missing_run

PAGE = ROOT / "docs" / "ladder.md"
# Odd everywhere, and just large enough for Winograd's algorithm to be chosen.
SHAPE = (2, 33, 35, 13, 15)
IN_PROCESS = [rung for rung in ladder.RUNGS if rung.run is not None]
HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    before = nr.get_threads()
    yield
    nr.set_threads(before)


@pytest.fixture(scope="module")
def work():
    return ladder.Work(SHAPE)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rung", IN_PROCESS, ids=lambda rung: rung.name)
def test_every_rung_computes_the_convolution(rung, threads, work):
    nr.set_threads(threads)
    out = rung.run(work.x, work.weight, work.geometry)
    assert out.dtype == np.float32
    if rung.run is ladder.corner_in_python:
        assert out.shape == (1, 4, 4, 15)
    else:
        assert out.shape == work.truth.shape
    assert work.error(out) <= rung.tolerance


def test_the_last_rung_of_the_package_is_winograds(work):
    direct = ladder.register_tile(work.x, work.weight, work.geometry)
    other = ladder.winograd_tile(work.x, work.weight, work.geometry)
    assert not np.array_equal(direct, other)


def test_blocks_that_do_not_divide_the_image_and_odd_channels_come_out(monkeypatch):
    monkeypatch.setattr(ladder, "BLOCK_BYTES", 3 * 5 * 9 * 7 * 4)  # three rows
    work = ladder.Work((2, 5, 3, 8, 7))
    out = ladder.columns_in_blocks(work.x, work.weight, work.geometry)
    assert work.error(out) <= ladder.TOLERANCE


def test_a_run_reports_every_rung(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(ladder.SHAPES, "64x56x56", SHAPE)
    where, picture = tmp_path / "ladder.json", tmp_path / "ladder.png"
    options = ["--threads", "1", "--seconds", "0"]
    options += ["--json", str(where), "--picture", str(picture)]
    assert ladder.main(options) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("| rung |")
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = json.loads(where.read_text())
    assert result["threads"] == 1
    assert result["peak_gflops"] > 0
    assert [row["name"] for row in result["rungs"]] == [r.name for r in ladder.RUNGS]
    before = None
    for row in result["rungs"]:
        (line,) = [x for x in printed.splitlines() if f"| {row['name']} |" in x]
        if row["whose"] == "torch" and not HAS_TORCH:
            assert "not installed" in line
            continue
        assert row["left_out"] is None
        assert len(row["seconds"]) == ladder.ROUNDS
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


def test_a_wrong_rung_is_not_timed(monkeypatch, capsys):
    def wrong(x, weight, geometry):
        out = ladder.reference.conv2d(x, weight, geometry)
        out[-1, -1, -1, -1] += 1
        return out

    monkeypatch.setattr(ladder, "RUNGS", [ladder.Rung("wrong", "teaching", wrong)])
    monkeypatch.setattr(ladder.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(ladder.SHAPES, "64x56x56", SHAPE)
    assert ladder.main(["--seconds", "0"]) == 1
    captured = capsys.readouterr()
    assert "wrong" in captured.err
    assert "|" not in captured.out


def test_nan_is_wrong(monkeypatch):
    def nothing(x, weight, geometry):
        return np.full((len(x), len(weight), *geometry.output_size), np.nan, x.dtype)

    monkeypatch.setattr(ladder, "RUNGS", [ladder.Rung("nan", "teaching", nothing)])
    monkeypatch.setattr(ladder.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ladder.WrongResultError, match="nan"):
        ladder.climb(SHAPE, 1, 0.0)


def test_without_torch_and_with_few_channels_those_rungs_are_left_out(monkeypatch):
    monkeypatch.setattr(ladder.importlib.util, "find_spec", lambda name: None)
    result = ladder.climb((2, 3, 5, 7, 9), 1, 0.0)
    left_out = [row["name"] for row in result["rungs"] if row["left_out"]]
    assert left_out == ["Winograd", "PyTorch"]
    assert "not installed" in ladder.table(result)


def test_the_picture_shows_every_bar_and_the_peak():
    figure = draw([("one", 0.02), ("two", 50.0)], ["teaching", "torch"], 200.0, "x")
    (axes,) = figure.axes
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx([0.02, 50.0])
    assert all(list(line.get_xdata()) == [200.0, 200.0] for line in axes.lines)
    assert axes.get_xscale() == "log"
    texts = {text.get_text() for text in axes.texts}
    assert {"0.02", "50", "25 %"} <= texts
    with pytest.raises(ValueError, match="kinds"):
        draw([("one", 1.0)], [], 200.0, "x")


def test_the_page_quotes_code_that_stands_in_its_file():
    text = PAGE.read_text(encoding="utf-8")
    blocks = [found["body"] for found in FENCE.finditer(text) if found[1] == "python"]
    assert len(blocks) >= 6
    for block in blocks:
        first, _, lines = block.partition("\n")
        path = first.removeprefix("# ")
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()
        missing = first_missing_run(lines, source)
        assert missing is None, f"{path} does not contain\n{missing}"


def test_the_page_has_a_paragraph_a_row_and_the_picture_for_every_rung():
    text = PAGE.read_text(encoding="utf-8")
    for number, rung in enumerate(ladder.RUNGS, start=1):
        assert f"\n## {number}. " in text
        assert f"| {number} | {rung.name} |" in text
    assert "](pictures/ladder.png)" in text
    assert (ROOT / "docs" / "pictures" / "ladder.png").is_file()


def test_digits_of_small_shares_are_kept():
    assert ladder.percent(0.000012) == "0.0012 %"
    assert ladder.percent(0.5) == "50 %"
