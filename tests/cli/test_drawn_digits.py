"""A network for the digits reads digits that somebody drew, not only the data set's."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

import npresnet as nr
from tests.cli.drawn_digits import HANDS, PAPERS, Paper, draw
from tests.cli.program import assert_one_error_line, invoke


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Every digit on every kind of paper, and by every hand: (path, digit, kind)."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(7)
    pictures = []
    for kind, paper in PAPERS.items():
        for digit in range(10):
            pictures.append((draw(digit, rng, paper), digit, kind))
    for digit, hands in HANDS.items():
        for hand in range(len(hands)):
            picture = draw(digit, rng, Paper(size=(80, 100)), hand)
            pictures.append((picture, digit, "every hand"))
    saved = []
    for number, (picture, digit, kind) in enumerate(pictures):
        picture.save(folder / f"{number}.png")
        saved.append((folder / f"{number}.png", digit, kind))
    return saved


def shares(answers, drawn):
    """Return the share that is right, in all and for every kind of paper."""
    right = np.array(answers) == [digit for _, digit, _ in drawn]
    kinds = np.array([kind for *_, kind in drawn])
    return right.mean(), {kind: right[kinds == kind].mean() for kind in set(kinds)}


def answers_before(weights, drawn):
    """Name digits in pictures that were only made smaller, as predict once did."""
    model = nr.models.resnet8(num_classes=10)
    model.load_state_dict(nr.weights.load(weights))
    model.eval()
    small = [ImageOps.fit(Image.open(path), (8, 8)) for path, *_ in drawn]
    pixels = np.repeat(np.stack([np.asarray(one) for one in small])[:, None], 3, axis=1)
    train, _ = nr.data.digits()
    with nr.no_grad():
        logits = model(nr.data.normalize(pixels, train.mean, train.std))
    return logits.argmax(axis=1)


def test_drawn_digits_are_read_where_they_are_drawn(
    trained_digits, drawn, record_property
):
    """Before: a third right, where chance gives a tenth. Now: 97 of 100."""
    before, _ = shares(answers_before(trained_digits, drawn), drawn)
    result = invoke("predict", trained_digits, *(path for path, *_ in drawn), "--json")
    assert result.exit_code == 0, result.output
    answers = [one["label"] for one in json.loads(result.stdout)["predictions"]]
    now, by_kind = shares(answers, drawn)
    record_property("right before", float(before))
    record_property("right now", float(now))
    assert before < 0.4
    assert now > 0.9, by_kind
    assert min(by_kind.values()) >= 0.7, by_kind


def test_the_data_sets_own_digits_are_read_enlarged_and_inverted_too(
    trained_digits, tmp_path
):
    _, test = nr.data.digits()
    few = test.subset(range(0, 360, 6))
    kinds = {"small": [], "inverted": [], "enlarged": []}
    for number, image in enumerate(few.images[:, 0]):
        large = Image.new("L", (150, 170))
        own = Image.fromarray(image)
        large.paste(own.resize((96, 96), Image.Resampling.BICUBIC), (40, 20))
        for kind, picture in (
            ("small", own),
            ("inverted", ImageOps.invert(own)),
            ("enlarged", large),
        ):
            kinds[kind].append(tmp_path / f"{kind}{number}.png")
            picture.save(kinds[kind][-1])
    paths = [path for several in kinds.values() for path in several]
    told = json.loads(invoke("predict", trained_digits, *paths, "--json").stdout)
    answers = np.array([one["label"] for one in told["predictions"]]).reshape(3, -1)
    small, inverted, enlarged = (answers == few.labels).mean(axis=1)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert small == inverted > 0.9
    assert enlarged > 0.85


def test_what_was_done_to_a_digit_is_said(trained_digits, tmp_path):
    path = tmp_path / "seven.png"
    paper = np.full((120, 100), 250, np.uint8)
    paper[20:100, 30:35] = paper[20:25, 30:70] = 10
    Image.fromarray(paper).save(path)
    result = invoke("predict", trained_digits, path)
    assert result.stderr == (
        f"{path}: dark ink on light: inverted; ink found at 30,20 to 70,100 of "
        "100x120: cropped, centred and scaled as the data set's digits are\n"
    )
    image = ("--image", path)
    look = invoke("lens", "saliency", trained_digits, *image, "--json")
    assert "ink found at 30,20" in look.stderr
    Image.fromarray(255 - paper).save(path)
    assert "inverted" not in invoke("predict", trained_digits, path).stderr


def test_a_blank_picture_is_refused(trained_digits, tmp_path):
    for number, level in enumerate((0, 128, 255)):
        path = tmp_path / f"{number}.png"
        Image.new("L", (60, 60), level).save(path)
        result = invoke("predict", trained_digits, path)
        assert_one_error_line(result, str(path), "no ink found")
