"""The command line on machines as people have them: caches, containers, notebooks."""

import warnings

import click
import pytest

from npresnet import _notices
from npresnet._notices import notice
from npresnet.backend import kernel_cache
from npresnet.cli import main
from tests.cli.program import invoke


@pytest.fixture
def _shows_warnings(monkeypatch):
    """Let warnings be shown, as in a process of its own."""
    monkeypatch.setattr(_notices, "_said", set())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


@pytest.mark.usefixtures("_shows_warnings")
def test_a_notice_is_one_line_said_once_and_other_warnings_stay_as_they_are(
    monkeypatch,
):
    @click.command
    def noticing():
        for _ in range(3):
            notice("the disk is full")
        warnings.warn("something else", DeprecationWarning, stacklevel=1)

    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda text, *_: others.append(text))
    monkeypatch.setitem(main.commands, "noticing", noticing)
    before = warnings.showwarning
    assert invoke("noticing").stderr == "npresnet: the disk is full\n"
    assert [str(other) for other in others] == ["something else"]
    assert warnings.showwarning is before


@pytest.mark.usefixtures("_shows_warnings")
def test_doctor_says_which_kernels_were_damaged_and_where_they_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        kernel_cache, "choice", lambda: kernel_cache.Choice(tmp_path, "/full: no space")
    )
    for check in ("_check_backends", "_check_gradient"):  # would compile
        monkeypatch.setattr(f"npresnet.cli.doctor.{check}", lambda: ("", True, ""))
    for name in ("one", "two", "three"):
        kernel_cache.save(tmp_path, name, "key", b"code")
    (tmp_path / "two.nbc").write_bytes(b"half")
    result = invoke("doctor")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "kernel cache" in line]
    assert f"{tmp_path}, 2 compiled kernels; 1 more damaged" in line
    assert "/full: no space" in line
    assert "no space" not in result.stderr


def no_pictures(monkeypatch):
    from npresnet.plots import style

    def fail():
        raise RuntimeError("no font is to be found")

    monkeypatch.setattr(style, "matplotlib", fail)


def test_an_instrument_without_its_picture_gives_its_numbers_and_says_why(
    tmp_path, monkeypatch
):
    with_picture = invoke("lens", "filters", "resnet8", "--out", tmp_path / "with")
    assert with_picture.exit_code == 0
    no_pictures(monkeypatch)
    result = invoke("lens", "filters", "resnet8", "--out", tmp_path / "without")
    assert result.exit_code == 2
    assert result.stdout == with_picture.stdout
    *wrote, last = result.stderr.splitlines()
    picture = tmp_path / "without" / "filters-resnet8.png"
    assert last == (
        f"npresnet: error: {picture}: no picture (RuntimeError: no font is to be found)"
    )
    assert [line.rpartition(".")[2] for line in wrote] == ["json", "csv"]
    assert {path.suffix for path in picture.parent.iterdir()} == {".json", ".csv"}
