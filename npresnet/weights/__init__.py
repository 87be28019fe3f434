"""Reading and writing weights: safetensors, npz, and PyTorch's files without PyTorch.

A file is recognised by its content, never by its name, and nothing in a file is
ever executed: see :mod:`npresnet.untrusted.pickles`.
"""

from __future__ import annotations

from npresnet.weights.files import load, read_metadata, save

__all__ = ["load", "read_metadata", "save"]
