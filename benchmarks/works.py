"""What is measured: one training step or one inference, on either side."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

OURS, *TORCHS = SIDES = ("npresnet", "torch", "torch-channels-last")


@dataclass(frozen=True)
class Work:
    """A network, a batch, and whether it learns."""

    model: str
    batch: int
    size: int  # pixels, of either side
    trains: bool

    @property
    def label(self) -> str:
        """What it is, in words."""
        model = re.sub(r"resnet(\d+)", r"ResNet-\1", self.model)
        what = "training step" if self.trains else "inference"
        return f"{model}, {self.size}x{self.size}, batch {self.batch}, {what}"

    def to_arguments(self) -> list[str]:
        """Write it down for a command line."""
        kind = "training" if self.trains else "inference"
        return [self.model, str(self.batch), str(self.size), kind]

    @classmethod
    def from_arguments(cls, model: str, batch: str, size: str, kind: str) -> Work:
        """Read what `to_arguments` wrote."""
        return cls(model, int(batch), int(size), kind == "training")


def prepare(side: str, work: Work, threads: int) -> Callable[[], Any]:
    """Build the network and the batch; the function returned does the work once."""
    rng = np.random.default_rng(0)
    shape = work.batch, 3, work.size, work.size
    x = rng.standard_normal(shape, dtype=np.float32)
    labels = rng.integers(0, 10, len(x))
    if side == OURS:
        return _npresnet(work, threads, x, labels)
    return _torch(work, threads, x, labels, channels_last=side != "torch")


def _npresnet(
    work: Work, threads: int, x: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    import npresnet as nr

    # PyTorch's libraries are loaded by its import: so are ours, before anything counts.
    import npresnet.backend.kernels

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
