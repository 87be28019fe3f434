"""Saving and loading: which format a file has, and how it is replaced safely.

========================  ==========================================================
PyTorch, zip and legacy   :mod:`npresnet.weights.torch_files`
safetensors               a length, a JSON header, raw bytes
                          (https://github.com/huggingface/safetensors)
npz                       a zip archive of .npy records
                          (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)
========================  ==========================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from numpy.typing import NDArray

from npresnet._files import replacing
from npresnet.untrusted.files import kind_of, opened
from npresnet.untrusted.text import RefusedFile
from npresnet.weights import arrays
from npresnet.weights.torch_files import (
    is_legacy,
    is_torch_archive,
    read_archive,
    read_legacy,
)
from npresnet.weights.zip_records import read_directory

_HEAD = 512  # bytes by which a file's format is told


class HasStateDict(Protocol):
    """Anything with weights to save: a Module, for instance."""

    def state_dict(self) -> Mapping[str, NDArray[Any]]:
        """Return the arrays by name."""
        ...


_WRITERS: dict[str, Callable[[BinaryIO, dict[str, NDArray[Any]], Any], None]] = {
    ".safetensors": arrays.write_safetensors,
    ".npz": arrays.write_npz,
}


def save(
    path: str | os.PathLike[str],
    model_or_state_dict: HasStateDict | Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights to a .safetensors or .npz file, whole or not at all.

    The bytes go to a new file in the same folder, which takes the place of `path`
    only once the disk has them: whatever interrupts a save, an older file of this
    name stays as it was. PyTorch loads a .safetensors file with
    ``safetensors.torch.load_model(model, path, strict=True)``.

    Parameters
    ----------
    path : str or path
        Its suffix selects the format.
    model_or_state_dict : Module or dict of str to ndarray
        The weights, or an object whose ``state_dict()`` returns them. Arrays are
        written C-contiguous and little-endian; ``num_batches_tracked`` as int64 of
        shape ().
    metadata : dict of str to str, optional
        Notes for the header of a .safetensors file; see `read_metadata`.

    Raises
    ------
    ValueError
        If the suffix is another, or a name or dtype cannot be written.
    TypeError
        If something is not an ndarray, or a name or note not a str.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile, numpy as np, npresnet as nr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nr.weights.save(folder + "/w.npz", {"fc.bias": np.zeros(2, np.float32)})
    ...     nr.weights.load(folder + "/w.npz")
    {'fc.bias': array([0., 0.], dtype=float32)}
    """
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    writer = _WRITERS.get(target.suffix)
    if writer is None:
        raise ValueError(
            f"{os.fspath(path)}: the suffix has to be .safetensors or .npz, not "
            f"{target.suffix!r}"
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no such folder")
    tensors = arrays.prepare(model_or_state_dict)
    with replacing(target) as file:
        writer(file, tensors, metadata)


def write(
    file: BinaryIO,
    model_or_state_dict: HasStateDict | Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights into an open file, in the safetensors format; see `save`."""
    arrays.write_safetensors(file, arrays.prepare(model_or_state_dict), metadata)


def load(path: str | os.PathLike[str]) -> Any:
    """Read weights from a safetensors, npz or PyTorch file, whatever its name.

    Nothing in the file is executed. PyTorch's files may hold tensors (Parameters
    too) inside dicts, lists, tuples and sets, beside plain values and NumPy's arrays
    and scalars of numbers. Whatever else lies beside them, such as the settings of a
    script, becomes a `npresnet.untrusted.pickle_values.Placeholder`, which names its
    type and is nothing more; a file that is such an object as a whole is refused.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    object
        For safetensors and npz, a dict of str to ndarray. For PyTorch's files, the
        object that was saved, every tensor an ndarray; a ``state_dict()`` is an
        OrderedDict of str to ndarray, and names are left as they are. Arrays are
        writeable and C-contiguous and share no memory; bfloat16 becomes float32,
        all other types that NumPy has stay.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is broken, of another format, a whole object rather than weights,
        or no file at all but a folder, a pipe or a device. The message is one line
        that begins with the path.
    """
    with opened(path) as file:
        return _load(file, os.fstat(file.fileno()).st_size)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the notes that `save` put into a .safetensors file.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to str
        Empty for files without notes, and for npz and PyTorch's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is broken or of another format.
    """
    with opened(path) as file:
        return _load_metadata(file, os.fstat(file.fileno()).st_size)


def _load(file: BinaryIO, file_size: int) -> Any:
    head = file.read(_HEAD)
    if _is_zip(head):
        records = read_directory(file, file_size)
        if is_torch_archive(records):
            return read_archive(file, file_size, records)
        return arrays.read_npz(file, file_size, records)
    if is_legacy(head):
        return read_legacy(file, file_size)
    if arrays.is_safetensors(head):
        return arrays.read_safetensors(file, file_size)
    raise RefusedFile(_what_else(head))


def _load_metadata(file: BinaryIO, file_size: int) -> dict[str, str]:
    head = file.read(_HEAD)
    if arrays.is_safetensors(head):
        return arrays.read_safetensors_metadata(file, file_size)
    if _is_zip(head) or is_legacy(head):
        return {}
    raise RefusedFile(_what_else(head))


def _is_zip(head: bytes) -> bool:
    return head[:4] in (b"PK\3\4", b"PK\5\6")


def _what_else(head: bytes) -> str:
    """Say in one line what a file is that is none of ours."""
    kind = kind_of(head)
    if kind == "a tar archive":
        return (
            "refused: a tar archive, perhaps of PyTorch before 0.1.10; load it with an "
            "old PyTorch and save it again"
        )
    if kind == "a bare pickle":
        return (
            "refused: a bare pickle, which is a program; in PyTorch, "
            "torch.save(model.state_dict(), path) saves what is read here"
        )
    if kind == "empty":
        return "is empty"
    found = f"it is {kind}" if kind else "nothing known"
    return f"neither a safetensors, an npz nor a PyTorch file: {found}"
