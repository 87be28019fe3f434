"""PyTorch: as it is, in its other memory format, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.asking import CannotRun
from benchmarks.works import Work

INSTALL = "PyTorch is not installed: python -m pip install '.[test]'"


def prepare(
    work: Work, threads: int, *, channels_last: bool, compiled: bool
) -> Callable[[], Any]:
    """Build network and batch; see `benchmarks.sides.prepare`."""
    try:
        import torch
    except ImportError:
        raise CannotRun(INSTALL) from None

    from tests.oracle import resnet

    torch.set_num_threads(threads)
    x, labels = work.make_batch()
    images, targets = torch.from_numpy(x), torch.from_numpy(labels)
    model = resnet.create(work.model)
    if not work.trains:
        model.load_state_dict(_weights(work))
        model.eval()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)

    def infer() -> Any:
        with torch.inference_mode():
            return model(images)

    if not work.trains:
        return infer

    def loss_of(images: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(images), targets)

    forward = torch.compile(loss_of) if compiled else loss_of
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )

    def train() -> Any:
        optimizer.zero_grad()
        loss = forward(images, targets)
        loss.backward()
        optimizer.step()
        return loss

    if compiled:
        _compile(train)
    return train


def _weights(work: Work) -> dict[str, Any]:
    """Take npresnet's weights, for answers that can be compared."""
    import torch

    import npresnet as nr

    weights = nr.models.create(work.model, seed=0).state_dict()
    return {name: torch.from_numpy(np.array(w)) for name, w in weights.items()}


def _compile(train: Callable[[], Any]) -> None:
    """Compile by doing it once: that takes a compiler for C++, which may be missing."""
    from torch._dynamo.exc import BackendCompilerFailed
    from torch._inductor.exc import InductorError

    try:
        train()
    except (BackendCompilerFailed, InductorError) as error:
        first, *_ = [line for line in str(error).splitlines() if line.strip()]
        raise CannotRun(f"torch.compile: {first.strip()}") from None
