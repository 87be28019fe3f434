"""Disks that are full, folders that are read-only or gone: what was kept stays."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress

import pytest

from npresnet.training import RunFolder
from npresnet.training import checkpoint as checkpoints
from tests.training.small import Watch, assert_same_run, resume, run, tensors

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="limits and mounts are POSIX's"),
]


@contextmanager
def files_no_larger_than(size):
    """Let the system refuse to write beyond so many bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB of its own, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk):
    """Leave no byte on a disk; return the file that takes them."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def descriptors_of(path):
    """List the numbers under which this process has a file open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}") == str(path):
                found.append(int(number))
    return found


def at(place, action):
    """Watch a run, and do something once, after a batch of an epoch."""

    def act(*here):
        if here == place:
            action()

    return Watch(act)


def test_a_file_that_cannot_grow_names_the_folder_and_keeps_the_last_epoch(
    data, whole, tmp_path
):
    folder = tmp_path / "run"

    def stop_writing():
        limit.enter_context(files_no_larger_than(100_000))

    with ExitStack() as limit, pytest.raises(OSError, match="File too large") as raised:
        run(data, folder, progress=at((3, 2), stop_writing))
    assert raised.value.filename == str(folder)
    assert "the weights of epoch 2 are kept" in str(raised.value)
    assert tensors(folder).epoch == 2
    assert not list(folder.glob(".*"))  # neither half a file nor the lock
    resume(data, folder)
    assert_same_run(whole, folder)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_full_disk_keeps_the_last_epoch(data, whole, small_disk, epoch):
    folder = small_disk / "run"
    with pytest.raises(OSError, match="No space left on device") as raised:
        run(data, folder, progress=at((epoch, 2), lambda: fill(small_disk)))
    assert raised.value.filename == str(folder)
    assert tensors(folder).epoch == epoch - 1
    with pytest.raises(OSError, match="No space left on device"):
        resume(data, folder)
    (small_disk / "filler").unlink()
    resume(data, folder)
    assert_same_run(whole, folder)
    assert not list(folder.glob(".*"))


def test_a_disk_that_is_full_from_the_start_says_so_at_once(data, small_disk):
    fill(small_disk)
    with pytest.raises(OSError, match="No space left on device") as raised:
        run(
            data,
            small_disk / "run",
            progress=at((1, 1), lambda: pytest.fail("went on")),
        )
    assert raised.value.filename == str(small_disk / "run")
    (small_disk / "filler").unlink()
    run(data, small_disk / "run", epochs=1)  # the folder still holds no run


def test_a_disk_that_is_full_for_a_while_costs_nothing(data, whole, small_disk):
    folder = small_disk / "run"
    fillers = []
    watch = Watch(
        lambda epoch, batch: {
            (2, 1): lambda: fillers.append(fill(small_disk)),
            (2, 4): lambda: fillers.pop().unlink(),
        }.get((epoch, batch), lambda: None)()
    )
    run(data, folder, progress=watch, checkpoint_seconds=0)
    told = [text for text in watch.said if "no checkpoint" in text]
    assert len(told) == 3  # after batches 1, 2 and 3
    assert "No space left on device" in told[0]
    assert_same_run(whole, folder)


def test_a_folder_that_becomes_read_only_keeps_what_it_has(data, whole, small_disk):
    folder, disk = small_disk / "run", str(small_disk)

    def forbid_writing():
        # A disk on which a file is open to be written cannot be made read-only: the
        # lock's goes on as one that is open to be read.
        (lock,) = descriptors_of(folder / ".lock")
        reading = os.open(folder / ".lock", os.O_RDONLY)
        os.dup2(reading, lock)
        os.close(reading)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    try:
        with pytest.raises(OSError, match="Read-only file system") as raised:
            run(data, folder, progress=at((3, 2), forbid_writing))
        assert raised.value.filename == str(folder)
        assert tensors(folder).epoch == 2
        with pytest.raises(OSError, match="Read-only file system; nothing was changed"):
            resume(data, folder)
        with pytest.raises(OSError, match="Read-only file system"):
            run(data, small_disk / "other")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    resume(data, folder)
    assert_same_run(whole, folder)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_is_named(data, tmp_path):
    folder = tmp_path / "run"
    run(data, folder, epochs=1)
    folder.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match="nothing was changed") as raised:
            resume(data, folder)
        assert raised.value.filename == str(folder)
    finally:
        folder.chmod(0o755)


def test_a_folder_that_vanished_is_named(data, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(
        FileNotFoundError, match="the run folder was moved or"
    ) as raised:
        run(data, folder, progress=at((2, 2), lambda: shutil.rmtree(folder)))
    assert raised.value.filename == str(folder)
    assert not folder.exists()


def test_a_folder_that_was_moved_goes_on_in_its_new_place(data, whole, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    with pytest.raises(FileNotFoundError):
        run(data, old, progress=at((3, 2), lambda: old.rename(new)))
    assert tensors(new).epoch == 2
    resume(data, new)
    assert_same_run(whole, new)


@pytest.mark.parametrize("failing", ["write_weights", "write_metrics"])
def test_results_that_cannot_be_written_are_written_by_the_next_run(
    data, whole, tmp_path, monkeypatch, failing
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, failing, full)
        with pytest.raises(OSError, match="the checkpoint is written"):
            run(data, folder)
    assert tensors(folder).epoch == 1
    resume(data, folder)
    assert_same_run(whole, folder)
    assert len((folder / "metrics.csv").read_text().splitlines()) == 5


def test_leftovers_are_removed_and_other_files_are_not(data, whole, tmp_path):
    folder = tmp_path / "run"
    run(data, folder)
    leftovers = [".new-config.json", "..new-checkpoint.safetensors.1f.tmp"]
    others = [".notes.tmp", ".new-idea", "notes.txt"]
    for name in (*leftovers, *others):
        (folder / name).write_text("x")
    checkpoints.load(RunFolder(folder).checkpoint_path)
    resume(data, folder)
    assert not any((folder / name).exists() for name in leftovers)
    assert all((folder / name).read_text() == "x" for name in others)
    assert_same_run(whole, folder)
