"""Files are written whole, under names of their own, into the folder that was meant."""

import errno
import os
import sys

import pytest

from npresnet import _files
from npresnet._files import OpenFolder, replacing, write_text

posix = pytest.mark.skipif(sys.platform == "win32", reason="links are POSIX's")


@pytest.fixture(params=["held", "by path"])
def folder(request, tmp_path, monkeypatch):
    """An open folder, on a system that can hold one, and on one that cannot."""
    if request.param == "by path":
        monkeypatch.setattr(_files, "_CAN_HOLD", False)
        monkeypatch.setattr(_files, "_NO_FOLLOW", 0)
    path = tmp_path / "folder"
    path.mkdir()
    with OpenFolder(path) as opened:
        yield opened


def put(folder, name, content):
    with folder.replacing(name) as file:
        file.write(content)


def test_a_file_is_the_old_one_or_the_new_one(folder):
    put(folder, "a", b"old")
    with pytest.raises(KeyboardInterrupt), folder.replacing("a") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert (folder.path / "a").read_bytes() == b"old"
    put(folder, "a", b"new")
    assert (folder.path / "a").read_bytes() == b"new"
    assert folder.names() == ["a"]


def test_two_that_write_the_same_name_at_once_do_not_meet(folder):
    with folder.replacing("a") as one, folder.replacing("a") as other:
        one.write(b"one")
        other.write(b"other, longer")
    assert (folder.path / "a").read_bytes() in (b"one", b"other, longer")
    assert folder.names() == ["a"]


def test_a_new_file_has_the_rights_of_any_other(folder):
    put(folder, "a", b"")
    (folder.path / "b").write_bytes(b"")
    assert folder.stat("a").st_mode == folder.stat("b").st_mode


@posix
def test_a_link_is_replaced_and_what_it_leads_to_stays(folder, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (folder.path / "a").symlink_to(target)
    put(folder, "a", b"new")
    assert not (folder.path / "a").is_symlink()
    assert target.read_bytes() == b"precious"


@posix
@pytest.mark.parametrize("kind", ["link", "broken link", "folder", "fifo"])
def test_only_files_are_opened(folder, tmp_path, kind):
    target, path = tmp_path / "target", folder.path / "a"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_bytes(b"precious")
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        with pytest.raises(FileExistsError, match="left alone") as refused:
            folder.open("a", flags)
        assert refused.value.filename == str(path)
    assert target.exists() == (kind == "link")
    assert kind != "link" or target.read_bytes() == b"precious"


@posix
def test_a_link_that_appears_after_the_look_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "_CAN_HOLD", False)
    monkeypatch.setattr(_files, "_NO_FOLLOW", 0)
    target, really_open = tmp_path / "target", os.open
    target.write_bytes(b"precious")

    def late(path, *arguments, **named):
        (tmp_path / "a").symlink_to(target)
        return really_open(path, *arguments, **named)

    with OpenFolder(tmp_path) as folder, monkeypatch.context() as patch:
        patch.setattr(os, "open", late)
        with pytest.raises(FileExistsError, match="found a symbolic link"):
            folder.open("a", os.O_RDWR | os.O_CREAT)
    assert target.read_bytes() == b"precious"


@posix
@pytest.mark.parametrize("instead", ["nothing", "another folder", "a link to another"])
def test_a_folder_that_was_moved_is_noticed(folder, tmp_path, instead):
    assert folder.is_in_place()
    moved, other = tmp_path / "moved", tmp_path / "other"
    folder.path.rename(moved)
    other.mkdir()
    if instead == "another folder":
        other.rename(folder.path)
    elif instead == "a link to another":
        folder.path.symlink_to(other)
    assert not folder.is_in_place()
    with pytest.raises(FileNotFoundError, match="moved or removed") as noticed:
        folder.check_place()
    assert noticed.value.filename == str(folder.path)
    if _files._CAN_HOLD:  # goes on in the folder
        put(folder, "a", b"new")
        assert (moved / "a").read_bytes() == b"new"
    else:  # or not at all
        with pytest.raises(FileNotFoundError, match="moved or removed"):
            put(folder, "a", b"new")
        assert list(moved.iterdir()) == []
    assert not other.exists() or list(other.iterdir()) == []
    assert not folder.path.exists() or list(folder.path.iterdir()) == []


@posix
def test_a_link_to_the_folder_itself_is_its_place(folder, tmp_path):
    folder.path.rename(tmp_path / "moved")
    folder.path.symlink_to(tmp_path / "moved")
    assert folder.is_in_place()


def test_another_working_directory_moves_nothing(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with OpenFolder("folder") as folder:
        monkeypatch.chdir(tmp_path / "folder")
        assert folder.is_in_place()


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="nobody else tells")
def test_where_a_folder_went_is_found_out(tmp_path):
    (tmp_path / "folder").mkdir()
    with OpenFolder(tmp_path / "folder") as folder:
        (tmp_path / "folder").rename(tmp_path / "new")
        assert folder.whereabouts() == tmp_path / "new"
        (tmp_path / "new").rmdir()
        assert folder.whereabouts() is None


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, number in (("file", errno.ENOTDIR), ("none", errno.ENOENT)):
        with pytest.raises(OSError, match=name) as refused:
            OpenFolder(tmp_path / name)
        assert refused.value.errno == number


def test_text_is_written_letter_by_letter(tmp_path):
    write_text(tmp_path / "a", "é\r\n\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\r\n\n"
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a"):
        pass
