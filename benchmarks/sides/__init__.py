"""Who does a work: npresnet, PyTorch, inference engines.

Every side runs in a process of its own, and loads there only what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.works import Work

OURS, LAYERED = "npresnet", "npresnet-layered"
EAGER = "torch", "torch-channels-last"
COMPILED = "torch-compile"
ENGINES = "openvino", "onnxruntime"

SIDES = {
    OURS: "npresnet",
    LAYERED: "layer by layer",
    EAGER[0]: "PyTorch",
    EAGER[1]: "channels_last",
    COMPILED: "torch.compile",
    ENGINES[0]: "OpenVINO",
    ENGINES[1]: "ONNX Runtime",
}
"""All of them, and what they are called in a table."""


def prepare(side: str, work: Work, threads: int) -> Callable[[], Any]:
    """Build the network and the batch; the function returned does the work once.

    It returns the loss of a training step, or the logits. For inference all sides have
    the same weights.

    Raises
    ------
    CannotRun
        If something that it needs is not there.
    ValueError
        If it is no such side's work.
    """
    if side in (ENGINES if work.trains else (LAYERED, COMPILED)):
        raise ValueError(f"{side} does no {work.label}")
    if side in (OURS, LAYERED):
        from benchmarks.sides import ours

        return ours.prepare(work, threads, layered=side == LAYERED)
    if side in ENGINES:
        from benchmarks.sides import engines

        return engines.prepare(side, work, threads)
    from benchmarks.sides import pytorch

    return pytorch.prepare(
        work,
        threads,
        channels_last=side == EAGER[1],
        compiled=side == COMPILED,
    )
