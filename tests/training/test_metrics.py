"""metrics.csv is read back as it was written."""

import pytest

from npresnet.training import RunFolder
from npresnet.training.metrics import measured, read_metrics, total

HISTORY = [
    {"epoch": 1, "lr": 0.1, "test_accuracy": None, "seconds": 12.3456789},
    {"epoch": 2, "lr": 0.0, "test_accuracy": 0.5, "seconds": 1e-7},
]


def test_what_was_written_is_read(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_metrics(HISTORY)
    rows = read_metrics(folder.metrics_path)
    assert rows[0] == {**HISTORY[0], "seconds": 12.3457}
    assert rows[1] == HISTORY[1]
    assert [type(row["epoch"]) for row in rows] == [int, int]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a row per epoch"),
        ("epoch,lr\n", "expected a row per epoch"),
        ("lr\n0.1\n", "expected a row per epoch"),
        ("epoch,lr\n1,fast\n", "not a table of numbers.*fast"),
        ("epoch,lr\n1,nan\n", "not finite"),
        ("epoch,lr\n1\n", "not a table of numbers"),
        ("epoch,lr\n1,2,3\n", "not a table of numbers"),
    ],
)
def test_what_is_no_table_of_epochs_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"metrics\.csv: .*{message}"):
        read_metrics(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        read_metrics(tmp_path / "none.csv")


def test_values_are_summed_and_a_missing_one_is_named():
    assert total(HISTORY, "seconds") == pytest.approx(12.3456790)
    with pytest.raises(ValueError, match="epoch 1: expected a test_accuracy"):
        measured(HISTORY[0], "test_accuracy")
    with pytest.raises(ValueError, match="epoch 1: expected a speed"):
        total(HISTORY, "speed")
