"""Sliders move in a real JupyterLab: a reader sees another picture."""

import base64
import io
import shutil
import time
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from npresnet.course import handing_out
from npresnet.course.jupyter import JupyterLab

webdriver = pytest.importorskip("selenium.webdriver")
for needed in ("jupyterlab", "ipywidgets"):  # by name: to import them takes seconds
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no browser here (apt-get install chromium chromium-driver)",
    ),
]
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1600")

DRAWN = """
const [picture] = arguments, canvas = document.createElement("canvas");
canvas.width = picture.naturalWidth;
canvas.height = picture.naturalHeight;
canvas.getContext("2d").drawImage(picture, 0, 0);
return canvas.toDataURL();
"""


@pytest.fixture
def page(tmp_path, jupyter_of_its_own):
    """Notebook 01 in JupyterLab, in a browser."""
    copies = handing_out.hand_out(tmp_path / "course")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(DRIVER)
    with (
        JupyterLab(copies.first, browser=False, allow_root=True) as lab,
        webdriver.Chrome(options=options, service=service) as browser,
    ):
        browser.get(lab.address)
        yield browser


def wait_for(page, css, seconds=90):
    def visible(page):
        return next((e for e in page.find_elements(By.CSS_SELECTOR, css)), None)

    return WebDriverWait(page, seconds).until(visible, f"{css} did not come")


def pixels(page, picture):
    """Return what an image element shows, (H, W, 3) bytes."""
    address = page.execute_script(DRAWN, picture)
    data = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_slider_of_notebook_01_changes_the_picture(page):
    wait_for(page, ".jp-Notebook .jp-Cell")
    WebDriverWait(page, 90).until(
        lambda page: "| Idle" in wait_for(page, "#jp-main-statusbar").text,
        "no kernel came",
    )
    (run,) = (
        item
        for item in page.find_elements(By.CSS_SELECTOR, ".lm-MenuBar-item")
        if item.text == "Run"
    )
    run.click()
    wait_for(page, "[data-command='runmenu:run-all']").click()
    picture = wait_for(page, ".widget-image")
    handles = page.find_elements(By.CSS_SELECTOR, ".widget-slider .noUi-handle")
    labels = page.find_elements(By.CSS_SELECTOR, ".widget-slider .widget-label")
    assert [label.text for label in labels] == ["stride", "padding", "step"]

    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    seen = [pixels(page, picture)]
    assert len(np.unique(seen[0].reshape(-1, 3), axis=0)) > 20  # something is drawn
    for handle in handles:
        handle.send_keys(Keys.ARROW_RIGHT)
        deadline = time.monotonic() + 60
        while np.array_equal(seen[-1], now := pixels(page, picture)):
            assert time.monotonic() < deadline, "the picture did not change"
            time.sleep(0.2)
        assert now.shape == seen[-1].shape  # the page below does not jump
        assert (now != seen[-1]).any(axis=2).mean() > 0.01
        seen.append(now)
