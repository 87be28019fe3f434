"""report.html in a real browser: it shows something, fits a phone, asks for nothing."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageColor

from npresnet.data.cifar10 import CLASSES
from npresnet.plots import style
from npresnet.training import fit
from tests.browser import Browser, colours_of, needs_browser
from tests.training.small import new_model, small_data
from tests.training.tiny import TINY

pytestmark = [needs_browser, pytest.mark.drawn]
PAPER = {"light": (255, 255, 255), "dark": ImageColor.getrgb("#14171a")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with class names that take room, as CIFAR-10's do."""
    named = [replace(dataset, classes=CLASSES) for dataset in small_data()]
    folder = tmp_path_factory.mktemp("runs") / "run"
    return fit(new_model(), *named, recipe=TINY, out=folder, quiet=True)


@pytest.fixture
def browse(tmp_path):
    """Open a page in a browser that knows nothing yet; return what it prints."""
    browser = Browser(tmp_path)
    return lambda path, *flags: browser.open(path.as_uri(), *flags)


@pytest.fixture
def photograph(tmp_path):
    """Return a page as (H, W, 3) bytes."""
    browser = Browser(tmp_path)
    return lambda path, *how: browser.photograph(path.as_uri(), *how)


def share_of(pixels, color):
    return (pixels == np.array(color, np.uint8)).all(axis=2).mean()


def requests_of(page, browse, tmp_path):
    """List what a page asked for; the browser's own affairs are left out."""
    log = tmp_path / f"{page.stem}-network.json"
    picture = f"--screenshot={tmp_path / 'ignored.png'}"
    browse(page, f"--log-net-log={log}", picture)
    entries = [
        event.get("params", {}) for event in json.loads(log.read_text())["events"]
    ]
    return {
        entry["url"]
        for entry in entries
        if "url" in entry and entry.get("initiator", "not an origin") != "not an origin"
    }


def test_the_document_holds_title_result_and_pictures(run, browse):
    document = browse(run.folder / "report.html", "--dump-dom")
    accuracy = f"{100 * run.test.accuracy:.2f} %"
    assert f"<title>ResNet on digits: {accuracy}</title>" in document
    assert document.count("<svg") == 3
    assert document.count("data:image/png") == min(
        24, run.test.total - run.test.correct
    )
    for heading in ("Learning curves", "Class by class", "Most confident mistakes"):
        assert f"<h2>{heading}</h2>" in document


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_laptop_shows_result_curves_and_matrix(run, photograph, scheme):
    flags = ["--force-dark-mode"] if scheme == "dark" else []
    pixels = photograph(run.folder / "report.html", 1200, 1000, *flags)
    assert pixels.shape == (1000, 1200, 3)
    assert 0.6 < share_of(pixels, PAPER[scheme]) < 0.97
    assert colours_of(pixels) > 100
    # The accuracy is in large letters: much ink on the upper left.
    ink = np.abs(pixels[80:220, 40:560].astype(int) - PAPER[scheme]).max(axis=2) > 120
    assert ink.mean() > 0.1
    # The series have their colours, which the dark scheme makes lighter.
    wanted = (style.BLUE, "#c24e00") if scheme == "light" else ("#56b4e9", "#f0883e")
    for color in wanted:
        assert share_of(pixels[300:640], ImageColor.getrgb(color)) > 1e-4


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_shows_it_in_its_width(run, photograph, width):
    pixels = photograph(run.folder / "report.html", width, 3000)
    assert share_of(pixels, PAPER["light"]) < 0.97
    # Nothing runs into the margin on the right, or it could be moved sideways.
    assert share_of(pixels[:, -10:], PAPER["light"]) == 1
    assert share_of(pixels[:, :-10], PAPER["light"]) < 1


def test_the_page_asks_the_network_for_nothing(run, browse, tmp_path):
    page = run.folder / "report.html"
    assert {
        url for url in requests_of(page, browse, tmp_path) if "file:" != url[:5]
    } == (set())
    # One that would ask is noticed; and its own rules would not let it.
    text = page.read_text()
    asking = tmp_path / "asking.html"
    picture = '<img src="http://example.invalid/x.png"></main>'
    asking.write_text(text.replace("</main>", picture))
    assert requests_of(asking, browse, tmp_path) == set()
    without_rules = re.sub(r"<meta http-equiv[^>]*>", "", asking.read_text())
    asking.write_text(without_rules)
    assert "http://example.invalid/x.png" in requests_of(asking, browse, tmp_path)
