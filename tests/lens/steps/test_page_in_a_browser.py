"""The stepper's page in a real browser: keys, slider and buttons move it."""

import html
import json
import re

import pytest

import npresnet as nr
from tests.browser import Browser, colours_of, needs_browser

pytestmark = needs_browser

# Appended to a page: does things to it, and notes what it says after each.
SCRIPT = """
<script>
addEventListener("load", () => {
  const said = [];
  const note = () => said.push([
    document.getElementById("count").textContent,
    document.getElementById("path").textContent,
    document.getElementById("title").textContent,
    document.getElementById("where").textContent,
    document.getElementById("slider").getAttribute("aria-valuetext"),
    [...document.querySelectorAll(".node.here")].map((n) => n.dataset.step).join(),
    document.querySelectorAll(".diagram:not([hidden])").length,
    document.querySelectorAll("figure img").length,
    document.querySelectorAll("#formulas math").length,
  ].map(String));
  const key = (name, more) => {
    const event = new KeyboardEvent("keydown",
      {key: name, bubbles: true, cancelable: true, ...more});
    document.body.dispatchEvent(event);
    note();
    return event.defaultPrevented;
  };
  const slide = (value) => {
    const slider = document.getElementById("slider");
    slider.value = value;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    note();
  };
  const click = (selector) => {
    document.querySelector(selector)
      .dispatchEvent(new MouseEvent("click", {bubbles: true}));
    note();
  };
  const jump = (value) => {
    const select = document.getElementById("jump");
    select.value = value;
    select.dispatchEvent(new Event("change", {bubbles: true}));
    note();
  };
  note();
  ACTIONS
  const result = document.createElement("pre");
  result.id = "said";
  result.textContent = JSON.stringify(said);
  document.body.append(result);
});
</script></body>
"""


@pytest.fixture(scope="module")
def steps():
    x, y = next(nr.data.batches(nr.data.digits()[0], 6, shuffle=True, seed=0, epoch=0))
    return nr.lens.steps(nr.models.resnet8(), x, y)


@pytest.fixture(scope="module")
def page(steps, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "steps.html"
    steps.save(path)
    return path


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


def said_after(actions, page, browser, tmp_path):
    """Do things to a page, and return what it said at first and after each."""
    acting = tmp_path / "acting.html"
    script = SCRIPT.replace("ACTIONS", actions)
    acting.write_text(page.read_text().replace("</body>", script))
    document = browser.open(acting.as_uri(), "--dump-dom")
    text = re.search(r'<pre id="said">(.*?)</pre>', document, re.DOTALL).group(1)
    return json.loads(html.unescape(text))


def test_keys_slider_buttons_and_diagram_move_it(steps, page, browser, tmp_path):
    said = said_after(
        """
        key("ArrowRight"); key("ArrowRight"); key("ArrowLeft");
        slide(12);
        click("#next"); click("#previous");
        key("ArrowDown"); key("ArrowUp"); key("End"); key("ArrowRight"); key("Home");
        jump("9");
        click('.node[data-step="8"]'); click('.stretch[data-first="23"]');
        """,
        page,
        browser,
        tmp_path,
    )
    numbers = [1, 2, 3, 2, 13, 14, 13, 14, 5, 34, 34, 1, 9, 8, 23]
    assert [count for count, *_ in said] == [f"step {n} of 34" for n in numbers]
    for number, (_, path, title, where, value, marked, diagrams, images, maths) in zip(
        numbers, said, strict=True
    ):
        step = steps[number - 1]
        assert path == step.path
        assert title == step.details.title
        assert step.way in where
        assert value == f"step {number}: {step.path}, {step.details.title}"
        assert marked == str(number)
        assert diagrams == "1"
        assert int(images) >= (2 if number == 1 else 3)
        assert int(maths) == 2 + len(step.parameter_grads)


def test_other_keys_are_left_to_whoever_wants_them(page, browser, tmp_path):
    said = said_after(
        """
        const taken = [key("ArrowRight"), key("a"), key("Enter"),
          key("ArrowRight", {ctrlKey: true}), key("ArrowRight", {altKey: true})];
        said.push(taken.map(String));
        """,
        page,
        browser,
        tmp_path,
    )
    assert said.pop() == ["true", "false", "false", "false", "false"]
    assert {count for count, *_ in said[1:]} == {"step 2 of 34"}


def test_the_widget_is_the_page_in_a_frame(steps, browser, tmp_path):
    frame = steps.widget()._repr_html_()
    assert frame.startswith("<iframe ")
    assert "allow-same-origin" not in frame
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><body style='margin:0'>{frame}</body>")
    # In a process of its own the frame may be painted after the photograph is taken.
    same_process = "--disable-features=IsolateSandboxedIframes"
    pixels = browser.photograph(notebook.as_uri(), 1100, 960, same_process)
    # Its script has run: there are pictures, in which negative numbers are brown.
    red, green, blue = (pixels[..., i].astype(int) for i in range(3))
    brown = (red > 110) & (red < 200) & (green < 90) & (blue < 40)
    assert brown.sum() > 200
    assert len(repr(steps.widget())) < 200


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_it_fits_the_window(page, browser, width):
    pixels = browser.photograph(f"{page.as_uri()}#13", width, 2200)
    right = pixels[:, -8:].reshape(-1, 3)
    assert (right == 255).all()
    assert colours_of(pixels) > 100


def test_it_has_a_dark_side(page, browser):
    pixels = browser.photograph(page.as_uri(), 900, 900, "--force-dark-mode")
    assert tuple(pixels[2, 2]) == (0x14, 0x17, 0x1A)


def test_the_page_loads_nothing_and_is_small(steps, page):
    text = page.read_text()
    assert "default-src 'none'" in text
    without_names = text.replace("http://www.w3.org/1998/Math/MathML", "")
    assert "http:" not in without_names
    assert "https:" not in without_names
    assert 50_000 < len(text) < 1_000_000
    # One picture for each array, although neighbours show the same.
    data = json.loads(
        re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
        .group(1)
        .replace("\\u003c", "<")
    )
    assert len(data["steps"]) == len(steps)
    assert len(data["pictures"]) < 2.2 * len(steps)
    frames = [f for s in data["steps"] for side in s["frames"].values() for f in side]
    assert len(frames) > 4 * len(steps)
    used = {frame["picture"] for frame in frames if "picture" in frame}
    assert used == set(range(len(data["pictures"])))
