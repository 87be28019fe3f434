"""What every test shares: seeds, strict arithmetic, both backends, the oracle.

The tolerances are in tests/oracle/compare.py, and nowhere else.
"""

import gc
import importlib.metadata
import importlib.util
import os
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import npresnet as nr
from tests.models.built import built
from tests.oracle.compare import TALLY
from tests.training.pictures import not_drawn

# Modules of the oracle import torch; --doctest-modules would import them all.
collect_ignore_glob = ["oracle/*"]

# The ordinary run sees the same cases each time, and with either backend and in either
# precision (see `pytest_configure`). `--hypothesis-profile=thorough` sees more of them,
# `--hypothesis-profile=wide` others each time.
settings.register_profile(
    "ordinary",
    max_examples=40,
    database=None,
    deadline=None,
    # The fixtures in question are a switch and a dtype: the same for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", settings.get_profile("ordinary"), max_examples=100
)
settings.register_profile(
    "wide",
    settings.get_profile("ordinary"),
    max_examples=1000,
    database=settings().database,
    print_blob=True,
)
settings.load_profile("ordinary")


def pytest_configure(config):
    # One seed for all tests: what PyTorch says of a case is then asked only once.
    if config.option.hypothesis_profile != "wide" and not config.option.hypothesis_seed:
        config.option.hypothesis_seed = "0"
    # Several processes, one thread each: pools of threads would only hinder each other.
    # The processes that run tests inherit it. A test about threads sets its number.
    if getattr(config.option, "numprocesses", None):
        for pool in ("NPRESNET", "OPENBLAS", "OMP", "MKL"):
            os.environ[f"{pool}_NUM_THREADS"] = "1"
    # The tests' own folder of compiled kernels: it outlives a run, so that only the
    # first one compiles, and a user's cache is left alone.
    if "NPRESNET_CACHE_DIR" not in os.environ:
        folder = config.rootpath / ".pytest_cache" / "d" / "npresnet-kernels"
        os.environ["NPRESNET_CACHE_DIR"] = str(folder)


def pytest_collection_modifyitems(items):
    """Mark what asks for torch, and say so where it is skipped for want of it."""
    missing = importlib.util.find_spec("torch") is None
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.torch)
            if missing:
                item.add_marker(pytest.mark.skip(reason="PyTorch is not installed"))


def pytest_runtest_setup(item):
    """Let each test draw the same random numbers; tell the tally which one it is."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (for code that draws from the global state)
    TALLY.test = item.nodeid if item.get_closest_marker("torch") else None


def pytest_sessionstart():
    """Forget the networks of an earlier run in this process: a bug may be in now."""
    built.cache_clear()


def pytest_collection_finish():
    """Let the collector of garbage pass by what stays to the end: a million objects."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Gather what a process of its own has compared."""
    TALLY.merge(*getattr(node, "workeroutput", {}).get("tally", ((), (), 0)))


def pytest_sessionfinish(session):
    """Hand over what was compared, if this process is one of several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = TALLY.counted()


def pytest_terminal_summary(terminalreporter):
    """State how many numbers were compared with PyTorch's, and the worst errors."""
    if TALLY.total:
        version = importlib.metadata.version("torch").split("+")[0]
        terminalreporter.section(f"parity with PyTorch {version}")
        for line in TALLY.lines():
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _strict_arithmetic_exact_convolutions():
    """Overflow, division by zero and invalid operations are errors, as in a debugger.

    Underflow is not: a softmax may round to zero. Tolerances are those of direct sums;
    Winograd's are in tests/backend. (One fixture: ten thousand tests set it up.)
    """
    with np.errstate(all="raise", under="ignore"), nr.using_algorithm("direct"):
        yield


@pytest.fixture(autouse=True, scope="module")
def _undrawn(request):
    """Let runs draw no picture, unless the module is marked as one that looks."""
    if request.node.get_closest_marker("drawn"):
        yield
    else:
        with not_drawn():
            yield


@pytest.fixture
def jupyter_of_its_own(tmp_path, monkeypatch):
    """Let Jupyter neither see nor change the user's settings."""
    for part in ("config", "data", "runtime"):
        folder = tmp_path / "jupyter" / part
        monkeypatch.setenv(f"JUPYTER_{part.upper()}_DIR", str(folder))
    monkeypatch.setenv("JUPYTERLAB_SETTINGS_DIR", str(tmp_path / "jupyter" / "lab"))
    monkeypatch.setenv("JUPYTERLAB_WORKSPACES_DIR", str(tmp_path / "jupyter" / "lab"))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(params=["reference", "numba"])
def backend(request):
    """Run the test twice: once on the readable NumPy, once on the compiled kernels."""
    with nr.using_backend(request.param):
        yield request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(scope="session")
def torch():
    """PyTorch, on one thread: two pools of threads in one process hinder each other."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="session")
def oracle(torch):
    """The PyTorch twins of the networks."""
    del torch
    return importlib.import_module("tests.oracle.resnet")
