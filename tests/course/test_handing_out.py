"""A reader's copies: brought up to date as long as they are as they were."""

import json
import re
import sys

import pytest

from npresnet.course import handing_out
from npresnet.course.handing_out import LIST, hand_out


def notebook(text):
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [text]}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """Two notebooks that a test may change."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("01_one.ipynb", "02_two.ipynb"):
        (folder / name).write_text(json.dumps(notebook(name)))
    monkeypatch.setattr(handing_out, "originals", lambda: sorted(folder.iterdir()))
    return folder


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "some" / "where"


def test_the_package_has_the_notebooks_in_order():
    names = [path.name for path in handing_out.originals()]
    assert names[:2] == ["01_convolution.ipynb", "02_im2col.ipynb"]
    assert names == sorted(names)


def test_a_new_folder_gets_all(originals, mine):
    copies = hand_out(mine)
    assert copies.new == ("01_one.ipynb", "02_two.ipynb")
    assert copies.first == mine / "01_one.ipynb"
    assert json.loads(copies.first.read_text()) == notebook("01_one.ipynb")


def test_what_is_unchanged_is_brought_up_to_date(originals, mine):
    hand_out(mine)
    (originals / "01_one.ipynb").write_text(json.dumps(notebook("newer")))
    copies = hand_out(mine)
    assert copies.updated == ("01_one.ipynb",)
    assert copies.unchanged == ("02_two.ipynb",)
    assert "newer" in (mine / "01_one.ipynb").read_text()
    assert hand_out(mine).unchanged == ("01_one.ipynb", "02_two.ipynb")


def test_what_the_reader_changed_is_never_overwritten(originals, mine):
    hand_out(mine)
    (mine / "01_one.ipynb").write_text("my work")
    for text in ("newer", "newest"):
        (originals / "01_one.ipynb").write_text(json.dumps(notebook(text)))
        assert hand_out(mine).kept == ("01_one.ipynb",)
        assert (mine / "01_one.ipynb").read_text() == "my work"


def test_a_file_that_was_there_before_is_left_alone(originals, mine):
    mine.mkdir(parents=True)
    (mine / "02_two.ipynb").write_text("not from here")
    copies = hand_out(mine)
    assert (copies.new, copies.kept) == (("01_one.ipynb",), ("02_two.ipynb",))
    assert (mine / "02_two.ipynb").read_text() == "not from here"


@pytest.mark.skipif(sys.platform == "win32", reason="links are POSIX's")
@pytest.mark.parametrize("content", ["precious", None, "a copy"])
def test_a_link_is_the_readers(originals, mine, tmp_path, content):
    target = tmp_path / "target"
    mine.mkdir(parents=True)
    (mine / "02_two.ipynb").symlink_to(target)
    (mine / ".new-01_one.ipynb").symlink_to(target)
    if content == "a copy":
        hand_out(tmp_path / "other")
        content = (tmp_path / "other" / "02_two.ipynb").read_text()
    if content is not None:
        target.write_text(content)
    copies = hand_out(mine)
    assert (copies.new, copies.kept) == (("01_one.ipynb",), ("02_two.ipynb",))
    assert (mine / "02_two.ipynb").is_symlink()
    assert (target.read_text() if target.exists() else None) == content


def test_a_notebook_that_the_reader_threw_away_comes_back(originals, mine):
    hand_out(mine)
    (mine / "01_one.ipynb").unlink()
    assert hand_out(mine).new == ("01_one.ipynb",)


def test_without_its_list_nothing_is_overwritten(originals, mine):
    hand_out(mine)
    (mine / LIST).unlink()
    (originals / "01_one.ipynb").write_text(json.dumps(notebook("newer")))
    assert hand_out(mine).kept == ("01_one.ipynb",)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_broken_list_is_told_and_nothing_written(originals, mine, text):
    hand_out(mine)
    (mine / LIST).write_text(text)
    (originals / "01_one.ipynb").write_text(json.dumps(notebook("newer")))
    with pytest.raises(ValueError, match="cannot be read; remove it"):
        hand_out(mine)
    assert "newer" not in (mine / "01_one.ipynb").read_text()


def test_links_into_the_repository_become_names(originals, mine):
    text = (
        'See [the pass](../npresnet/functional/conv.py#L30-L109 "conv2d_forward"), '
        "[letters](../docs/notation.md) and [next](02_two.ipynb)."
    )
    (originals / "01_one.ipynb").write_text(json.dumps(notebook(text)))
    hand_out(mine)
    (cell,) = json.loads((mine / "01_one.ipynb").read_text())["cells"]
    assert "".join(cell["source"]) == (
        "See the pass (`npresnet/functional/conv.py`, line 30), "
        "letters (`docs/notation.md`) and [next](02_two.ipynb)."
    )


def test_no_copy_of_the_course_links_out_of_its_folder(mine):
    for name in hand_out(mine).new:
        text = (mine / name).read_text(encoding="utf-8")
        assert not re.search(r"\]\(\.\./", text), name
