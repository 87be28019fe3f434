"""``npresnet doctor``."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from importlib import metadata
from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command

_PACKAGES = ("numpy", "numba", "llvmlite", "matplotlib", "pillow", "safetensors")
# CPU features as LLVM names them, widest first, with the bits of a vector.
_VECTORS = (("avx512f", 512), ("avx2", 256), ("avx", 256), ("sse2", 128), ("neon", 128))
_TOLERANCE = 1e-5  # of float32, relative to the largest value


@click.command(cls=Command)
@options.as_json
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Look at the machine and check that npresnet computes right on it.

    Shows versions, processor, vector width (bits), threads, BLAS, and the folder
    that keeps compiled kernels; then runs a convolution in both backends and
    compares them, and compares a gradient with a finite difference. Exit status 0
    if all is well, 1 if not.
    """
    facts = _facts()
    checks = [_check_cache(), _check_backends(), _check_gradient()]
    healthy = all(passed for _, passed, _ in checks)
    if as_json:
        results = [
            {"check": name, "passed": passed, "detail": detail}
            for name, passed, detail in checks
        ]
        plain = {name.replace(" ", "_"): value for name, value in facts.items()}
        options.print_json({**plain, "checks": results, "healthy": healthy})
    else:
        options.print_table(None, list(facts.items()))
        click.echo()
        options.print_table(
            None,
            [
                ("ok" if passed else "FAILED", f"{name}: {detail}")
                for name, passed, detail in checks
            ],
            least=(len("FAILED"),),
        )
    if not healthy:
        ctx.exit(1)


def _facts() -> dict[str, Any]:
    import llvmlite.binding as llvm
    from threadpoolctl import threadpool_info

    import npresnet
    from npresnet.backend.threads import processors
    from npresnet.training.machine import processor

    most, source = processors.limit()
    features = llvm.get_host_cpu_features()
    vector = next((bits for name, bits in _VECTORS if features.get(name)), 0)
    if not vector and platform.machine().lower() in ("arm64", "aarch64"):
        vector = 128  # NEON is part of the architecture; LLVM may not list it
    blas = [
        f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {
        "npresnet": npresnet.__version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        **{name: metadata.version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "processor": f"{processor()} ({llvm.get_host_cpu_name()})",
        "vector width": f"{vector} bits" if vector else "unknown",
        "threads": f"{npresnet.get_threads()} of {most}: {source}",
        "blas": "; ".join(blas) or "unknown",
        "backend": npresnet.get_backend(),
    }


def _check_cache() -> tuple[str, bool, str]:
    """Compiled kernels can be kept; without it every process compiles anew."""
    from npresnet.backend import kernel_cache

    name = "kernel cache"
    folder, trouble = kernel_cache.choice()
    with warnings.catch_warnings(action="ignore"):  # it is said below
        kernel_cache.cache_folder()
    if folder is None:
        return name, False, trouble
    kept, damaged = kernel_cache.remove_damaged(folder)
    detail = f"{folder}, {kept} compiled kernels"
    if damaged:
        detail += (
            f"; {damaged} more damaged or not yours alone: removed, compiled anew when "
            "needed"
        )
    if trouble:
        detail += f"; {trouble}"
    can_be_written = os.access(folder, os.W_OK)
    if not can_be_written:
        detail += "; cannot be written: every process compiles anew what is missing"
    return name, can_be_written, detail


def _check_backends() -> tuple[str, bool, str]:
    """Compare a convolution of both backends, in float32."""
    import numpy as np

    from npresnet import using_backend
    from npresnet.functional import conv2d_backward, conv2d_forward

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 9, 8), dtype=np.float32)
    weight = rng.standard_normal((5, 3, 3, 3), dtype=np.float32)
    results, seconds = {}, {}
    for backend in ("reference", "numba"):
        began = time.perf_counter()
        with using_backend(backend):
            y, cache = conv2d_forward(x, weight, padding=1)
            gradients = conv2d_backward(y, cache)[:2]
        seconds[backend] = time.perf_counter() - began
        results[backend] = [np.asarray(array) for array in (y, *gradients)]
    worst = max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in zip(results["numba"], results["reference"], strict=True)
    )
    return (
        "backends agree",
        worst < _TOLERANCE,
        f"convolution, forward and backward, differs by {worst:.1e} at most "
        f"(numba took {seconds['numba']:.1f} s, compilation included)",
    )


def _check_gradient() -> tuple[str, bool, str]:
    """Compare a gradient with a central difference, in float64, without compiling."""
    import numpy as np

    from npresnet import using_backend
    from npresnet.functional import conv2d_backward, conv2d_forward

    rng = np.random.default_rng(1)
    x, direction = rng.standard_normal((2, 2, 2, 5, 7))
    weight = rng.standard_normal((3, 2, 3, 3))
    step = 1e-6
    with using_backend("reference"):
        y, cache = conv2d_forward(x, weight, stride=2, padding=1)
        grad_output = rng.standard_normal(y.shape)
        grad_x, _, _ = conv2d_backward(grad_output, cache)
        ahead, _ = conv2d_forward(x + step * direction, weight, stride=2, padding=1)
        behind, _ = conv2d_forward(x - step * direction, weight, stride=2, padding=1)
    analytic = float((grad_x * direction).sum())
    numeric = float(((ahead - behind) * grad_output).sum() / (2 * step))
    error = abs(analytic - numeric) / abs(analytic)
    return (
        "finite difference",
        error < 1e-6,
        f"gradient {analytic:.6f}, difference quotient {numeric:.6f}",
    )
