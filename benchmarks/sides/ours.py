"""npresnet: a compiled step, the twin for inference; or layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import npresnet as nr

# PyTorch's libraries are loaded by its import: so are ours, before anything counts.
import npresnet.backend.kernels
from benchmarks.works import Work


def prepare(work: Work, threads: int, *, layered: bool) -> Callable[[], Any]:
    """Build network and batch; see `benchmarks.sides.prepare`."""
    nr.set_threads(threads)
    x, labels = work.make_batch()
    model = nr.models.create(work.model, seed=0)
    if not work.trains:
        twin = nr.inference(model)
        return lambda: twin(x)

    criterion = nr.nn.CrossEntropyLoss()
    optimizer = nr.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )
    if not layered:
        step = nr.compile(model, criterion, optimizer)
        return lambda: step(x, labels)[0]

    def train() -> Any:
        model.zero_grad()
        loss = criterion(model(x), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        return loss

    return train
