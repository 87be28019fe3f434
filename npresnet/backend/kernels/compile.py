"""How kernels are compiled, and where the compiled code is kept.

Nothing compiles at import: a kernel compiles at its first call, once per dtype, and
is then read from disk by every later process.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps
from numpy.typing import NDArray

from npresnet.backend import kernel_cache
from npresnet.backend.recording import CannotRecord, here
from npresnet.backend.undisturbed import undisturbed

# nogil: several threads run one kernel at a time; `threads.pool` tells why they are not
# those of Numba's own parallel loops. No fastmath: NaN must stay NaN, sums keep order.
# No kernel is called from C.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}
# For helpers' arguments: a plain constant is a type of its own to Numba, for which the
# helper is compiled once more.
ZERO = np.int64(0)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function` when it is first called; ``.py_func`` is the plain Python."""
    compiled = numba.njit(**OPTIONS)(function)
    if numba.config.DISABLE_JIT:
        return compiled
    undisturbed(compiled)
    folder = kernel_cache.cache_folder()
    if folder is not None:
        compiled._cache = _Cache(function, folder)  # as `enable_caching` does
    return compiled


class _Cache(FunctionCache):
    """Numba's, with files that are not believed blindly (see `kernel_cache`).

    Numba keeps an index per function, and numbers the files of code. Here the name of a
    file tells what is in it: there is no index that could be damaged, or mixed up by
    two processes that compile at the same time (see `ahead`).
    """

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        # Not Numba's, which refuses a function whose source it does not find.
        self._name, self._py_func, self._cache_path = repr(function), function, folder
        self._impl = _Code(function)
        self.enable()

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        place = self._place(sig, target_context.codegen())
        code = kernel_cache.load(self._cache_path, *place) if self._enabled else None
        if code is None:
            return None
        try:
            return self._impl.rebuild(target_context, pickle.loads(code))
        except MemoryError:
            raise
        except Exception:  # whatever the reason: what cannot be read can be made
            return None

    def has(self, sig: Any, target_context: Any) -> bool:
        """Tell whether code for some types of arguments is kept."""
        name, _ = self._place(sig, target_context.codegen())
        return kernel_cache.is_kept(self._cache_path, name)

    def _save_overload(self, sig: Any, data: Any) -> None:
        if self._enabled and self._impl.check_cachable(data):
            code = dumps(self._impl.reduce(data))
            place = self._place(sig, data.codegen)
            kernel_cache.save(self._cache_path, *place, code)

    def _place(self, sig: Any, codegen: Any) -> tuple[str, str]:
        """Return the name of a file, and what tells its content from all others."""
        function = self._py_func
        key = repr(
            (function.__module__, self._index_key(sig, codegen), _stamp(function))
        )
        version = f"{sys.version_info.major}{sys.version_info.minor}"
        line = function.__code__.co_firstlineno
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        # A function within another is called <locals>: not on every disk.
        plain = name.replace("<", "").replace(">", "")
        return f"{plain}-{line}.py{version}{sys.abiflags}.{digest}", key


def is_compiled(compiled: Any, kinds: tuple[Any, ...]) -> bool:
    """Tell whether a kernel's code for some types is here, or kept on the disk."""
    if kinds in compiled.overloads:
        return True
    cache = compiled._cache
    return isinstance(cache, _Cache) and cache.has(kinds, compiled.targetctx)


class _Code(CompileResultCacheImpl):
    """Numba's way from compiled code to data and back."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = SimpleNamespace(_py_file=function.__code__.co_filename)


def _stamp(function: Callable[..., Any]) -> str:
    """Return a checksum of the file that a function is from, if it is not a kernel's.

    The kernels' own files decide the name of the folder.
    """
    if function.__module__.startswith(f"{__package__}."):
        return ""
    try:
        return hashlib.sha256(
            Path(function.__code__.co_filename).read_bytes()
        ).hexdigest()
    except OSError:
        return ""


def inlined(function: Callable[..., Any]) -> Any:
    """Compile `function` into every kernel that calls it."""
    return numba.njit(forceinline=True, **OPTIONS)(function)


def dense(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` as kernels take it: C-contiguous, aligned and writeable.

    Numba compiles anew for every other kind; a copy costs less than that.
    """
    if array.flags.carray:  # C-contiguous, aligned and writeable
        return array
    if here.recording is not None:  # a copy made now would never change again
        raise CannotRecord(
            f"an array of shape {array.shape} is not contiguous, aligned and writeable"
        )
    return np.require(array, requirements=["C", "A", "W"])
