"""What a page shows: pictures with captions, sliders that draw anew, real source."""

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

import npresnet as nr
from npresnet.course import pages

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def displayed(monkeypatch):
    """Collect what is displayed instead of showing it."""
    bundles = []
    monkeypatch.setattr(pages, "_display", bundles.append)
    return bundles


def draw(size=2, shift=0):
    return nr.plots.planes([np.arange(size * size).reshape(size, size) + shift], ["x"])


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_figure_is_shown_with_its_caption_below(displayed):
    nr.course.show(draw(), "See the corner.")
    assert [list(bundle) for bundle in displayed] == [["image/png"], ["text/markdown"]]
    assert displayed[1]["text/markdown"] == "*See the corner.*"
    shown = picture(base64.b64decode(displayed[0]["image/png"]))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 4


def test_the_same_figure_has_the_same_bytes(displayed):
    nr.course.show(draw(), "a")
    nr.course.show(draw(), "a")
    assert displayed[0] == displayed[2]


def test_sliders_draw_anew_when_they_move(displayed, monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    boxes = []

    class Box(ipywidgets.VBox):
        def __init__(self, children):
            boxes.append(children)
            super().__init__(children)

    monkeypatch.setattr(ipywidgets, "VBox", Box)
    nr.course.sliders(draw, "Try it.", start={"size": 3}, size=[2, 3, 4], shift=[0, 9])
    bundle, caption = displayed
    assert set(bundle) == {"image/png", WIDGET}  # live, and still for the web
    assert caption["text/markdown"] == "*Try it.*"
    (size, shift, image) = boxes[0]
    assert (size.value, shift.value) == (3, 0)
    still = base64.b64decode(bundle["image/png"])
    assert bytes(image.value) == still == pages._png(draw(3, 0))
    size.value = 4
    shift.value = 9
    assert bytes(image.value) == pages._png(draw(4, 9))


def test_without_ipywidgets_there_is_the_still_picture(displayed, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    nr.course.sliders(draw, "Try it.", size=[2, 3])
    assert [list(bundle) for bundle in displayed] == [["image/png"], ["text/markdown"]]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"size": []},
        {"size": [2], "start": {"size": 3}},
        {"size": [2], "start": {"a": 1}},
    ],
    ids=str,
)
def test_sliders_without_choices_are_refused(arguments):
    with pytest.raises(ValueError, match="expected values"):
        nr.course.sliders(draw, "caption", **arguments)


def test_source_is_that_of_the_package():
    shown = nr.course.source(nr.functional.relu_forward)
    assert repr(shown).startswith(
        "# npresnet/functional/activation.py\ndef relu_forward"
    )
    assert '"""' not in repr(shown)
    whole = repr(nr.course.source(nr.functional.relu_forward, docstring=True))
    assert '"""' in whole
    markdown = shown._repr_markdown_()
    assert markdown.startswith("`npresnet/functional/activation.py`\n\n```python\ndef ")


def test_source_of_a_method_and_a_class():
    block = nr.models.BasicBlock
    assert repr(nr.course.source(block)).splitlines()[1].startswith("class BasicBlock")
    method = repr(nr.course.source(block.backward)).splitlines()
    assert method[1].startswith("def backward(")  # not indented any more


def test_a_readers_own_function_has_no_place_in_the_package():
    assert repr(nr.course.source(draw)).startswith("def draw(")


def test_what_has_no_source_is_told():
    with pytest.raises(TypeError):
        nr.course.source(np.add)
