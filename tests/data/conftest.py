"""A small CIFAR-10 of random images, in every layout that the real one comes in."""

import importlib
import io
import pickle
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

RECORDS = 20
NAMES = (
    "airplane automobile bird cat deer dog frog horse ship truck"  # the official ten
).split()
BATCHES = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]


class Python2Pickler(pickle._Pickler):
    """Writes protocol 2 as Python 2 and NumPy 1 did, in which CIFAR-10 was published.

    Text and bytes are both written as Python 2's str.
    """

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def save_py2_str(self, value):
        raw = value.encode("latin-1") if isinstance(value, str) else value
        if len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_py2_str

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(f"c{module}\n{name or value.__name__}\n".encode())
        self.memoize(value)

    dispatch[type] = dispatch[type(lambda: 0)] = save_global
    dispatch[type(len)] = save_global


def python2_pickle(value):
    file = io.BytesIO()
    Python2Pickler(file).dump(value)
    return file.getvalue()


@dataclass
class SmallCifar:
    """Six batches of random images; writes itself into a folder or an archive."""

    images: np.ndarray  # (6, RECORDS, 3, 32, 32)
    labels: np.ndarray  # (6, RECORDS)

    def write_binary(self, root):
        folder = Path(root) / "cifar-10-batches-bin"
        folder.mkdir(parents=True)
        for name, images, labels in zip(BATCHES, self.images, self.labels, strict=True):
            pixels = images.reshape(RECORDS, -1)
            records = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        text = "\n".join(NAMES) + "\n\n"  # the official file ends in an empty line
        (folder / "batches.meta.txt").write_text(text)
        return folder

    def write_python(self, root, dump=python2_pickle):
        folder = Path(root) / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name, images, labels in zip(BATCHES, self.images, self.labels, strict=True):
            batch = {
                "batch_label": f"a part of {name}",
                "labels": labels.tolist(),
                "data": images.reshape(RECORDS, -1),
                "filenames": [f"picture_{i}.png" for i in range(RECORDS)],
            }
            (folder / name).write_bytes(dump(batch))
        meta = {"num_cases_per_batch": RECORDS, "label_names": NAMES, "num_vis": 3072}
        (folder / "batches.meta").write_bytes(dump(meta))
        return folder


def pack(folder, archive):
    """Put a folder into a .tar.gz, with its last name as the root."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=Path(folder).name)
    return archive


@pytest.fixture
def small_cifar(monkeypatch):
    """A CIFAR-10 whose batch files hold 20 images instead of 10,000."""
    module = importlib.import_module("npresnet.data.cifar10")
    monkeypatch.setattr(module, "_RECORDS", RECORDS)
    rng = np.random.default_rng(0)
    return SmallCifar(
        rng.integers(0, 256, (6, RECORDS, 3, 32, 32), dtype=np.uint8),
        rng.integers(0, 10, (6, RECORDS)),
    )


@pytest.fixture
def make_archive():
    return pack


@pytest.fixture
def py2_pickle():
    return python2_pickle
