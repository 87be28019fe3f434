"""What is measured: one training step of a network, or one inference."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np


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

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of its images."""
        return self.batch, 3, self.size, self.size

    def make_batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Make images and labels of noise, always the same."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal(self.shape, dtype=np.float32)
        return x, rng.integers(0, 10, self.batch)

    def count_macs(self) -> int:
        """Count the multiply-adds of one image's way forward."""
        import npresnet as nr

        with nr.using_backend("reference"):  # compiles nothing
            model = nr.models.create(self.model)
            return nr.lens.cost(model, self.shape[1:]).macs

    def to_arguments(self) -> list[str]:
        """Write it down for a command line."""
        kind = "training" if self.trains else "inference"
        return [self.model, str(self.batch), str(self.size), kind]

    @classmethod
    def from_arguments(cls, model: str, batch: str, size: str, kind: str) -> Work:
        """Read what `to_arguments` wrote."""
        return cls(model, int(batch), int(size), kind == "training")
