"""A training step as a program: the plan's own numbers, and the model left alone."""

import csv
import json
import re

import numpy as np
import pytest

import npresnet as nr
from npresnet.compiler.account import KINDS
from npresnet.lens.shared.preserve_state import preserve_state
from tests.lens.state import left_as_it_was


@pytest.fixture
def found():
    return nr.lens.program(nr.models.resnet8(seed=0), (3, 32, 32), batch=16)


def test_it_is_what_compile_lays_out(found):
    model = nr.models.resnet8(seed=0)
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
    plan = nr.compile(model, nr.nn.CrossEntropyLoss(), optimizer).lay_out(
        (16, 3, 32, 32)
    )
    assert [row.operation for row in found.rows] == [
        line.operation for line in plan.lines
    ]
    assert found.arena == plan.size
    assert [area.offset for area in found.areas] == [one.offset for one in plan.buffers]
    assert found.macs == sum(line.macs for line in plan.lines)


def test_rows_have_hand_counted_numbers(found):
    first = found.rows[0]
    assert (first.section, first.operation, first.layers) == (
        *("forward", "conv2d"),
        "conv1",
    )
    assert first.read == (16, 3, 32, 32)
    assert first.written == (16, 16, 32, 32)
    assert first.written_bytes == 4 * 16 * 16 * 32 * 32
    assert first.moved_bytes == 4 * (16 * 3 * 32 * 32 + 16 * 3 * 9) + (
        first.written_bytes
    )
    assert first.macs == 16 * 32 * 32 * 16 * 3 * 9
    assert first.launches
    last = found.rows[-1]
    assert (last.section, last.operation) == ("backward", "conv2d_grad_weight")
    assert last.written == (16, 3, 3, 3)
    assert last.macs == first.macs


def test_it_prints_the_listing_and_its_totals(found):
    lines = repr(found).splitlines()
    assert max(map(len, lines)) <= 120
    assert "forward: " in repr(found)
    assert re.search(r"\n +update\n +SGD +23 parameters +0\.29\n", repr(found))
    assert repr(found).endswith(found.summary())
    assert "16x3x32x32, float32" in found.summary()


def test_a_notebook_shows_the_lines_that_launch_something(found):
    table = found.table()
    assert len(table.values) == sum(row.launches for row in found.rows)
    assert "<td" in found._repr_html_()


def test_the_default_is_a_batch_of_128():
    found = nr.lens.program(nr.models.resnet8(), (3, 8, 8))
    assert found.account.input_shape == (128, 3, 8, 8)


def test_everything_is_saved(found, tmp_path):
    for name in ("program.json", "program.csv"):
        found.save(tmp_path / name)
    data = json.loads((tmp_path / "program.json").read_text())
    assert data == found.to_dict()
    assert data["arena_bytes"] == found.arena
    assert data["most_at_once_bytes"] == max(data["living_bytes"])
    assert data["layered_most_bytes"] == max(data["layered_bytes"])
    assert data["separate_bytes"] == sum(area["bytes"] for area in data["areas"])
    assert {area["kind"] for area in data["areas"]} <= set(KINDS)
    assert [section["name"] for section in data["sections"]] == [
        *("forward", "running statistics", "backward")
    ]
    with open(tmp_path / "program.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["moved_bytes"]) for row in rows] == [
        row.moved_bytes for row in found.rows
    ]


def test_a_model_in_evaluation_mode_is_looked_at_in_training_mode():
    model = nr.models.resnet8().eval()
    with left_as_it_was(model):
        found = nr.lens.program(model, (3, 8, 8), batch=2)
    assert "running statistics" in {row.section for row in found.rows}


def test_a_step_that_is_under_way_goes_on(rng):
    model = nr.models.resnet8(seed=1)
    x = rng.standard_normal((2, 3, 8, 8), dtype=np.float32)
    grad = rng.standard_normal((2, 10), dtype=np.float32)
    with preserve_state(model):
        model(x)
        expected = model.backward(grad)
    model(x)
    with left_as_it_was(model):
        nr.lens.program(model, (3, 16, 16), batch=4)
    np.testing.assert_array_equal(model.backward(grad), expected)


def test_it_does_not_depend_on_the_backend_that_is_set(found):
    with nr.using_backend("reference"):
        other = nr.lens.program(nr.models.resnet8(seed=0), (3, 32, 32), batch=16)
        assert nr.get_backend() == "reference"
    assert other.to_dict() == found.to_dict()


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "^batch must be an int of at least 1", {"batch": 0}),
        (TypeError, "^batch must be an int", {"batch": 2.5}),
        (ValueError, "^input_shape must be 3 ints", {"input_shape": (3, 32)}),
        (ValueError, "takes no input of", {"input_shape": (4, 32, 32)}),
        (TypeError, "^model must be a Module", {"model": "resnet8"}),
    ],
)
def test_what_is_wrong_is_named(error, message, arguments):
    given = {"model": nr.models.resnet8(), "input_shape": (3, 32, 32), **arguments}
    with pytest.raises(error, match=message) as raised:
        nr.lens.program(**given)
    assert len(str(raised.value).splitlines()) == 1


class Doubled(nr.nn.Module):
    """A layer of somebody's own, that computes with the numbers."""

    def __init__(self):
        super().__init__()
        self.conv = nr.nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return 2 * self.conv(x)

    def backward(self, grad_output, input_grad=True):
        return self.conv.backward(2 * grad_output, input_grad)


@pytest.mark.parametrize(
    "model", [Doubled(), nr.inference(nr.models.resnet8())], ids=["own", "folded"]
)
def test_a_model_that_cannot_be_compiled_is_refused_in_one_line(model):
    with left_as_it_was(model), pytest.raises(TypeError) as raised:
        nr.lens.program(model, (3, 8, 8), batch=2)
    assert len(str(raised.value).splitlines()) == 1
