"""What is compiled in different processes can be used together."""

import os
import re
import subprocess
import sys

import pytest

USE = """
import numpy as np
from npresnet.backend import Geometry, kernels
rng = np.random.default_rng(0)
geometry = Geometry.of((12, 12), 3, padding=1)
for C in (3, 64):
    x, grad = rng.standard_normal((2, 4, C, 12, 12), dtype=np.float32)
    weight = rng.standard_normal((C, C, 3, 3), dtype=np.float32)
    kernels.conv2d(x, weight, geometry)
    kernels.conv2d_grad_input(grad, weight, geometry)
    kernels.conv2d_grad_weight(grad, x, geometry)
"""


@pytest.mark.slow
def test_no_function_that_is_kept_shares_its_name_with_another(tmp_path):
    """Numba numbers functions of one name anew in every process, so that code kept by
    two processes can bear one name and be two things: functions made inside of others
    need names of their own (`vectors.named`)."""
    environment = {**os.environ, "NPRESNET_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", USE], env=environment, check=True)
    kept = list(tmp_path.rglob("*.nbc"))
    assert len(kept) > 10
    names = set()
    for file in kept:
        names.update(re.findall(rb"_ZN8npresnet[0-9A-Za-z_]+", file.read_bytes()))
    assert any(b"two_sided_product" in name for name in names)
    # "_3clocals_3e": <locals>, in the name of what a function has made.
    assert [name for name in names if b"_3clocals_3e" in name] == []
