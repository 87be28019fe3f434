"""The commands that look: help, lists, summary, predict, doctor."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import npresnet as nr
from npresnet.cli import main
from tests.cli.program import save_weights

COMMANDS = (
    "train",
    "eval",
    "predict",
    "report",
    "summary",
    "lens",
    "models",
    "datasets",
    "recipes",
    "doctor",
    "course",
)


def invoke(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def assert_one_error_line(result, *parts):
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("npresnet: error: ")
    for part in parts:
        assert part in line
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights that say in their header that they are a resnet8 for the digits."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save_weights(path, nr.models.resnet8(), shortcut="A")


def test_help_names_every_command_and_each_explains_itself():
    text = invoke("--help").stdout
    assert invoke().stdout == text
    for command in COMMANDS:
        assert f"\n  {command}" in text
        own = invoke(command, "--help")
        assert own.exit_code == 0
        assert len(own.stdout) > 150
    assert f"npresnet {nr.__version__}\n" == invoke("--version").stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from npresnet.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'numba', 'matplotlib', 'PIL', 'pooch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_dash_m_is_the_same_program():
    result = subprocess.run(
        [sys.executable, "-m", "npresnet", "summary", "resnet9"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("npresnet: error: ")
    assert "resnet9" in line


def test_lists_say_what_the_package_knows():
    datasets = json.loads(invoke("datasets", "--json").stdout)["datasets"]
    assert [entry["name"] for entry in datasets] == list(nr.data.names())
    train, test = nr.data.digits()
    assert (datasets[0]["train"], datasets[0]["test"]) == (len(train), len(test))
    assert datasets[0]["image_shape"] == list(train.images.shape[1:])


def test_models_lists_the_registry_with_its_parameters():
    models = json.loads(invoke("models", "--json").stdout)["models"]
    assert [entry["name"] for entry in models] == nr.models.names()
    counts = {entry["name"]: entry["parameters"] for entry in models}
    assert counts["resnet50"] == 25_557_032
    assert counts["resnet20"] == 269_722


def test_summary_counts_parameters_and_macs():
    answer = json.loads(invoke("summary", "resnet20", "--json").stdout)
    assert answer["parameters"] == 269_722
    assert answer["macs"] == pytest.approx(40.55e6, rel=1e-3)
    assert answer["input"] == [3, 32, 32]
    assert sum(layer["parameters"] for layer in answer["layers"]) == 269_722
    small = json.loads(
        invoke("summary", "resnet20", "--input", "1,16,16", "--json").stdout
    )
    assert small["parameters"] == 269_722 - 2 * 16 * 9
    assert small["macs"] < answer["macs"] / 3
    text = invoke("summary", "resnet20").stdout
    assert "269,722 parameters" in text
    assert "layer3.2.conv2" in text
    assert_one_error_line(invoke("summary", "resnet9"), "resnet9")
    assert_one_error_line(invoke("summary", "resnet8", "--input", "3,x"), "--input")


def test_summary_of_resnet50_is_that_of_the_published_tables():
    answer = json.loads(invoke("summary", "resnet50", "--json").stdout)
    assert answer["parameters"] == 25_557_032
    assert round(answer["macs"] / 1e9, 3) == 4.089


def test_predict_names_the_most_likely_class_of_each_image(weights, tmp_path):
    _, test = nr.data.digits()
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(test.images[i, 0]).save(paths[-1])
    model = nr.models.create("resnet8", num_classes=10)
    model.load_state_dict(nr.weights.load(weights))
    model.eval()
    logits = model(nr.data.normalize(test.images[:3], [0.3] * 3, [0.4] * 3))
    expected = logits.argmax(axis=1)

    result = invoke("predict", weights, *paths, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    answers = json.loads(result.stdout)["predictions"]
    assert [answer["label"] for answer in answers] == expected.tolist()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [a["probability"] for a in answers] == pytest.approx(
        shares.max(axis=1).tolist(), rel=1e-5
    )
    assert len(answers[0]["runners_up"]) == 2
    text = invoke("predict", weights, paths[0]).stdout
    assert text.startswith(f"{paths[0]}: {expected[0]} ")


def test_predict_takes_images_of_any_size_and_kind_and_says_so(weights, tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "photo.jpg")
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (3, 0, 5, 8))
    clear.save(tmp_path / "clear.png")
    palette = Image.new("P", (8, 8))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.paste(1, (3, 0, 5, 8))
    palette.save(tmp_path / "palette.gif")
    deep = rng.integers(0, 65536, (8, 8), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    paths = sorted(tmp_path.iterdir())
    result = invoke("predict", weights, *paths)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 4
    assert "photo.jpg: " in result.stderr and "of 30x40: cropped" in result.stderr
    # Transparent becomes white, and what is not is then dark on it.
    assert "clear.png: dark ink on light: inverted" in result.stderr
    assert "palette.gif" not in result.stderr


def test_wrong_images_and_weights_are_named(weights, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    picture = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)).save(
        picture
    )
    picture.write_bytes(picture.read_bytes()[:1500])
    for wrong in ("text.png", "half.png", "missing.png"):
        result = invoke("predict", weights, tmp_path / wrong)
        assert_one_error_line(result, wrong)
    assert_one_error_line(invoke("predict", weights, tmp_path), str(tmp_path))
    assert_one_error_line(invoke("predict", weights), "IMAGE")

    (tmp_path / "broken.safetensors").write_bytes(weights.read_bytes()[:1000])
    assert_one_error_line(
        invoke("eval", tmp_path / "broken.safetensors"), "broken.safetensors"
    )
    assert_one_error_line(invoke("eval", tmp_path / "none.pt"), "none.pt", "no such")
    assert_one_error_line(invoke("eval", tmp_path), "folder")
    assert_one_error_line(
        invoke("eval", weights, "--model", "resnet14"), "w.safetensors", "resnet14"
    )
    assert_one_error_line(
        invoke("eval", weights, "--normalization", "0.5/0.5"), "--normalization"
    )
    assert_one_error_line(
        invoke("eval", weights, "--dataset", "nope"), "--dataset", "nope"
    )


def test_the_normalization_can_be_chosen(weights):
    own = json.loads(invoke("eval", weights, "--json").stdout)
    same = invoke("eval", weights, "--normalization", "0.3,.3,.3/.4,.4,.4", "--json")
    other = invoke("eval", weights, "--normalization", "imagenet", "--json")
    assert json.loads(same.stdout) == own
    assert json.loads(other.stdout)["loss"] != own["loss"]


def test_doctor_finds_this_machine_healthy():
    result = invoke("doctor", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["healthy"]
    assert {check["check"] for check in answer["checks"]} == {
        "kernel cache",
        "backends agree",
        "finite difference",
    }
    text = invoke("doctor").stdout
    for fact in ("numba", "blas", "vector width", "threads", "ok "):
        assert fact in text


def test_doctor_exits_with_one_where_the_backends_disagree(monkeypatch):
    from npresnet.backend import reference

    true = reference.conv2d
    monkeypatch.setattr(
        reference, "conv2d", lambda *args, **kwargs: 1.01 * true(*args, **kwargs)
    )
    result = invoke("doctor")
    assert result.exit_code == 1
    assert "FAILED" in result.stdout
