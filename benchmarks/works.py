"""What is measured: one training step or one inference, on either side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """A network, a batch, and whether it learns."""

    model: str
    shape: tuple[int, int, int, int]  # (N, C, H, W)
    trains: bool


WORKS = {
    "resnet20-training": Work("resnet20", (128, 3, 32, 32), True),
    "resnet20-inference": Work("resnet20", (128, 3, 32, 32), False),
    "resnet18-training": Work("resnet18", (16, 3, 224, 224), True),
    "resnet18-inference-1": Work("resnet18", (1, 3, 224, 224), False),
    "resnet18-inference-16": Work("resnet18", (16, 3, 224, 224), False),
    "resnet50-inference-1": Work("resnet50", (1, 3, 224, 224), False),
    "resnet50-inference-16": Work("resnet50", (16, 3, 224, 224), False),
}
SIDES = ("npresnet", "torch", "torch-channels-last")


def prepare(side: str, work: Work, threads: int) -> Callable[[], Any]:
    """Build the network and the batch; the function returned does the work once."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(work.shape).astype(np.float32)
    labels = rng.integers(0, 10, len(x))
    if side == "npresnet":
        return _npresnet(work, threads, x, labels)
    return _torch(work, threads, x, labels, channels_last=side != "torch")


def _npresnet(
    work: Work, threads: int, x: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    import npresnet as nr

    nr.set_threads(threads)
    model = nr.models.create(work.model)
    if not work.trains:
        twin = nr.inference(model)
        return lambda: twin(x)

    criterion = nr.nn.CrossEntropyLoss()
    optimizer = nr.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )

    def train() -> Any:
        model.zero_grad()
        loss = criterion(model(x), labels)
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()
        return loss

    return train


def _torch(
    work: Work,
    threads: int,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    channels_last: bool,
) -> Callable[[], Any]:
    import torch

    from tests.oracle import resnet

    torch.set_num_threads(threads)
    model = resnet.create(work.model)
    images, targets = torch.from_numpy(x), torch.from_numpy(labels)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    if not work.trains:
        model.eval()

        def infer() -> Any:
            with torch.inference_mode():
                return model(images)

        return infer

    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )

    def train() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        return loss

    return train
