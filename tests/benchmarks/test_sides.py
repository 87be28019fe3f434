"""Everybody's logits are npresnet's; who cannot run says what is missing."""

import functools
import importlib
import importlib.util
import os

import numpy as np
import pytest

import npresnet as nr
from benchmarks.asking import CannotRun
from benchmarks.sides import COMPILED, EAGER, ENGINES, LAYERED, OURS, prepare
from benchmarks.steady import check_answers
from benchmarks.worker import working
from benchmarks.works import Work

TINY = Work("resnet8", 2, 8, trains=True)


def skip_without(side):
    """Skip where it is not installed; what loads it is a process of its own."""
    packages = [side, "onnx"] if side in ENGINES else ["torch"]
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{missing[0]} is not installed")


@functools.cache
def answer(side, model):
    with working(side, Work(model, 2, 64, trains=False), 1) as ask:
        return ask("answer")


@pytest.mark.parametrize(
    ("side", "model"),
    [
        *((side, "resnet18") for side in EAGER),
        *((side, model) for side in ENGINES for model in ("resnet18", "resnet50")),
    ],
)
def test_logits_are_those_of_npresnet(side, model):
    skip_without(side)
    answers = {OURS: answer(OURS, model), side: answer(side, model)}
    assert np.shape(answers[OURS]) == (2, 1000)
    check_answers(answers)


def test_the_graph_is_that_of_a_trained_network():
    """With statistics and a batch norm that are not those of a fresh one."""
    pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    onnx_writer = importlib.import_module("benchmarks.sides.onnx_writer")
    rng = np.random.default_rng(0)
    model = nr.models.resnet18(num_classes=10, seed=0)
    x = rng.standard_normal((2, 3, 32, 32), dtype=np.float32)
    model(x)  # moves the running statistics
    for name, parameter in model.named_parameters():
        if "bn" in name or "fc.bias" in name:
            parameter.data[...] += 0.1 * rng.standard_normal(parameter.shape)
    twin = nr.inference(model)
    graph = reference.ReferenceEvaluator(_load(onnx_writer.write(twin, x.shape)))
    (logits,) = graph.run(None, {"images": x})
    check_answers({OURS: twin(x), "onnxruntime": logits})


def _load(content):
    import onnx

    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_what_is_not_written_as_onnx_is_named():
    pytest.importorskip("onnx")
    onnx_writer = importlib.import_module("benchmarks.sides.onnx_writer")
    twin = nr.inference(nr.models.resnet8(shortcut="A"))
    with pytest.raises(TypeError, match="ZeroPadShortcut is not written as ONNX here"):
        onnx_writer.write(twin, (1, 3, 8, 8))


@pytest.mark.parametrize(
    ("side", "package", "command"),
    [
        (
            "torch",
            "torch",
            r"PyTorch is not installed: python -m pip install '.\[test\]'",
        ),
        ("openvino", "openvino", r"OpenVINO is not installed: .* '.\[engines\]'"),
        (
            "onnxruntime",
            "onnxruntime",
            r"ONNX Runtime is not installed: .* '.\[engines",
        ),
    ],
)
def test_who_is_not_installed_says_how_to_install_it(side, package, command, tmp_path):
    (tmp_path / f"{package}.py").write_text("raise ImportError")
    work = Work("resnet8", 2, 8, trains=False)
    with (
        pytest.raises(CannotRun, match=command),
        working(side, work, 1, {"PYTHONPATH": with_path(tmp_path)}),
    ):
        pass


def with_path(folder):
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@pytest.mark.slow
def test_torch_compile_without_a_compiler_says_so(tmp_path):
    skip_without(COMPILED)
    environment = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    with (
        pytest.raises(CannotRun, match=r"torch\.compile: .*no-such-compiler"),
        working(COMPILED, TINY, 1, environment),
    ):
        pass


@pytest.mark.parametrize("side", [OURS, LAYERED])
def test_a_training_step_of_ours_gives_its_loss_and_goes_on(side):
    step = prepare(side, TINY, 1)
    losses = [float(step()) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_compiled_or_layered_steps_have_the_same_losses():
    compiled, layered = (prepare(side, TINY, 1) for side in (OURS, LAYERED))
    for _ in range(3):
        assert compiled() == layered()


@pytest.mark.parametrize(
    ("side", "trains"),
    [("openvino", True), ("onnxruntime", True), (LAYERED, False), (COMPILED, False)],
)
def test_a_work_that_is_not_a_sides_is_refused(side, trains):
    with pytest.raises(ValueError, match=f"{side} does no ResNet-8"):
        prepare(side, Work("resnet8", 2, 8, trains), 1)
