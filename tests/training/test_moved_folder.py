"""A run follows its folder, not the folder's path; and no link out of it."""

import os
import sys

import pytest
from click.testing import CliRunner

import npresnet as nr
from npresnet import _files
from npresnet.cli import main
from npresnet.training import RunFolder
from npresnet.training.run_folder import FolderMoved
from tests.training.small import (
    Watch,
    assert_same_run,
    interrupting,
    resume,
    run,
    tensors,
)

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="links and moves are POSIX's"),
]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def at(place, action):
    """Watch a run, and do something once, after a batch of an epoch."""

    def act(*here):
        if here == place:
            action()

    return Watch(act)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of one epoch, in a folder that nobody may write to any more."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with nr.using_algorithm("direct"):
        run(data, folder, epochs=1)
    return folder


def test_moved_in_an_epoch_a_run_stops_with_a_checkpoint_in_the_new_place(
    data, finished, tmp_path
):
    old, new = tmp_path / "old", tmp_path / "new"
    with pytest.raises(FolderMoved) as stopped:
        run(data, old, epochs=1, progress=at((1, 3), lambda: old.rename(new)))
    assert stopped.value.filename == str(old)
    assert stopped.value.strerror == (
        f"the run folder was moved or removed, it is now {new}; stopped in epoch 1 of "
        "1, after step 3 of 5; nothing is lost; continue with: npresnet train --resume "
        f"{new}"
    )
    assert not old.exists()
    kept = tensors(new)
    assert (kept.epoch, kept.part.steps) == (0, 3)
    assert not list(new.glob(".*"))  # the lock neither
    resume(data, new)
    assert_same_run(finished, new)


@pytest.mark.parametrize("instead", ["a new run", "a link to a run"])
def test_what_gets_the_name_of_a_moved_folder_is_left_alone(
    data, finished, tmp_path, instead
):
    old, new = tmp_path / "old", tmp_path / "new"
    before = contents(finished)

    def replace():
        old.rename(new)
        if instead == "a new run":
            # Under way: its lock is held when the first run lets go of its own.
            run(data, old, epochs=1, progress=at((1, 2), lambda: moved.append(1)))
        else:
            old.symlink_to(finished)

    moved = []
    with pytest.raises(FolderMoved, match=f"it is now {new}"):
        run(data, old, epochs=2, progress=at((1, 2), replace))
    assert (tensors(new).epoch, tensors(new).part.steps) == (0, 2)
    assert not (new / "weights.safetensors").exists()
    assert contents(finished) == before
    if instead == "a new run":
        assert moved
        assert_same_run(finished, old)


def test_the_lock_of_a_new_run_is_not_taken_away_by_the_moved_one(data, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"

    def replace():
        old.rename(new)
        stack.append(RunFolder.create(old, "resnet8", "digits").locked())
        assert stack[0].__enter__()

    stack = []
    with pytest.raises(FolderMoved):
        run(data, old, epochs=1, progress=at((1, 1), replace))
    assert (old / ".lock").read_text() == f"{os.getpid()}\n"
    assert not (new / ".lock").exists()
    stack[0].__exit__(None, None, None)
    assert not list(old.iterdir())


def test_moved_in_the_last_moment_a_run_says_where_its_results_are(
    data, finished, tmp_path
):
    old, new = tmp_path / "old", tmp_path / "new"
    with pytest.raises(FolderMoved, match="this run is complete; nothing is lost"):
        run(data, old, epochs=1, callbacks=[lambda row: old.rename(new)])
    assert not (new / "report.html").exists()
    resume(data, new)
    assert (new / "report.html").exists()
    assert_same_run(finished, new)


def test_a_folder_that_is_moved_and_linked_to_is_in_its_place(data, finished, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"

    def move():
        old.rename(new)
        old.symlink_to(new)

    run(data, old, epochs=1, progress=at((1, 3), move))
    assert_same_run(finished, new)


def test_interrupted_in_a_moved_folder_a_run_says_that_it_was_moved(data, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"

    def move_and_interrupt():
        old.rename(new)
        interrupting()

    with pytest.raises(FolderMoved, match="after step 2 of 5; nothing is lost"):
        run(data, old, epochs=1, progress=at((1, 2), move_and_interrupt))
    assert tensors(new).part.steps == 2


def test_where_folders_cannot_be_held_nothing_goes_to_another(
    data, finished, tmp_path, monkeypatch
):
    monkeypatch.setattr(_files, "_CAN_HOLD", False)
    old, new = tmp_path / "old", tmp_path / "new"
    before = contents(finished)

    def replace():
        old.rename(new)
        old.symlink_to(finished)

    with pytest.raises(FolderMoved, match="moved or removed"):
        run(data, old, epochs=2, progress=at((2, 2), replace))
    assert contents(finished) == before
    assert tensors(new).epoch == 1


# ------------------------------------------------------------- files of the user's

OWN = [
    "report.html",
    "curves.png",
    "metrics.csv",
    "weights.safetensors",
    "checkpoint.safetensors",
    "checkpoint-previous.safetensors",
    "checkpoint-damaged.safetensors",
    "config.json",
    ".lock",
]


@pytest.mark.parametrize("kind", ["file", "broken link", "folder"])
@pytest.mark.parametrize("name", OWN)
def test_a_file_of_the_users_is_refused_by_name(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = os.lstat(path)
    result = CliRunner().invoke(main, ["train", "--out", str(tmp_path)])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert name in line
    assert os.listdir(tmp_path) == [name]
    assert os.path.samestat(os.lstat(path), before)
    assert kind != "file" or path.read_text() == "mine"


def test_other_files_are_no_hindrance_and_stay(data, tmp_path):
    others = ["notes.txt", ".new-idea", ".new-report.html", "weights.npz"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".lock").touch()  # empty: nobody's
    run(data, tmp_path, epochs=1)
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert (tmp_path / ".lock").read_bytes() == b""


def test_links_in_a_run_folder_are_not_followed(data, tmp_path):
    folder, target = tmp_path / "run", tmp_path / "target"
    target.write_text("precious")
    folder.mkdir()
    for name in ("report.html", "config.json", "weights.safetensors"):
        (folder / f".new-{name}").symlink_to(target)
    run(data, folder, epochs=1)
    for name in ("report.html", "curves.png", "metrics.csv"):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    resume(data, folder)
    assert target.read_text() == "precious"
    assert not (folder / "report.html").is_symlink()


@pytest.mark.parametrize("kind", ["link", "second name", "fifo"])
def test_a_lock_that_leads_elsewhere_is_refused_by_name(data, finished, tmp_path, kind):
    folder, target = tmp_path / "run", tmp_path / "target"
    folder.mkdir()
    for name, content in contents(finished).items():
        (folder / name).write_bytes(content)
    target.write_text("precious")
    if kind == "link":
        (folder / ".lock").symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(folder / ".lock")
    else:
        os.link(target, folder / ".lock")
    with pytest.raises(FileExistsError, match="left alone") as refused:
        resume(data, folder)
    assert refused.value.filename == str(folder / ".lock")
    assert target.read_text() == "precious"
