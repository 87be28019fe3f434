"""The table goes into the README, and into the page with every host's."""

from pathlib import Path

import pytest

from benchmarks import document, pages
from benchmarks.measurement import Taken, against, plain
from benchmarks.rows import ROWS
from benchmarks.sides import EAGER

ROOT = Path(__file__).resolve().parents[2]
README, SPEED = ROOT / "README.md", ROOT / "docs" / "speed.md"
NAMES = [row.name for row in ROWS]


def outcomes(seconds=1.0):
    """Make up an outcome for every row."""
    parts = {"npresnet": [seconds], "torch": [4.0], "torch-channels-last": [2.0]}
    beside, alone = Taken(parts, "s"), Taken({"npresnet": [seconds]}, "s")
    return [
        (row, against(EAGER, beside) if row.sides else plain(alone)) for row in ROWS
    ]


@pytest.fixture
def page(tmp_path):
    def make(mark, text=""):
        path = tmp_path / "page.md"
        path.write_text(
            f"above\n<!-- written by {mark} -->\n{text}<!-- end of {mark} -->\nbelow\n"
        )
        return path

    return make


def test_the_readme_gets_four_rows_in_plain_words(page):
    readme = page(pages.COMMAND, "old\n")
    pages.write(readme, outcomes(), "footnote")
    text = document.written(readme, pages.COMMAND)
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert rows[0] == (
        "| Training step of ResNet-20, 32x32, batch 128 "
        "| 1.00 s | 2.00 s | **0.50** | 0.50 to 0.50 |"
    )
    assert rows[3].endswith("| 1.00 s |  |  | 1.00 s to 1.00 s |")
    assert all(line.count("|") == head.count("|") for line in rows)
    assert f"{pages.host()}; footnote" in text
    assert readme.read_text().startswith("above\n")
    assert readme.read_text().endswith("below\n")


def test_the_readme_stays_where_one_of_its_rows_is_missing(page):
    readme = page(pages.COMMAND, "old\n")
    with pytest.raises(ValueError, match="'resnet18-training' belongs there"):
        pages.check(readme, ["resnet20-training"])
    pages.check(readme, pages.SHORT)
    without = [(row, "no PyTorch" if row.sides else one) for row, one in outcomes()]
    with pytest.raises(ValueError, match="resnet20-training was not measured: no Py"):
        pages.write(readme, without, "")
    assert document.written(readme, pages.COMMAND) == "old\n"


def test_a_host_has_a_section_which_measuring_again_replaces(page, monkeypatch):
    speed = page(pages.HOSTS)
    for name, seconds in (("one", 1.0), ("other", 2.0), ("third", 3.0), ("one", 4.0)):
        monkeypatch.setattr(pages, "host", lambda name=name: name)
        pages.write(speed, outcomes(seconds), f"{name} took {seconds}")
    text = document.written(speed, pages.HOSTS)
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert heads == ["### one", "### third", "### other"]
    assert text.count("\n| --- |") == 3
    for footnote in ("one took 4.0", "other took 2.0", "third took 3.0"):
        assert footnote in text
    assert "one took 1.0" not in text


def test_the_page_of_hosts_takes_whole_tables_only(page):
    speed = page(pages.HOSTS)
    pages.check(speed, NAMES)
    with pytest.raises(ValueError, match=f"'{NAMES[-1]}' belongs there, too"):
        pages.check(speed, NAMES[:-1])


def test_a_page_without_a_place_is_refused(page):
    with pytest.raises(document.NoPlaceError):
        pages.check(page("something else"), NAMES)


def test_both_pages_have_a_place():
    pages.check(README, pages.SHORT)
    pages.check(SPEED, NAMES)


def test_the_readmes_rows_are_rows_of_the_table():
    assert set(pages.SHORT) <= set(NAMES)
    text = document.written(README, pages.COMMAND)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(pages.SHORT.values())
