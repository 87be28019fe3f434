"""The published CIFAR ResNets: their files load, and their accuracy is reproduced."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import npresnet as nr
from npresnet.cli import main
from tests.oracle import networks
from tests.oracle.compare import assert_as_accurate, assert_matches

# 91.73 %, what PyTorch counts with the same file.
RIGHT = 9173
RIGHT_OF_1000 = 915


@pytest.fixture
def published():
    """Name the folder of CIFAR-10, and the published file beside it."""
    if "NPRESNET_DATA_DIR" not in os.environ:
        pytest.skip("NPRESNET_DATA_DIR is not set")
    data_dir = Path(os.environ["NPRESNET_DATA_DIR"])
    path = data_dir.parent / "checkpoints" / "resnet20-12fca82f.th"
    if not path.is_file():
        pytest.skip(f"there is no checkpoints/{path.name} beside NPRESNET_DATA_DIR")
    return data_dir, path


def test_the_published_resnet20_is_right_about_the_first_thousand_images(published):
    data_dir, path = published
    _, test = nr.data.cifar10(data_dir)
    model = nr.models.resnet20(shortcut="A")
    model.load_state_dict(nr.weights.load(path))
    statistics = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    result = nr.training.evaluate(model, test.subset(range(1000)), **statistics)
    assert abs(result.correct - RIGHT_OF_1000) <= 1


@pytest.mark.slow
def test_the_published_resnet20_reaches_its_published_accuracy(published):
    data_dir, path = published
    options = ["--dataset", "cifar10", "--data-dir", str(data_dir)]
    options += ["--model", "resnet20", "--shortcut", "A"]
    options += ["--normalization", "imagenet", "--json"]
    result = CliRunner().invoke(main, ["eval", str(path), *options])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["total"] == 10_000
    assert abs(report["correct"] - RIGHT) <= 1  # one image may differ for rounding
    assert report["accuracy"] == pytest.approx(report["correct"] / 10_000)


def trained_twin(torch, oracle, name, **options):
    """Build a twin in evaluation mode whose weights are nobody's initial ones."""
    model = nr.models.create(name, seed=1, **options)
    state = networks.random_state(model, np.random.default_rng(1))
    twin = networks.make_twin(torch, oracle, name, state, np.float32, True, **options)
    with torch.no_grad():
        for module in twin.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # statistics of these images: no logit explodes
        twin(images(torch, 1, name))
    return twin.eval()


def images(torch, seed, name):
    size = 32 if name in ("resnet18", "resnet50") else 16
    x = np.random.default_rng(seed).standard_normal((4, 3, size, size))
    return torch.tensor(x, dtype=torch.float32)


def assert_same_logits(torch, model, twin, name):
    x = images(torch, 2, name)
    with nr.no_grad(), torch.no_grad():
        logits = model.eval()(x.numpy())
        yardstick = twin(x).numpy()
        truth = twin.double()(x.double()).numpy()
    twin.float()
    # What the layers before the classifier round is not seen in one matrix product.
    assert_as_accurate(logits, yardstick, truth, "logits", factor=8.0)
    assert np.ptp(truth, axis=0).min() > 1e-3  # the images do differ


def save_as_published(torch, twin, path, rename=lambda name: name):
    """Write what the training scripts of 2018 wrote.

    DataParallel's names, batches not counted, the legacy format.
    """
    state = OrderedDict(
        (f"module.{rename(name)}", tensor)
        for name, tensor in twin.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    checkpoint = {"state_dict": state, "best_prec1": 92.6}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes()[:2] != b"PK"


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "resnet32",
        "resnet44",
        "resnet56",
        "resnet110",
        pytest.param("resnet1202", marks=pytest.mark.slow),
    ],
)
def test_files_of_the_published_shape_give_torchs_logits(torch, oracle, name, tmp_path):
    twin = trained_twin(torch, oracle, name, shortcut="A")
    # The published files call the classifier `linear`.
    path = tmp_path / f"{name}.th"
    save_as_published(torch, twin, path, lambda key: key.replace("fc.", "linear."))
    model = nr.models.create(name, shortcut="A", seed=0)
    loaded = nr.weights.load(path)
    assert loaded["best_prec1"] == 92.6
    model.load_state_dict(loaded)
    assert_same_logits(torch, model, twin, name)


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_names_of_hand_written_networks_are_understood(
    torch, oracle, shortcut, tmp_path
):
    def rename(name):
        name = name.replace("downsample.", "shortcut.")
        return name.replace("fc.", "linear.")

    twin = trained_twin(torch, oracle, "resnet20", shortcut=shortcut)
    save_as_published(torch, twin, tmp_path / "w.th", rename)
    names = nr.weights.load(tmp_path / "w.th")["state_dict"]
    assert "module.linear.weight" in names
    assert ("module.layer2.0.shortcut.0.weight" in names) == (shortcut != "A")
    model = nr.models.resnet20(shortcut=shortcut)
    model.load_state_dict(nr.weights.load(tmp_path / "w.th"))
    assert_same_logits(torch, model, twin, "resnet20")


def test_a_file_of_another_depth_is_refused_by_name(torch, oracle, tmp_path):
    twin = trained_twin(torch, oracle, "resnet20", shortcut="A")
    save_as_published(torch, twin, tmp_path / "w.th")
    model = nr.models.resnet32(shortcut="A")
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"missing: layer1\.3\.conv1\.weight"):
        model.load_state_dict(nr.weights.load(tmp_path / "w.th"))
    for name, value in model.state_dict().items():
        assert np.array_equal(value, before[name])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {}),
        pytest.param("resnet50", {}, marks=pytest.mark.slow),
        ("resnet20", {"shortcut": "A"}),
        ("resnet20", {"shortcut": "B"}),
        ("resnet20", {"shortcut": "C"}),
    ],
    ids=["resnet18", "resnet50", "resnet20 A", "resnet20 B", "resnet20 C"],
)
def test_torchs_network_loads_what_save_writes_and_gives_the_same_logits(
    torch, oracle, name, options, tmp_path
):
    safetensors = pytest.importorskip("safetensors.torch")
    model = nr.models.create(name, seed=2, **options)
    twin = trained_twin(torch, oracle, name, **options)
    model.load_state_dict({k: v.numpy() for k, v in twin.state_dict().items()})
    path = tmp_path / "w.safetensors"
    nr.weights.save(path, model)
    fresh = oracle.create(name, **options).eval()
    missing, unexpected = fresh.load_state_dict(
        safetensors.load_file(path), strict=True
    )
    assert not missing and not unexpected
    for key, tensor in twin.state_dict().items():
        other = fresh.state_dict()[key]
        assert other.dtype == tensor.dtype and torch.equal(other, tensor), key
    assert_same_logits(torch, model, fresh, name)
    again = nr.models.create(name, seed=3, dtype=np.float64, **options)
    again.load_state_dict(nr.weights.load(path))
    x = images(torch, 2, name).double()
    with nr.no_grad(), torch.no_grad():
        logits = again.eval()(x.numpy())
        assert_matches(logits, fresh.double()(x).numpy(), "logits")
