"""Pictures inside a page: valid, several beside each other, in the page's colours."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from npresnet.plots import curve_panels, inline_svg, style
from tests.plots.test_curves import HISTORY


@pytest.fixture(scope="module")
def pictures():
    return {
        name: inline_svg(figure, name, f"<{name}> & more")
        for name, figure in curve_panels(HISTORY).items()
    }


def test_each_is_one_element_that_fills_what_holds_it(pictures):
    for name, text in pictures.items():
        element = ElementTree.fromstring(text)
        assert element.tag == "{http://www.w3.org/2000/svg}svg"
        assert element.get("aria-label") == f"<{name}> & more"
        assert element.get("viewBox")
        assert element.get("width") is element.get("height") is None
        assert "<style" not in text  # it would hold for the whole page
        assert "metadata" not in text


def test_no_two_share_an_id_and_references_find_theirs(pictures):
    page = "".join(pictures.values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page)
    assert wanted
    assert {one or other for one, other in wanted} <= set(ids)


def test_nothing_is_loaded_from_elsewhere(pictures):
    for text in pictures.values():
        without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
        assert "//" not in without_namespaces


def test_text_stays_text_in_the_pages_font_and_colour(pictures):
    element = ElementTree.fromstring(pictures["accuracy"])
    texts = list(element.iter("{http://www.w3.org/2000/svg}text"))
    words = ["".join(text.itertext()).strip() for text in texts]
    assert {"Accuracy", "epoch", "train: 83.33 %"} <= set(words)
    for text in texts:
        assert "fill: var(--ink" in text.get("style")
        assert "font-family" not in text.get("style")
        assert "font-size" in text.get("style")


def test_colours_are_variables_with_the_houses_as_default(pictures):
    text = pictures["loss"]
    assert f"var(--train, {style.TRAIN.color})" in text
    assert f"var(--test, {style.TEST.color})" in text
    bare = re.sub(r"var\([^)]*\)", "", text)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", bare)


def test_the_same_history_gives_the_same_picture(pictures):
    figure = curve_panels(HISTORY)["lr"]
    assert inline_svg(figure, "lr", "<lr> & more") == pictures["lr"]
