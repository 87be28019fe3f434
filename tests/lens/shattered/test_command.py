"""`npresnet lens shattered`: networks of several depths, drawn together."""

import csv
import json

import pytest

import npresnet as nr
from tests.cli.conftest import (  # noqa: F401
    _algorithm_of_a_user,
    _nothing_is_said_of_compiling,
    trained_digits,
)
from tests.cli.program import assert_one_error_line, invoke

SMALL = ("--images", 4, "--lines", 2, "--points", 16, "--lags", 4)


def batch(images, seed=0):
    train, _ = nr.data.digits()
    return next(nr.data.batches(train, images, shuffle=True, seed=seed, epoch=0))


def test_several_networks_are_written_printed_and_drawn_once(tmp_path):
    args = ("lens", "shattered", "resnet8", "plain14", *SMALL, "--out", tmp_path)
    result = invoke(*args, "--output", 3)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "shattered-plain14.csv",
        "shattered-plain14.json",
        "shattered-resnet8-plain14.png",
        "shattered-resnet8.csv",
        "shattered-resnet8.json",
    ]
    assert result.stdout.count("the gradients of neighbours correlate") == 2
    x, _ = batch(4)
    expected = nr.lens.shattered(
        nr.models.plain14(), x, lines=2, points=16, lags=4, output=3
    )
    data = json.loads((tmp_path / "shattered-plain14.json").read_text())
    # Winograd's roundings open and close a ReLU here and there.
    assert data["neighbours"] == pytest.approx(expected.neighbours, abs=0.05)
    assert data["training"] is True
    with open(tmp_path / "shattered-plain14.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5
    other = invoke(*args, "--seed", 7)
    assert_one_error_line(other, "shattered-plain14.csv", "already")


def test_json_holds_every_network():
    result = invoke("lens", "shattered", "resnet8", "plain8", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert [one["layers"] for one in answer["results"]] == [8, 8]
    assert [one["residual"] for one in answer["results"]] == [True, False]


def test_what_is_wrong_is_named():
    def refused(*args):
        return invoke("lens", "shattered", *args)

    assert_one_error_line(refused(), "WEIGHTS_OR_MODEL")
    assert_one_error_line(refused("resnet9"), "resnet9")
    assert_one_error_line(refused("resnet8", "--lines", 17), "--lines 17", "32")
    assert_one_error_line(refused("resnet8", "--points", 7), "--points")
    assert_one_error_line(refused("resnet8", "--lags", 256), "--lags 256", "256")
    assert_one_error_line(refused("resnet8", "--output", 10), "output", "0 to 9")
    assert len(refused("--help").stdout) > 500
