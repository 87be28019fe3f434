"""Data: digits that ship with the package, CIFAR-10, batches and augmentation."""

from npresnet.data.augment import RandomCropFlip, mean_fill, normalize
from npresnet.data.batching import batches, split
from npresnet.data.cifar10 import cifar10
from npresnet.data.dataset import Dataset
from npresnet.data.digits import digits
from npresnet.data.download import download_cifar10
from npresnet.data.registry import load, names

__all__ = [
    "Dataset",
    "RandomCropFlip",
    "batches",
    "cifar10",
    "digits",
    "download_cifar10",
    "load",
    "mean_fill",
    "names",
    "normalize",
    "split",
]
