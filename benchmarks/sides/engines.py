"""Inference engines: they are handed the folded network as ONNX.

They compute in float32, as everybody here does: where the processor has bfloat16,
OpenVINO would take that by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.asking import CannotRun
from benchmarks.works import Work

_INSTALL = "python -m pip install '.[engines]'"


def prepare(side: str, work: Work, threads: int) -> Callable[[], Any]:
    """Build network and batch; see `benchmarks.sides.prepare`."""
    return {"openvino": _openvino, "onnxruntime": _onnxruntime}[side](work, threads)


def _openvino(work: Work, threads: int) -> Callable[[], Any]:
    try:
        import openvino
    except ImportError:
        raise CannotRun(f"OpenVINO is not installed: {_INSTALL}") from None

    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(_as_onnx(work)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",  # all threads work on one batch
        },
    )
    request = compiled.create_infer_request()
    x, _ = work.make_batch()
    # Without copies of what goes in and what comes out.
    return lambda: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]


def _onnxruntime(work: Work, threads: int) -> Callable[[], Any]:
    try:
        import onnxruntime
    except ImportError:
        raise CannotRun(f"ONNX Runtime is not installed: {_INSTALL}") from None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _as_onnx(work), options, providers=["CPUExecutionProvider"]
    )
    x, _ = work.make_batch()
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def _as_onnx(work: Work) -> bytes:
    """Write npresnet's network in the words of ONNX."""
    try:
        from benchmarks.sides import onnx_writer
    except ImportError:
        raise CannotRun(f"onnx is not installed: {_INSTALL}") from None

    import npresnet as nr

    twin = nr.inference(nr.models.create(work.model, seed=0))
    return onnx_writer.write(twin, work.shape)
