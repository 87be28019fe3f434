"""Results print, draw and save themselves, and never leave half a file."""

import csv
import json
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.shared.result import Result, column, plain
from npresnet.plots import style


@dataclass(frozen=True)
class Row:
    name: str = column("block")
    norm: float = column("norm of <g>", ".2e")
    share: float | None = column("share", ".1%")
    shape: tuple = column("shape")
    count: int = column("count")


@dataclass(frozen=True, repr=False, eq=False)
class Reading(Result):
    rows: tuple[Row, ...]
    totals: np.ndarray
    note: str

    def summary(self):
        return f"two blocks & {self.note}"

    def plot(self):
        with style.house_style():
            figure, (axes,) = style.new_figure(1, width=3, height=2)
            axes.plot([row.norm for row in self.rows])
        return figure


READING = Reading(
    (
        Row("layer1.0", 0.012345, 0.5, (16, 8, 8), 12345),
        Row("layer1.1", 1e-30, None, (16, 8), 2),
    ),
    np.array([1.5, np.nan]),
    "<all>",
)

TEXT = """\
block     norm of <g>  share  shape    count
layer1.0     1.23e-02  50.0%  16x8x8  12,345
layer1.1     1.00e-30         16x8         2

two blocks & <all>"""


def test_a_terminal_shows_a_table_with_numbers_to_the_right():
    assert repr(READING) == TEXT


def test_a_notebook_shows_a_table_and_no_markup_gets_in():
    text = READING._repr_html_()
    assert text.count("<tr>") == 3
    assert text.count("<th ") == text.count("<td ") / 2 == 5
    assert "norm of &lt;g&gt;" in text
    assert "two blocks &amp; &lt;all&gt;" in text


def test_json_holds_everything_and_is_standard(tmp_path):
    READING.save(tmp_path / "reading.json")
    text = (tmp_path / "reading.json").read_text()
    data = json.loads(text, parse_constant=pytest.fail)
    assert data == READING.to_dict()
    assert data["rows"][0]["shape"] == [16, 8, 8]
    assert data["rows"][1]["share"] is None
    assert data["totals"] == [1.5, None]  # JSON has no NaN


def test_csv_holds_every_digit_under_the_fields_names(tmp_path):
    READING.save(tmp_path / "reading.csv")
    with open(tmp_path / "reading.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in fields(Row)]
    assert float(rows[0]["norm"]) == 0.012345
    assert rows[0]["shape"] == "16x8x8"
    assert rows[1]["share"] == ""


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")]
)
def test_the_ending_decides_the_picture(tmp_path, name, start):
    READING.save(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_endings_and_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"reading\.txt.*\.json, \.csv"):
        READING.save(tmp_path / "reading.txt")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        READING.save(tmp_path / "nowhere" / "reading.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["reading.json", "reading.csv", "reading.png"])
def test_a_save_that_fails_leaves_the_older_file(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(b"older")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        READING.save(path)
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_results_without_a_picture_say_so(tmp_path):
    @dataclass(frozen=True, repr=False)
    class Bare(Result):
        rows: tuple[Row, ...]

    with pytest.raises(TypeError, match="no picture of a Bare"):
        Bare(READING.rows).save(tmp_path / "bare.png")
    assert repr(Bare(())) == ""
    assert Bare(())._repr_html_() == ""


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match="plain data"):
        plain({"model": object()})


def every_result(kind=Result):
    for subclass in kind.__subclasses__():
        if subclass.__module__.startswith("npresnet."):
            yield subclass
        yield from every_result(subclass)


def test_all_instruments_results_are_frozen_and_print_as_tables():
    assert nr.lens.Cost in list(every_result())
    for kind in every_result():
        assert is_dataclass(kind)
        assert kind.__dataclass_params__.frozen, kind
        # A dataclass would print all its arrays; a line of one's own is as good.
        assert not kind.__dataclass_params__.repr, f"{kind}: repr=False is missing"
    with pytest.raises(FrozenInstanceError):
        READING.note = "changed"
