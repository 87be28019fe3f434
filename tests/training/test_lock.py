"""Two runs never share a folder, and a lock dies with its process."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from npresnet.cli import main
from npresnet.training import RunFolder, lock
from npresnet.training.lock import locked
from tests.training.small import Watch, assert_same_run, resume, run

posix = pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX's")


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from npresnet.training.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r})):\n"
        "    print('locked', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def assert_free(folder):
    with locked(folder) as held:
        assert held
    assert list(folder.iterdir()) == []


def test_another_process_is_kept_out_and_told_by_whom(holder, tmp_path):
    with pytest.raises(BlockingIOError) as refused, locked(tmp_path):
        pytest.fail("two at once")
    assert str(refused.value) == (
        f"{tmp_path}: another run is under way in this folder (process {holder.pid})"
    )
    assert (tmp_path / ".lock").exists()
    holder.communicate()
    assert_free(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_lock_dies_with_a_process_that_is_killed(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").exists()  # which means nothing
    assert_free(tmp_path)


FORKING = """
import os, signal, sys
from pathlib import Path
from npresnet.training.lock import locked
with locked(Path(sys.argv[1])):
    if not (child := os.fork()):
        {child}
    {parent}
    print(child, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def forking(tmp_path):
    """Start a process that holds the lock and has forked; return it and its child."""
    started = []

    def start(child, parent="pass"):
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                FORKING.format(child=child, parent=parent),
                tmp_path,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_forked_child_does_not_keep_the_lock_of_a_parent_that_was_killed(
    forking, tmp_path
):
    process, child = forking("signal.pause()")
    try:
        process.kill()
        process.wait()
        os.kill(child, 0)  # it is still there
        assert_free(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_forked_child_that_leaves_does_not_let_go_for_its_parent(forking, tmp_path):
    process, _ = forking("sys.exit()", "os.waitpid(child, 0)")
    with pytest.raises(BlockingIOError, match=f"process {process.pid}"):
        with locked(tmp_path):
            pytest.fail("two at once")
    process.communicate()
    assert_free(tmp_path)


def test_a_thread_of_the_same_process_is_kept_out(tmp_path):
    refused = []

    def try_to():
        try:
            with locked(tmp_path):
                pass
        except BlockingIOError as error:
            refused.append(error)

    with locked(tmp_path):
        thread = threading.Thread(target=try_to)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert_free(tmp_path)


def test_what_a_lock_file_says_does_not_matter(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff\0 not a process\n" * 5)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert_free(tmp_path)


@posix
def test_a_file_that_its_holder_removed_meanwhile_is_not_taken_for_the_lock(
    tmp_path, monkeypatch
):
    take, removed = lock._lock, []

    def late(descriptor):
        if not removed:  # the holder ends between our opening and our locking
            removed.append(os.fstat(descriptor).st_ino)
            (tmp_path / ".lock").unlink()
        return take(descriptor)

    monkeypatch.setattr(lock, "_lock", late)
    with locked(tmp_path):
        assert removed
        with pytest.raises(BlockingIOError), locked(tmp_path):
            pytest.fail("two at once")


@posix
def test_a_file_system_without_locks_is_said(data, tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    watch = Watch()
    run(data, tmp_path / "run", epochs=1, progress=watch)
    assert watch.said[0] == f"{tmp_path / 'run'}: no locks here; start no second run"


def test_a_second_run_is_refused_while_the_first_goes_on(data, whole, tmp_path):
    refused = []

    def act(epoch, batch):
        if (epoch, batch) in ((1, 0), (2, 3)):
            before = {p.name: p.read_bytes() for p in folder.iterdir()}
            with pytest.raises(BlockingIOError, match="another run is under way"):
                resume(data, folder)
            # The same from the command line.
            result = CliRunner().invoke(main, ["train", "--resume", str(folder)])
            assert result.exit_code == 2
            (line,) = result.stderr.splitlines()
            refused.append(line)
            assert {p.name: p.read_bytes() for p in folder.iterdir()} == before

    folder = tmp_path / "run"
    run(data, folder, progress=Watch(act))
    assert len(refused) == 2
    assert_same_run(whole, folder)


def test_of_two_that_begin_at_once_the_second_finds_a_run(data, tmp_path, monkeypatch):
    create = RunFolder.create

    def outrun(*arguments):
        folder = create(*arguments)
        monkeypatch.setattr(RunFolder, "create", create)
        run(data, tmp_path / "run", epochs=1)  # somebody is quicker
        return folder

    monkeypatch.setattr(RunFolder, "create", outrun)
    with pytest.raises(FileExistsError, match="already holds a run"):
        run(data, tmp_path / "run", epochs=2)
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 2
