"""Data sets by name, for the command line."""

from __future__ import annotations

import os

from npresnet.data.cifar10 import cifar10
from npresnet.data.dataset import Dataset
from npresnet.data.digits import digits
from npresnet.untrusted.text import brief

_DATA_DIR = "NPRESNET_DATA_DIR"


def names() -> tuple[str, ...]:
    """List what `load` knows.

    Examples
    --------
    >>> names()
    ('digits', 'cifar10')
    """
    return ("digits", "cifar10")


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
) -> tuple[Dataset, Dataset]:
    """Load a data set by its name.

    Parameters
    ----------
    name : {"digits", "cifar10"}
        One of `names`.
    data_dir : path, optional
        The folder that holds the data set; by default the environment's
        ``NPRESNET_DATA_DIR``. The digits need none.
    download : bool, default False
        Whether to fetch what `data_dir` does not have.

    Returns
    -------
    train, test : Dataset
        See `digits` and `cifar10`.

    Raises
    ------
    ValueError
        If there is no such data set, or it needs a folder and none is named.
    FileNotFoundError
        If the folder does not hold the data set.
    """
    if name == "digits":
        return digits()
    if name == "cifar10":
        folder = data_dir if data_dir is not None else os.environ.get(_DATA_DIR)
        if not folder:
            raise ValueError(
                "data_dir: cifar10 needs the folder that holds it; give data_dir, or "
                f"set {_DATA_DIR}"
            )
        return cifar10(folder, download=download)
    raise ValueError(f"name: expected one of {', '.join(names())}, got {brief(name)}")
