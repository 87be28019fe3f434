"""npresnet recipes: a list, and one recipe with the source of every setting."""

import io
import json
import sys

import pytest

from npresnet.cli import main
from npresnet.training import recipes
from tests.cli.program import assert_one_error_line, invoke


def test_the_list_has_a_line_for_every_recipe():
    lines = invoke("recipes").stdout.splitlines()
    assert len(lines) == 1 + len(recipes.names())
    for name, line in zip(recipes.names(), lines[1:], strict=True):
        recipe = recipes.get(name)
        assert line.startswith(f"{name} ")
        for fact in (recipe.dataset, recipe.model, recipe.description):
            assert fact in line
    known = json.loads(invoke("recipes", "--json").stdout)["recipes"]
    assert [recipe["name"] for recipe in known] == recipes.names()


@pytest.mark.parametrize("name", recipes.names())
def test_one_recipe_shows_every_setting_with_its_source(name):
    recipe = recipes.get(name)
    text = invoke("recipes", name).stdout
    assert recipe.description in text.splitlines()[0]
    *_, unused = text.splitlines()
    for setting in recipe.settings():
        if setting in recipe.unused():
            assert setting in unused
            continue
        (line,) = [x for x in text.splitlines() if x.startswith(f"{setting} ")]
        assert line.endswith(recipe.source_of(setting))


def test_json_holds_the_settings_and_their_sources():
    told = json.loads(invoke("recipes", "cifar10-paper", "--json").stdout)
    recipe = recipes.get("cifar10-paper")
    for name, value in recipe.settings().items():
        assert told[name] == (list(value) if isinstance(value, tuple) else value)
        assert told["sources"][name] == recipe.source_of(name)
    assert told["unused"] == recipe.unused()


def test_an_unknown_recipe_is_one_line_and_status_two():
    result = invoke("recipes", "nope")
    assert_one_error_line(result, "recipe: expected one of digits-quick", "'nope'")


def test_on_a_narrow_terminal_descriptions_go_on_in_their_column(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main(["recipes"])
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 1 + len(recipes.names())
    assert max(map(len, lines)) < 80
    start = lines[0].index("what it is for")
    below = [line for line in lines if line.startswith(" " * start)]
    assert below and not any(line[start:].startswith(" ") for line in below)
    shown = " ".join(line[start:] for line in lines)
    for name in recipes.names():
        assert recipes.get(name).description in shown


@pytest.mark.parametrize("columns", ["20", "80"])
def test_a_pipe_gets_whole_lines_whatever_the_environment_says(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    lines = invoke("recipes").stdout.splitlines()
    assert len(lines) == 1 + len(recipes.names())
