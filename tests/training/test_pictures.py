"""A picture never stops a training: what is missing is said in one line."""

import os

import pytest

import npresnet as nr
from npresnet import _notices, plots
from npresnet._notices import Notice
from npresnet.plots import style
from npresnet.training import RunFolder, write_report
from tests.training.small import assert_same_run, run
from tests.training.tiny import train

pytestmark = pytest.mark.drawn


@pytest.fixture(autouse=True)
def _nothing_has_been_said(monkeypatch):
    monkeypatch.setattr(_notices, "_said", set())


def fails(error):
    def fail(*arguments, **options):
        raise error

    return fail


LATEX = RuntimeError("Failed to process string with tex\nbecause latex is missing")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (LATEX, "RuntimeError: Failed to process string with tex because latex is"),
        (ImportError("no such backend"), "ImportError: no such backend"),
        (ValueError("x" * 5000), f"ValueError: {'x' * 160}..."),
        (KeyError(), "KeyError"),
    ],
)
def test_whatever_went_wrong_is_said_in_a_few_words(error, words):
    assert _notices.reason(error).startswith(words)
    assert len(_notices.reason(error)) < 200


def test_a_run_goes_on_without_its_picture_and_says_so_once(
    data, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(plots, "learning_curves", fails(LATEX))
    with pytest.warns(Notice) as said:
        run(data, tmp_path / "run")
    (text,) = [str(one.message) for one in said]
    assert text.startswith(f"{tmp_path / 'run' / 'curves.png'}: not drawn, going on")
    assert "(RuntimeError: Failed to process string with tex because latex" in text
    assert "\n" not in text
    assert_same_run(whole, tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    assert not list((tmp_path / "run").glob(".*"))


def test_an_interruption_while_the_picture_is_drawn_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "learning_curves", fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt, match="resume"):
        train(tmp_path / "run")


def test_a_report_without_curves_says_why_and_has_all_the_rest(
    data, whole, tmp_path, monkeypatch
):
    folder = RunFolder(whole)
    result = nr.training.evaluate(nr.models.create("resnet8", num_classes=10), data[1])
    before = write_report(folder, data[1], result).read_text()
    monkeypatch.setattr(plots, "curve_panels", fails(RuntimeError("no <fonts>")))
    with pytest.warns(Notice, match="without the learning curves"):
        without = write_report(folder, data[1], result).read_text()
    assert "could not be drawn here (RuntimeError: no &lt;fonts&gt;)" in without
    assert "could not be drawn" not in before
    after = "<h2>Class by class"
    assert without[without.index(after) :] == before[before.index(after) :]


@pytest.mark.parametrize(
    "setting",
    [
        {"text.usetex": True},
        {"savefig.format": "no-such-format", "savefig.bbox": "tight"},
        {"axes.formatter.use_mathtext": True, "svg.fonttype": "none"},
        {"figure.autolayout": True},
    ],
)
def test_settings_of_the_users_change_no_picture(tmp_path, setting):
    import matplotlib as mpl

    history = [{"epoch": 1, "lr": 0.1, "test_loss": 2.0, "test_accuracy": 0.3}]

    def picture(name):
        nr.plots.learning_curves(history, tmp_path / name)
        (panel, *_) = plots.curve_panels(history).values()
        return (tmp_path / name).read_bytes(), plots.inline_svg(panel, "a", "b")

    usual = picture("usual.png")
    with mpl.rc_context(setting):
        assert picture("theirs.png") == usual
        assert all(mpl.rcParams[name] == value for name, value in setting.items())


def test_fonts_of_the_users_count():
    """Class names may be written in any language."""
    import matplotlib as mpl

    with mpl.rc_context({"font.family": ["serif"]}), style.house_style():
        assert mpl.rcParams["font.family"] == ["serif"]


def test_a_backend_that_does_not_exist_keeps_nothing_from_being_drawn(tmp_path):
    import subprocess
    import sys

    program = (
        "import os; from npresnet.plots import learning_curves as draw;"
        "row = {'epoch': 1, 'lr': 0.1, 'test_loss': 2.0, 'test_accuracy': 0.3};"
        f"draw([row], {str(tmp_path / 'curves.png')!r});"
        "assert os.environ['MPLBACKEND'] == 'nonsense'"
    )
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert (tmp_path / "curves.png").stat().st_size > 1000
