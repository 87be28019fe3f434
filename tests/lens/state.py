"""Everything about a model as one hash: what instruments must leave as it was."""

import hashlib
from contextlib import contextmanager

import numpy as np


def fingerprint(model):
    """Hash parameters, gradients, buffers, modes, kept caches and all attributes.

    The identity of arrays, methods and submodules counts as well: a copy in the place
    of an original is a change to whoever holds the original.
    """
    digest = hashlib.sha256()
    for path, module in model.named_modules():
        digest.update(f"{path}: {type(module).__name__}\n".encode())
        _add(digest, module.__dict__)
        _add(digest, module.caches)
    for name, parameter in model.named_parameters():
        digest.update(f"{name}\n".encode())
        _add(digest, parameter.__dict__)
    return digest.hexdigest()


def _add(digest, value):
    """Feed a value to the digest, whatever it is."""
    if isinstance(value, np.ndarray):
        digest.update(f"{id(value)} {value.dtype.str} {value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, dict):
        digest.update(f"dict {id(value)} {len(value)}".encode())
        for key, entry in value.items():
            digest.update(f"{key}:".encode())
            _add(digest, entry)
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for entry in value:
            _add(digest, entry)
    elif isinstance(value, bool | int | float | str | None):
        digest.update(repr(value).encode())
    else:
        digest.update(f"{type(value).__name__} {id(value)}".encode())


@contextmanager
def left_as_it_was(model):
    """Assert that the block leaves no trace in the model, even if it raises."""
    before = fingerprint(model)
    try:
        yield
    finally:
        assert fingerprint(model) == before, "the model was changed"
