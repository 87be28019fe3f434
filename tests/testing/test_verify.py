"""verify counts what it checks, finds what is wrong, and says where."""

import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend import fused, kernels, reference
from npresnet.testing import verify
from npresnet.testing.cases import CASES, Case, operation, select
from tests.backend.families import OPERATIONS

LINEAR = select(["linear"])


def scaled(function, factor):
    """Replace a function by one whose result is wrong by a factor."""
    return lambda *args, **options: function(*args, **options) * factor


def with_wrong_weight(backward, factor):
    """Replace a backward pass by one whose second gradient is wrong by a factor."""

    def wrong(grad_output, cache):
        first, second, *rest = backward(grad_output, cache)
        return first, second * factor, *rest

    return wrong


def test_a_report_counts_cases_gradients_and_backends():
    report = verify(cases=LINEAR)
    (row,) = report.rows
    assert report.ok
    assert (row.kind, row.name, row.cases) == ("operation", "linear", 3)
    assert row.checks == report.checks == 2 * (3 + 2 + 3)  # x, weight, bias
    assert 0 < row.worst_error < 1e-7
    assert 0 <= row.difference < 1e-12
    assert row.worst_case.startswith("linear, ")
    assert row.worst_case.endswith(("reference", "numba"))
    assert 0 < row.seconds <= report.seconds
    assert not report.failures


def test_one_backend_is_not_compared():
    report = verify(["reference"], cases=LINEAR)
    assert report.checks == 8
    assert report.backends == ("reference",)
    line = next(x for x in str(report).splitlines() if x.startswith("linear"))
    assert line.split()[4] == "-"


def test_the_table_has_a_line_for_each_and_ends_in_the_count():
    report = verify(["reference"], cases=select(["linear", "relu", "ReLU"]))
    lines = str(report).splitlines()
    for name in ("linear", "relu", "ReLU"):
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.endswith("ok")
    assert lines[-1] == report.summary()
    assert lines[-1].startswith(f"{report.checks} gradients checked, worst relative")
    assert report.worst.worst_case in lines[-1]


def test_progress_is_told_before_each_case():
    told = []
    verify(["reference"], lambda *args: told.append(args), cases=LINEAR)
    assert told == [(i, 3, str(case)) for i, case in enumerate(LINEAR)]


@pytest.mark.parametrize("factor", [0.0, 1.0001, -1.0])
def test_a_wrong_backward_pass_is_found_and_named(monkeypatch, factor):
    backward = nr.functional.linear_backward
    wrong = with_wrong_weight(backward, factor)
    monkeypatch.setattr(nr.functional, "linear_backward", wrong)
    report = verify(cases=select(["linear", "relu"]))
    assert not report.ok
    assert [row.name for row in report.rows if not row.ok] == ["linear"]
    assert len(report.failures) == 6  # three cases, two backends
    for failure in report.failures:
        assert failure.startswith("FAILED linear, ")
        assert "wrong gradient for input 1: 1 of" in failure
    assert report.summary().startswith("FAILED: linear; ")
    assert str(report).count("FAILED") == 1 + 6 + 1


def test_a_gradient_of_nan_is_the_worst_and_still_json(monkeypatch):
    wrong = scaled(nr.functional.relu_backward, np.nan)
    monkeypatch.setattr(nr.functional, "relu_backward", wrong)
    report = verify(["reference"], cases=select(["relu", "linear"]))
    assert not report.ok
    assert report.worst.name == "relu"
    assert np.isnan(report.worst.worst_error)
    told = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert told["worst_error"] is None
    assert [row["ok"] for row in told["rows"]] == [False, True]


def test_a_wrong_kernel_is_found_where_it_is_used(monkeypatch):
    wrong = scaled(kernels.linear_grad_input, 1.001)
    monkeypatch.setattr(kernels, "linear_grad_input", wrong)
    report = verify(cases=select(["linear", "resnet8"])[:4])
    assert [row.ok for row in report.rows] == [False, False]
    alone = [f for f in report.failures if "wrong gradient" in f]
    assert all(", numba: wrong gradient" in failure for failure in alone)
    assert any(
        "the backends differ by 1e-3 in the gradient" in f for f in report.failures
    )


# What is fused has tests against what it puts together; the others are no operations
# of `functional`.
FUSED = {name for name in OPERATIONS if hasattr(fused, name)}
UNVERIFIED = {"add", "sgd_update", *FUSED}


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in UNVERIFIED])
@pytest.mark.parametrize("module", [reference, kernels], ids=["reference", "numba"])
def test_an_error_of_a_millionth_in_any_part_is_found(monkeypatch, module, name):
    right = getattr(module, name)

    def wrong(*args):
        result = right(*args)
        if isinstance(result, tuple):
            return result[0] * (1 + 1e-6), *result[1:]
        return result * (1 + 1e-6)

    cases = [c for c in CASES if c.kind == "operation" and name.startswith(c.name)]
    assert verify(cases=cases).ok
    monkeypatch.setattr(module, name, wrong)
    assert not verify(cases=cases).ok


def test_a_forward_pass_that_differs_is_found_though_its_gradient_is_right(monkeypatch):
    # Every forward pass moved by a constant: no difference quotient sees it.
    forward = reference.linear

    def moved(x, weight):
        return forward(x, weight) + 1e-6

    monkeypatch.setattr(reference, "linear", moved)
    report = verify(cases=LINEAR)
    assert len(report.failures) == 3
    for failure in report.failures:
        assert "backends differ by" in failure
        assert "in the output" in failure


def test_an_operation_that_raises_has_failed(monkeypatch):
    def broken(grad_output, cache):
        raise IndexError("no such axis")

    monkeypatch.setattr(nr.functional, "relu_backward", broken)
    report = verify(["reference"], cases=select(["relu", "linear"]))
    assert [row.ok for row in report.rows] == [False, True]
    assert "IndexError: no such axis" in report.failures[0]


def test_a_case_of_ones_own_can_be_verified():
    case = operation("conv2d", "my own", (1, 2, 5, 5), (3, 2, 3, 3), padding=2)
    report = verify(cases=[case])
    assert report.ok
    assert report.checks == 4
    silent = Case("operation", "none", "none", lambda: ((None, None), ()), 1e-7)
    assert not verify(["reference"], cases=[silent]).ok


def test_the_backend_in_use_is_left_as_it_was(backend):
    verify(["numba", "reference"], cases=LINEAR[:1])
    assert nr.get_backend() == backend


def test_nothing_to_do_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="at least one backend and one case"):
        verify([])
    with pytest.raises(ValueError, match="at least one backend and one case"):
        verify(cases=[])
    with pytest.raises(ValueError, match="'torch'"):
        verify(["reference", "torch"], cases=LINEAR)
    with pytest.raises(ValueError, match="nothing is called 'conv3d'; known: conv2d, "):
        select(["conv2d", "conv3d"])
    assert select([]) == CASES
