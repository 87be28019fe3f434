"""The mathematics pages say what the code does: quotes, links and examples hold."""

import doctest
import re
import textwrap
from pathlib import Path

import pytest

import npresnet as nr

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "derivations").glob("*.md"))
WITH_EXAMPLES = [DOCS / "notation.md", *sorted(DOCS.glob("lens*.md")), *PAGES]
LINKING = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
QUOTE = re.compile(r"# (?P<path>npresnet/\S+\.py)\n(?P<lines>.*)", re.S)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name(path):
    return path.relative_to(ROOT).as_posix()


def fences(page):
    return [
        (found["language"], found["body"])
        for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def quotes(page):
    """Source file and lines of every Python block; examples are marked pycon."""
    found = [QUOTE.match(body) for kind, body in fences(page) if kind == "python"]
    assert all(found), f"a Python block of {name(page)} names no source file"
    return [(quote["path"], quote["lines"]) for quote in found]


def find_run(run, source, start):
    """Line after the first place, from `start` on, where `run` stands in `source`."""
    run = textwrap.dedent("\n".join(run))
    length = run.count("\n") + 1
    for first in range(start, len(source) - length + 1):
        if textwrap.dedent("\n".join(source[first : first + length])) == run:
            return first + length
    return None


def first_missing_run(lines, source):
    """Lines of a quote that do not follow, verbatim, what was quoted before them."""
    runs, place = [[]], 0
    for line in lines.rstrip("\n").split("\n"):
        if line.strip() == "...":
            runs.append([])
        else:
            runs[-1].append(line)
    for run in runs:
        place = find_run(run, source, place) if any(run) else None
        if place is None:
            return "\n".join(run) or "(nothing between two omissions)"
    return None


def headings(page):
    """Anchors that GitHub makes of a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


class MarkdownParser(doctest.DocTestParser):
    """Doctest in Markdown: a fence is no output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^```.*$", "", string, flags=re.M), name)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_quoted_code_stands_in_its_file(page):
    assert quotes(page), f"{name(page)} quotes no code"
    for path, lines in quotes(page):
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()
        missing = first_missing_run(lines, source)
        assert missing is None, f"{name(page)}: {path} does not contain\n{missing}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page_ends_in_the_code_it_becomes(page):
    text = page.read_text(encoding="utf-8")
    language, body = fences(page)[-1]
    assert language == "python"
    assert QUOTE.match(body)
    assert text.endswith(f"{body}```\n")


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name)
def test_worked_examples_come_out_as_written(page, backend):
    # One namespace per page: later blocks use what earlier ones named.
    result = doctest.testfile(
        str(page),
        module_relative=False,
        parser=MarkdownParser(),
        optionflags=doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert result.attempted > 0, f"{name(page)} has no example"
    assert result.failed == 0


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_relative_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        target = found["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {target}"
        if anchor and page in PAGES:
            assert anchor in headings(there), f"{name(page)} links to {target}"


def test_every_operation_with_a_backward_pass_has_a_page():
    names = nr.functional.__all__
    operations = {n.removesuffix("_backward") for n in names if n.endswith("_backward")}
    assert operations <= {page.stem for page in PAGES}


def test_index_names_every_page():
    index = (DOCS / "derivations" / "README.md").read_text(encoding="utf-8")
    linked = {found["target"] for found in LINK.finditer(index)}
    assert {page.name for page in PAGES} - {"README.md"} <= linked


def test_pages_that_the_code_names_exist():
    for source in (ROOT / "npresnet").rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        for page in re.findall(r"docs/[\w/]+\.md", text):
            assert (ROOT / page).is_file(), f"{name(source)} names {page}"


def test_a_changed_line_is_noticed():
    source = ["def f():", "    a = 1", "    b = 2", "    return a"]
    assert first_missing_run("a = 1\n...\nreturn a\n", source) is None
    assert first_missing_run("a = 1\nreturn a\n", source)
    assert first_missing_run("a = 2\n", source)
    assert first_missing_run("return a\n...\na = 1\n", source)
    assert first_missing_run("    a = 1\n  b = 2\n", source)
