"""The parity receipts under docs/ are those that the code writes, and they notice."""

import numpy as np
import pytest

import npresnet as nr

pytest.importorskip("torch")

from tests.models.built import built
from tests.oracle import measure, receipt

# The others are written again by the long run.
ORDINARY = "resnet20-A"
# Of each kind of network one; depth makes programs longer and no different.
COMPILED = (ORDINARY, "resnet20-B", "resnet20-C", "plain20", "resnet18", "resnet50")


def read(title):
    return (receipt.FOLDER / f"{title}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=() if title == ORDINARY else pytest.mark.slow)
        for title in receipt.NETWORKS
    ],
)
@pytest.mark.timeout(1800)
def test_a_receipt_written_again_has_the_same_tensors_within_their_limits(
    torch, oracle, title
):
    again, failures = receipt.write(torch, oracle, title)
    assert not failures
    assert receipt.structure(again) == receipt.structure(read(title))


@pytest.mark.parametrize("title", receipt.NETWORKS)
def test_a_receipt_counts_every_tensor_and_can_be_read(title):
    text = read(title)
    assert len(text.splitlines()) <= 250
    assert "Beyond the limits" not in text
    name, options, _ = receipt.NETWORKS[title]
    model = built(name, **options)
    expected = {
        "parameter gradients": len(list(model.named_parameters())),
        "running statistics": len(list(model.named_buffers())),
        "weights after ten steps": len(list(model.named_parameters())),
        "input gradient": 1,
    }
    for mode in receipt.MODES:
        for kind, count in expected.items():
            assert f"| {mode}: {kind} | {count} |" in text
    # The second table divides the same tensors by module.
    by_kind, by_module = text.split("## By kind")[1].split("## By module")
    total = int(receipt.LINE.search(text)["tensors"].replace(",", ""))
    for table in (by_kind, by_module):
        rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
        assert sum(int(row.split("|")[2]) for row in rows) == total


def test_the_index_lists_every_receipt():
    index = (receipt.FOLDER / "README.md").read_text(encoding="utf-8")
    assert index == receipt.index(receipt.FOLDER)
    files = {path.stem for path in receipt.FOLDER.glob("*.md")} - {"README"}
    assert files == set(receipt.NETWORKS)


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [({"weight_decay": 0.0}, "weight after"), ({"nesterov": False}, "weight after")],
    ids=["no weight decay", "no Nesterov"],
)
def test_a_receipt_notices_another_optimiser(torch, oracle, monkeypatch, mistake, kind):
    def wrong(parameters, lr, **settings):
        return right(parameters, lr, **(settings | mistake))

    right = nr.optim.SGD
    monkeypatch.setattr(nr.optim, "SGD", wrong)
    monkeypatch.setattr(measure, "count", lambda mode: None)  # no parity to report
    mode = measure.measure(torch, oracle, "plain8", {}, (2, 3, 8, 8), True)
    assert any(kind in failure for failure in mode.failures())


def test_a_receipt_notices_a_wrong_activation(torch, oracle, monkeypatch):
    forward = nr.nn.ReLU.forward

    def wrong(self, x):
        return forward(self, x) + x.dtype.type(1e-4)

    monkeypatch.setattr(nr.nn.ReLU, "forward", wrong)
    monkeypatch.setattr(measure, "count", lambda mode: None)
    mode = measure.measure(torch, oracle, "resnet8", {}, (2, 3, 8, 8), False)
    failures = list(mode.failures())
    assert any("float64" in failure for failure in failures)
    assert any("float32" in failure for failure in failures)


def test_nan_passes_no_limit():
    truth = {"loss": np.float64(1.0)}
    assert (
        measure.relative_errors({"loss": np.float64(np.nan)}, truth)["loss"] == np.inf
    )


def test_the_command_writes_a_receipt_and_the_index(tmp_path, monkeypatch, capsys):
    case = ("resnet8", {"shortcut": "B"}, (2, 3, 8, 8))
    monkeypatch.setattr(receipt, "NETWORKS", {"resnet8-B": case})
    assert receipt.main(["resnet8", "--shortcut", "B", "--out", str(tmp_path)]) == 0
    assert "tensors compared" in capsys.readouterr().out
    assert "resnet8 B" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "resnet8-B.md").is_file()
    with pytest.raises(SystemExit) as caught:
        receipt.main(["resnet8", "--shortcut", "A", "--out", str(tmp_path)])
    assert caught.value.code == 2
    assert "no receipt for resnet8 with shortcut A" in capsys.readouterr().err


def test_the_command_fails_when_a_limit_is_passed(tmp_path, monkeypatch, capsys):
    case = ("resnet8", {"shortcut": "B"}, (2, 3, 8, 8))
    monkeypatch.setattr(receipt, "NETWORKS", {"resnet8-B": case})
    monkeypatch.setattr(measure, "NETWORK_FACTOR32", 1e-3)
    assert receipt.main(["resnet8", "--out", str(tmp_path)]) == 1
    assert "beyond its limit" in capsys.readouterr().err
    assert "Beyond the limits" in (tmp_path / "resnet8-B.md").read_text("utf-8")


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(
    "title",
    [
        pytest.param(title, marks=() if title == ORDINARY else pytest.mark.slow)
        for title in COMPILED
    ],
)
@pytest.mark.timeout(600)
def test_a_receipt_holds_for_the_compiled_form_which_leaves_the_same_bits(
    title, training
):
    name, options, shape = receipt.NETWORKS[title]
    rng = np.random.default_rng(0)
    models = [nr.models.create(name, seed=3, **options).train(training) for _ in "ab"]
    optimizers = [
        nr.optim.SGD(model.parameters(), 1e-4, 0.9, weight_decay=1e-4, nesterov=True)
        for model in models
    ]
    criterion = nr.nn.CrossEntropyLoss()
    step = nr.compile(models[0], criterion, optimizers[0])
    for _ in range(3):
        x = rng.standard_normal(shape, dtype=np.float32)
        labels = rng.integers(0, 10, shape[0])
        _, logits = step(x, labels)
        expected = models[1](x)
        criterion(expected, labels)
        models[1].zero_grad()
        models[1].backward(criterion.backward(), input_grad=False)
        optimizers[1].step()
        np.testing.assert_array_equal(logits, expected)
    for (path, ours), theirs in zip(
        models[0].named_parameters(), models[1].parameters(), strict=True
    ):
        np.testing.assert_array_equal(ours.data, theirs.data, path)
        np.testing.assert_array_equal(ours.grad, theirs.grad, path)
    state = models[1].state_dict()
    for path, value in models[0].state_dict().items():
        np.testing.assert_array_equal(value, state[path], path)
