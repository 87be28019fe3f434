"""report.html says what came of a run, holds everything, and trusts nobody's names."""

import base64
import html
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import npresnet as nr
from npresnet.training import (
    RunFolder,
    TrainingInterrupted,
    evaluate,
    write_report,
)
from npresnet.training.report import errors
from npresnet.training.report.page import _interval
from tests.training.small import new_model, small_data, stopping
from tests.training.tiny import train, weights_of

pytestmark = pytest.mark.drawn


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "run", validation=40, lr=0.2)


@pytest.fixture(scope="module")
def page(run):
    return (run.folder / "report.html").read_text()


@pytest.fixture(scope="module")
def words(page):
    """What a person reads, without the style sheet."""
    body = page[page.index("<body") :]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def percent(share, digits=2):
    return f"{100 * share:.{digits}f} %"


def test_accuracy_and_figures_are_those_of_the_run(run, page, words):
    assert f'<p class="accuracy">{percent(run.test.accuracy)}</p>' in page
    assert f"{run.test.correct} of 60 test images are right" in words
    last = run.history[-1]
    for value in (
        f"{run.test.loss:.4f}",
        percent(last["validation_accuracy"]),
        percent(last["train_accuracy"]),
        "75,290",
    ):
        assert value in words
    assert f"<title>ResNet on digits: {percent(run.test.accuracy)}</title>" in page


def test_the_matrix_counts_every_image_once(run, page):
    table = re.search(r'<table class="matrix.*?</table>', page, re.DOTALL)[0]
    cells = re.findall(r'<td class="(\w+)"[^>]*>(\d+)</td>', table)
    counts = np.array([int(count) for _, count in cells]).reshape(10, 10)
    np.testing.assert_array_equal(counts, run.test.confusion())
    assert counts.sum() == 60
    assert np.trace(counts) == run.test.correct
    kinds = np.array([kind for kind, _ in cells]).reshape(10, 10)
    assert set(kinds[np.eye(10, dtype=bool)]) <= {"right", "none"}
    assert set(kinds[~np.eye(10, dtype=bool)]) <= {"wrong", "none"}


def test_the_mistakes_are_shown_as_they_are_the_surest_first(run, page):
    items = re.findall(r"<li>(.*?)</li>", page, re.DOTALL)
    wrong = run.test.total - run.test.correct
    assert len(items) == min(wrong, 24) > 0
    sure = [float(re.search(r"([\d.]+) % sure", item)[1]) for item in items]
    assert sure == sorted(sure, reverse=True)
    _, test = small_data()
    shown = {}
    for item in items:
        source = re.search(r'src="data:image/png;base64,([^"]+)"', item)[1]
        picture = Image.open(io.BytesIO(base64.b64decode(source)))
        pixels = np.asarray(picture).transpose(2, 0, 1)
        (index,) = np.flatnonzero((test.images == pixels).all(axis=(1, 2, 3)))
        label, predicted = re.findall(r"</span> (\w+)</p>", item)
        shown[int(index)] = (label, predicted)
    for index, (label, predicted) in shown.items():
        assert label == test.classes[test.labels[index]]
        assert predicted == test.classes[run.test.logits[index].argmax()]
        assert label != predicted


def test_settings_stand_with_their_values_and_sources(page, words):
    row = re.search(r"<tr>[^\n]*<code>lr</code>[^\n]*", page)[0]
    assert "<td>0.2</td>" in row
    row = re.search(r"<tr>[^\n]*<code>batch_size</code>[^\n]*", page)[0]
    assert '<td>32</td><td class="source">here</td>' in row
    assert "Not used: max_steps" in words


def test_machine_and_origin_are_named(words):
    environment = nr.training.machine.describe()
    for name in ("cpu", "platform", "python", "numpy", "numba"):
        assert environment[name] in words
    # Without the command line there is none to repeat it.
    assert "started from Python" in words


def test_the_page_needs_nothing_from_elsewhere(page):
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    links = re.findall(r'(?:src|href)="([^"]*)"', without_namespaces)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "//" not in re.sub(r'"data:[^"]*"', "", without_namespaces)
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_names_are_text_whatever_they_say(tmp_path, run):
    train_set, test = small_data()
    hostile = ("<script>alert(1)</script>", '"><img src=x>', "a & b", *"3456789")
    model = new_model()
    result = nr.training.fit(
        model,
        replace(train_set, classes=hostile, name="<b>data</b>"),
        replace(test, classes=hostile, name="<b>data</b>"),
        recipe=run.recipe.changed(epochs=1),
        out=tmp_path / "run",
        quiet=True,
    )
    page = (result.folder / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>data" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_it_can_be_made_anew_from_the_folder(run, page):
    model = new_model(7)
    model.load_state_dict(weights_of(run.folder))
    _, test = small_data()
    (run.folder / "report.html").unlink()
    path = write_report(str(run.folder), test, evaluate(model, test))
    assert path == run.folder / "report.html"
    assert path.read_text() == page


def test_a_run_that_was_stopped_says_how_far_it_came(tmp_path, words):
    assert "not finished" not in words
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "cut", progress=stopping(3))
    assert not (tmp_path / "cut" / "report.html").exists()
    model = new_model(7)
    model.load_state_dict(weights_of(tmp_path / "cut"))
    _, test = small_data()
    path = write_report(tmp_path / "cut", test, evaluate(model, test))
    assert "not finished: epoch 2 of 3" in path.read_text()


def test_no_mistake_is_said_so(run, tmp_path):
    _, test = small_data()
    perfect = np.eye(10)[test.labels] * 20
    result = nr.training.Evaluation(60, 60, 0.0, False, perfect, test.labels)
    path = write_report(run.folder, test, result)
    assert "None: every test image is right." in path.read_text()
    assert "100.00 %" in path.read_text()


def test_a_class_without_images_has_no_accuracy(run):
    _, test = small_data()
    few = test.subset(np.flatnonzero(test.labels != 4))
    logits = np.eye(10)[few.labels]
    result = nr.training.Evaluation(len(few), len(few), 0.0, False, logits, few.labels)
    rows = errors.class_by_class(result, few.classes)
    assert (rows[4].accuracy, rows[4].total) == (None, 0)
    assert "–" in write_report(run.folder, few, result).read_text()


def test_too_many_classes_for_a_matrix_are_left_to_the_list():
    labels = np.arange(100)
    logits = np.eye(100)[(labels + 1) % 100]
    result = nr.training.Evaluation(0, 100, 5.0, False, logits, labels)
    names = [f"class {label}" for label in labels]
    assert errors.matrix(result, names) is None
    rows = errors.class_by_class(result, names)
    assert (rows[7].correct, rows[7].taken_for) == (0, "class 8 (1)")


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (2, "L")])
def test_pictures_of_any_number_of_channels_can_be_shown(channels, mode, rng):
    images = rng.integers(0, 256, (2, channels, 5, 4), dtype=np.uint8)
    dataset = nr.data.Dataset(
        images, np.array([0, 1]), ("a", "b"), [0.5] * channels, [1.0] * channels, "x"
    )
    logits = np.array([[0.0, 1.0], [0.0, 2.0]])
    result = nr.training.Evaluation(1, 2, 1.0, False, logits, dataset.labels)
    (mistake,) = errors.confident_mistakes(result, dataset, 5)
    assert mistake.confidence == pytest.approx(1 / (1 + np.exp(-1)))
    png = base64.b64decode(mistake.picture.partition(",")[2])
    picture = Image.open(io.BytesIO(png))
    assert (picture.mode, picture.size) == (mode, (4, 5))


def test_the_interval_is_wilsons():
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    assert _interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert _interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert _interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert _interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_what_is_missing_is_named(run, tmp_path):
    _, test = small_data()
    with pytest.raises(FileNotFoundError, match="holds no run"):
        write_report(tmp_path, test, run.test)
    with pytest.raises(ValueError, match="result: expected the logits of the 9 images"):
        write_report(run.folder, test.subset(range(9)), run.test)
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    begun.write_config(json.loads((run.folder / "config.json").read_text()))
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv"):
        write_report(begun, test, run.test)
