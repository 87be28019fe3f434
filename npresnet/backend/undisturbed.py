"""Compiling and loading code: not to be cut in two, by a signal or by a fork."""

from __future__ import annotations

import functools
import os
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

from npresnet import _signals as signals


def undisturbed(compiled: Any) -> None:
    """Let signals wait while Numba compiles or loads code for calls of a kernel.

    LLVM calls Python back while it works. An exception from a signal handler would be
    printed and lost there; a handler that computes would enter a compiler that is in
    the middle of something.
    """
    compile_for = compiled._compile_for_args

    @functools.wraps(compile_for)
    def compile_undisturbed(*arguments: Any) -> Any:
        with signals.held():
            return compile_for(*arguments)

    compiled._compile_for_args = compile_undisturbed


# A fork waits until no other thread compiles or loads: its child would find Numba's
# lock closed for ever, and LLVM in the middle of something.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
