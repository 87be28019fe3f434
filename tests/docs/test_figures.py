"""Pages quote the figures that their commands gave, and no others."""

import json
import re

import pytest

import npresnet as nr
from benchmarks.figures import GROUPS, KEPT, main
from benchmarks.sentences import ROOT, SENTENCES, Figure, groups, missing
from npresnet.training.metrics import read_metrics

FIGURES = json.loads(KEPT.read_text(encoding="utf-8"))


def test_every_sentence_stands_in_its_page():
    assert list(missing(FIGURES)) == []


def test_every_group_that_is_quoted_or_kept_can_be_measured():
    quoted = {name for _, text in SENTENCES for name in groups(text)}
    assert quoted | set(FIGURES) <= set(GROUPS)


def test_the_recipes_of_the_readme_reached_what_their_files_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| `(cifar10-\w+)`(?:, longer)? \|.*?\| ([\d.]+) % \|", re.M)
    rows = row.findall(text)
    kept = []
    for path in (ROOT / "docs" / "results").glob("*/seed-0.csv"):
        accuracy = read_metrics(path)[-1]["test_accuracy"]
        kept.append((path.parent.name.split("_")[0], f"{100 * accuracy:.2f}"))
    assert len(rows) == 4
    assert set(rows) <= set(kept)


def test_the_readme_counts_what_receipts_and_kill_table_count():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    receipts = (ROOT / "docs" / "receipts" / "README.md").read_text(encoding="utf-8")
    counts = re.findall(r"\.md\) \| ([\d,]+) \|", receipts)
    tensors = sum(int(count.replace(",", "")) for count in counts)
    assert f"[{tensors:,} tensors](docs/receipts/README.md)" in text
    bugs = len(nr.lens.bugs.names())
    assert f"| {bugs} mistakes that people make" in text
    table = (ROOT / "docs" / "kill_table.md").read_text(encoding="utf-8")
    assert f"has {bugs} bugs" in table
    assert f"Caught: {bugs} of {bugs}." in table


def test_the_ladder_counts_bytes_and_products_of_its_convolution():
    text = " ".join((ROOT / "docs" / "ladder.md").read_text(encoding="utf-8").split())
    channels, side, taps, images = 64, 56, 9, 2
    products = images * channels * side**2 * channels * taps
    assert f"= {products / 1e9:.2f} billion products" in text
    assert f"{2 * products / 1e9:.2f} GFLOP" in text
    assert f"{channels * taps} rows of the column matrix" in text
    assert f"= {side**2} places" in text
    columns = 4 * channels * taps * side**2  # bytes, of an image
    assert f"{images * columns / 1e6:.0f} MB here" in text
    assert f"all {columns / 1e6:.0f} MB of an image's columns" in text
    rows = 3 * columns // side
    assert f"three output rows of one image at a time ({rows // 1000} kB)" in text


def test_another_figure_is_noticed(capsys, monkeypatch, tmp_path):
    changed = json.loads(json.dumps(FIGURES))
    changed["river"]["plain20"]["growth"] = 25.4
    ((page, sentence),) = missing(changed)
    assert page == "docs/lens.md"
    assert "grows 25 times" in sentence
    (tmp_path / "figures.json").write_text(json.dumps(changed))
    monkeypatch.setattr("benchmarks.figures.KEPT", tmp_path / "figures.json")
    assert main(["--compare"]) == 1
    assert capsys.readouterr().out.startswith("docs/lens.md should say: ")


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.2876, ".0p", "29"),
        (6643.3, "2r", "6,600"),
        (0.00944, "2r", "0.0094"),
        (6, "w", "six"),
        (9.913, ".1f", "9.9"),
    ],
)
def test_figures_are_written_as_in_the_pages(value, form, text):
    assert format(Figure(value), form) == text
