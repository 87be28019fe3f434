"""The builder: pairs, line numbers that follow the source, outputs compared."""

import copy
import re
import textwrap
from importlib.util import find_spec

import pytest

from notebooks.make import compare, contents, form, links, pair, run

# Looked for by name: to import them takes seconds.
pytestmark = pytest.mark.skipif(
    None in map(find_spec, ("jupytext", "nbclient")),
    reason="builds notebooks with jupytext and nbclient",
)

CELLS = """\
# %% [markdown]
# # 01 · Title
#
# **Why?**

# %%
import numpy as np

assert np.ones(2).sum() == 2
print("two", 2.0)

# %% tags=["varies"]
np.testing.assert_allclose(1.0, 1.0)
np.random.default_rng().random()
"""


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "01_title.py"
    path.write_text(CELLS)
    return path


def built(path):
    notebook = pair.read_text(path)
    fresh = run.run(notebook)
    pair.write_notebook(fresh, path.with_suffix(".ipynb"))
    return pair.read_notebook(path.with_suffix(".ipynb"))


@pytest.mark.parametrize("path", pair.texts(), ids=lambda path: path.stem)
def test_every_notebook_has_the_form(path):
    assert form.faults(path) == []


def test_the_readme_lists_every_notebook():
    page = contents.README.read_text(encoding="utf-8")
    assert contents.with_contents(page) == page
    for path in pair.texts():
        assert f"({path.stem}.ipynb)" in page


@pytest.mark.parametrize("page", sorted(pair.COURSE.glob("*.md")), ids=lambda p: p.name)
def test_links_of_the_pages_lead_somewhere(page):
    prose = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    assert links.broken_links(prose) == []


def test_texts_are_read_the_same_each_time_and_cells_have_names(text):
    first, second = pair.read_text(text), pair.read_text(text)
    assert first == second
    names = [cell.id for cell in first.cells]
    assert len(set(names)) == 3
    text.write_text("# %%\n1\n\n" + CELLS)
    assert [cell.id for cell in pair.read_text(text).cells][1:] == names


def test_assertions_are_counted(text):
    assert pair.claims(pair.read_text(text)) == 2


def test_a_built_notebook_agrees_with_its_text_until_one_changes(text):
    notebook = built(text)
    assert pair.differences(pair.read_text(text), notebook) == []
    assert all(cell.execution_count is None for cell in pair.code_cells(notebook))
    text.write_text(CELLS.replace("== 2", "== 2.0"))
    found = pair.differences(pair.read_text(text), notebook)
    assert any("cell 1 differs" in line for line in found)
    assert any("other code" in line for line in found)
    text.write_text(CELLS.replace("**Why?**", "**How?**"))
    (line,) = pair.differences(pair.read_text(text), notebook)
    assert "cell 0 differs" in line


def test_outputs_are_compared_except_where_they_vary(text):
    notebook = built(text)
    again = run.run(pair.read_text(text))
    assert compare.stale_outputs(notebook, again) == []
    old = copy.deepcopy(notebook)
    old.cells[1].outputs[0].text = "two 3.0\n"
    assert len(compare.stale_outputs(old, again)) == 1
    old.cells[1].outputs = []
    assert "0 outputs became 1" in compare.stale_outputs(old, again)[0]


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ("loss 2.30259", "loss 2.30258", True),
        ("loss 2.30", "loss 2.40", False),
        ("error 3.1e-11", "error 7.9e-12", True),
        ("3 of 4", "3 of 5", False),
        ("[1. 2.]", "[1.  2.]", True),
        ("-1.5", "1.5", False),
        ("conv1", "conv2", False),
    ],
)
def test_texts_agree_up_to_rounding(a, b, expected):
    assert compare.agree(a, b) is expected


@pytest.mark.parametrize(
    "code, part",
    [
        ("import sys; print('oh', file=sys.stderr)", "standard error"),
        ("print(object())", "differs between machines"),
        ("import npresnet; print(npresnet.__file__)", "differs between machines"),
    ],
)
def test_outputs_that_no_run_repeats_are_refused(tmp_path, code, part):
    path = tmp_path / "01_x.py"
    path.write_text(f"# %%\n{code}\n")
    with pytest.raises(run.NotRepeatable, match=part):
        run.run(pair.read_text(path))


def test_line_numbers_follow_the_source(tmp_path):
    source = tmp_path / "source.py"
    source.write_text(
        textwrap.dedent(
            """\
            import a


            class Block:
                def forward(self):
                    return 1

                def backward(self):
                    return 2
            """
        )
    )
    assert links.lines_of(source, "Block") == (4, 9)
    assert links.lines_of(source, "Block.backward") == (8, 9)
    with pytest.raises(ValueError, match=r"has no 'Block\.step'"):
        links.lines_of(source, "Block.step")


def test_links_get_their_lines_and_old_ones_are_noticed():
    path = "../npresnet/backend/geometry.py"
    first, last = links.lines_of(pair.COURSE / path, "output_length")
    old = f'[it]({path}#L1-L2 "output_length")'
    new = f'[it]({path}#L{first}-L{last} "output_length")'
    assert links.relink(old) == links.relink(new) == new
    assert links.broken_links(new) == []
    assert "old" in links.broken_links(old)[0]
    assert "needs a title" in links.broken_links(f"[it]({path}#L1-L2)")[0]
    assert "does not exist" in links.broken_links("[it](../nowhere.md)")[0]
    assert links.broken_links("[it](https://arxiv.org/abs/1512.03385)") == []


def test_a_notebook_without_question_is_refused(text):
    assert form.head(text) == ("Title", "Why?")
    text.write_text(CELLS.replace("**Why?**", "Because."))
    with pytest.raises(ValueError, match="a question"):
        form.head(text)
