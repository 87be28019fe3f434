"""Broken and malicious files: each is refused in one line, and nothing runs."""

import pickletools  # noqa: F401  (imported where an error is worded)
import re
import sys
import time
import tracemalloc
from contextlib import contextmanager

import pytest
import safetensors  # noqa: F401  (imported by load)

from npresnet import weights
from npresnet.untrusted import _pickle_machine
from npresnet.untrusted.pickle_values import Placeholder

from .craft import SIX
from .hostile import BOMBS, CASES, INERT
from .hostile.programs import bare_pickle, os_system_in_a_zip

MEBIBYTE = 1 << 20

# What an interpreter does when a file makes it act. Hooks cannot be removed, so this
# one listens only while `watched` is a list.
_ACTS = (
    "exec",
    "import",
    "pickle.find_class",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes",
)
_watched = None


def _listen(event, args):
    if _watched is not None:
        writes = event == "open" and args[1] is not None and "r" not in str(args[1])
        if writes or event.startswith(_ACTS):
            _watched.append((event, args))


sys.addaudithook(_listen)


def refusal(path, monkeypatch):
    """Load a file, and return the message of its ValueError and what was done."""
    with watching(monkeypatch) as acts:
        try:
            weights.load(path)
        except ValueError as error:
            assert type(error) is ValueError
            return str(error), acts
    pytest.fail("the file was loaded")


@contextmanager
def watching(monkeypatch):
    """Yield the list of what is done within the block."""
    acts = []
    monkeypatch.setattr(sys.modules[__name__], "_watched", acts)
    try:
        yield acts
    finally:
        monkeypatch.setattr(sys.modules[__name__], "_watched", None)


def test_there_are_at_least_forty_hostile_files():
    assert len(CASES) >= 40


@pytest.fixture
def lower_limits(monkeypatch):
    """Let bombs reach a pickle's limits twenty times sooner."""
    for name in ("MAX_STEPS", "MAX_MEMO"):
        limit = getattr(_pickle_machine, name)
        monkeypatch.setattr(_pickle_machine, name, limit // 20)


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_is_refused_in_one_line_and_nothing_runs(
    case, tmp_path, monkeypatch, lower_limits
):
    refuse(case, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "case",
    [
        case if case == "too_many_dicts" else pytest.param(case, marks=pytest.mark.slow)
        for case in CASES
        if case in BOMBS
    ],
)
def test_a_bomb_is_refused_before_memory_or_time_run_out(case, tmp_path, monkeypatch):
    refuse(case, tmp_path, monkeypatch)


def refuse(case, tmp_path, monkeypatch):
    make, says = CASES[case]
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    path.write_bytes(make(f"echo > {marker}"))
    before = sorted(tmp_path.iterdir())

    tracemalloc.start()
    began = time.process_time()
    try:
        message, acts = refusal(path, monkeypatch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert message.startswith(f"{path}: ")
    assert "\n" not in message and len(message) < len(str(path)) + 400
    assert re.search(says, message)
    assert acts == []
    assert sorted(tmp_path.iterdir()) == before  # neither the marker nor anything else
    assert peak < 160 * MEBIBYTE
    assert time.process_time() - began < 30


@pytest.mark.parametrize("case", INERT)
def test_what_lies_beside_the_weights_is_a_placeholder_and_nothing_runs(
    case, tmp_path, monkeypatch
):
    make, type_ = INERT[case]
    path = tmp_path / "odd.pth"
    path.write_bytes(make(f"echo > {tmp_path / 'marker'}"))
    modules = set(sys.modules)
    with watching(monkeypatch) as acts:
        loaded = weights.load(path)
    assert acts == [] and list(tmp_path.iterdir()) == [path]
    assert set(sys.modules) == modules
    assert loaded["w"].tobytes() == SIX
    assert isinstance(loaded["x"], Placeholder)
    assert loaded["x"].type == type_
    assert repr(loaded["x"]) == f"<{type_}, not built>"
    assert not callable(loaded["x"])


def test_the_commands_of_these_files_would_have_run(tmp_path):
    import pickle as pythons

    marker = tmp_path / "marker"
    data = bare_pickle(f"echo > {marker}")
    pythons.loads(data)
    assert marker.exists()


@pytest.mark.parametrize("name", ["evil.safetensors", "evil.npz", "evil", "évil\n.pt"])
def test_the_name_of_a_file_does_not_make_it_trusted(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(os_system_in_a_zip(f"echo > {tmp_path / 'marker'}"))
    message, acts = refusal(path, monkeypatch)
    assert "os.system" in message and "\n" not in message
    assert acts == [] and list(tmp_path.iterdir()) == [path]
