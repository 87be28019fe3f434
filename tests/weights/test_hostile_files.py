"""Broken and malicious files: each is refused in one line, and nothing runs."""

import pickletools  # noqa: F401  (imported where an error is worded)
import re
import sys
import time
import tracemalloc

import pytest
import safetensors  # noqa: F401  (imported by load)

from npresnet import weights

from .hostile import CASES
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
    acts = []
    monkeypatch.setattr(sys.modules[__name__], "_watched", acts)
    try:
        weights.load(path)
    except ValueError as error:
        assert type(error) is ValueError
        return str(error), acts
    finally:
        monkeypatch.setattr(sys.modules[__name__], "_watched", None)
    pytest.fail("the file was loaded")


def test_there_are_at_least_forty_hostile_files():
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_is_refused_in_one_line_and_nothing_runs(
    case, tmp_path, monkeypatch
):
    make, says = CASES[case]
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pth"
    path.write_bytes(make(f"echo > {marker}"))
    before = sorted(tmp_path.iterdir())

    tracemalloc.start()
    began = time.monotonic()
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
    assert time.monotonic() - began < 30


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
