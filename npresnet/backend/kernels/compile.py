"""How kernels are compiled, and where the compiled code is kept.

Nothing compiles at import: a kernel compiles at its first call, once per dtype, and
is then read from disk by every later process.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numpy.typing import NDArray

from npresnet.backend.undisturbed import undisturbed

# nogil: several threads run one kernel at a time (see backend.threads), which costs
# far less to compile and to load than Numba's own parallel loops, and keeps Numba's
# thread pool out of the process. No fastmath: NaN must stay NaN, sums keep order.
# No kernel is called from C.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}
# For helpers' arguments: a plain constant is a type of its own to Numba, for which the
# helper is compiled once more.
ZERO = np.int64(0)


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of compiled kernels, or None where none can be written.

    The environment variable ``NPRESNET_CACHE_DIR`` names another place. The folder
    is named after the kernels' sources: Numba notices a change in the file that it
    compiles, but not in a helper that the file takes from another one.
    """
    root = os.environ.get("NPRESNET_CACHE_DIR")
    if root is None:
        from platformdirs import user_cache_dir

        root = user_cache_dir("npresnet", appauthor=False)
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    folder = Path(root) / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def keeps_code(folder: Path) -> bool:
    """Tell whether anything compiled lies in a folder of compiled kernels."""
    return next(folder.rglob("*.nbc"), None) is not None


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called; ``.py_func`` is the plain Python."""
    compiled = numba.njit(**OPTIONS)(function)
    if numba.config.DISABLE_JIT:
        return compiled
    undisturbed(compiled)
    folder = cache_folder()
    if folder is not None:
        # Numba reads the setting when caching is switched on for a function; it is
        # put back at once, because other packages use Numba too.
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(folder)
        try:
            # As `enable_caching` does with Numba's.
            compiled._cache = _Cache(function)
        finally:
            numba.config.CACHE_DIR = before
    return compiled


class _Cache(FunctionCache):
    """Numba's, for processes that compile at the same time (see `ahead`)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(
            self._cache_path,
            self._impl.filename_base,
            self._impl.locator.get_source_stamp(),
        )


class _Files(IndexDataCacheFile):
    """The compiled code of a function, by its arguments' types, and an index of it.

    Numba numbers the files of code. Two processes that write at the same time give one
    number to two codes, and the index then leads to the wrong one of them. Here a name
    tells what is in the file. What is still possible does no harm: that the index
    forgets a file, which is then made again.
    """

    def save(self, key: Any, data: Any) -> None:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        name = f"{self._index_name.removesuffix('.nbi')}.{digest}.nbc"
        self._save_data(name, data)
        self._save_index(self._load_index() | {key: name})


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into every kernel that calls it."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def dense(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as kernels take it: C-contiguous, aligned and writeable.

    Numba compiles anew for every other kind; a copy costs less than that.
    """
    if array.flags.carray:  # C-contiguous, aligned and writeable
        return array
    return np.require(array, requirements=["C", "A", "W"])
