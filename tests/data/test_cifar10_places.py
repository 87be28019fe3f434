"""CIFAR-10 where people have it: unpacked by a browser, in Keras' cache, in a zip."""

import os
import pickle
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from npresnet.data import cifar10
from tests.data.test_cifar10 import assert_is, message_of

LAYOUTS = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}


@pytest.fixture(params=["binary", "python"])
def layout(request):
    return request.param


@pytest.fixture
def source(layout, small_cifar, tmp_path):
    """A folder in one of the official layouts, beside the one that is looked into."""
    return getattr(small_cifar, f"write_{layout}")(tmp_path / "source")


@pytest.fixture
def where(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def as_tar(folder, archive, inside=None, mode="w"):
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, arcname=inside or folder.name)


def as_zip(folder, archive, inside=None):
    prefix = f"{folder.name}/" if inside is None else inside
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.iterdir()):
            packed.write(path, prefix + path.name)


@pytest.mark.parametrize(
    "name",
    [
        "cifar-10-{}.tar",  # a browser unpacked it
        "cifar-10-{}.tar.gz",  # likewise, and kept the name
    ],
)
def test_a_plain_tar_is_read(name, layout, source, where, small_cifar):
    as_tar(source, where / name.format(layout))
    assert_is(small_cifar, cifar10(where))


@pytest.mark.parametrize(
    "name",
    [
        "cifar-10-{} (1).tar.gz",
        "cifar-10-{}.tar (1).gz",
        "cifar-10-{}(2).tar.gz",
        "cifar-10-{}.tgz",
        "CIFAR-10-{}.tar.gz",
        "cifar10-{}-copy.tar.gz",
        "cifar-10-batches-{}.tar.gz",  # Keras
    ],
)
def test_archives_under_other_names_are_read(name, layout, source, where, small_cifar):
    as_tar(source, where / name.format(layout), mode="w:gz")
    assert_is(small_cifar, cifar10(where))


@pytest.mark.parametrize("inside", [None, "", "deep/er/"])
def test_a_zip_is_read(inside, layout, source, where, small_cifar):
    as_zip(source, where / f"cifar-10-{layout}.zip", inside)
    before = sorted(where.rglob("*"))
    assert_is(small_cifar, cifar10(where))
    assert_is(small_cifar, cifar10(where / f"cifar-10-{layout}.zip"))
    assert sorted(where.rglob("*")) == before


def test_a_zip_made_on_a_mac_is_read(source, where, small_cifar):
    archive = where / "cifar-10.zip"
    as_zip(source, archive)
    with zipfile.ZipFile(archive, "a") as packed:
        for path in source.iterdir():
            packed.writestr(f"__MACOSX/{source.name}/._{path.name}", b"resource fork")
    assert_is(small_cifar, cifar10(where))


@pytest.mark.parametrize(
    "place",
    [
        "{0}/{0}",  # unpacked into a folder of its own name
        "{0}-target/{0}",  # Keras
        "cifar-10-python/{0}",
        "datasets/{0}",
        "my-cifar",  # another name
    ],
)
def test_folders_lie_one_deeper(place, layout, source, where, small_cifar):
    shutil.copytree(source, where / place.format(LAYOUTS[layout]))
    for number in range(5):
        (where / f"another {number}").mkdir()
    assert_is(small_cifar, cifar10(where))


def test_an_archive_lies_one_deeper(layout, source, where, small_cifar):
    as_tar(source, where / "downloads" / f"cifar-10-{layout}.tar.gz", mode="w:gz")
    assert_is(small_cifar, cifar10(where))


def test_a_batch_stands_for_its_folder(source, small_cifar):
    for path in source.iterdir():
        assert_is(small_cifar, cifar10(path))


def test_folders_of_an_archive_have_any_name(layout, source, where, small_cifar):
    for number, inside in enumerate((".", "x", "./a/b", f"old/{source.name}")):
        archive = where / f"cifar-10-{number}.tar"
        as_tar(source, archive, inside)
        assert_is(small_cifar, cifar10(archive))


def test_the_archive_after_a_broken_download_is_found(source, where, small_cifar):
    broken, whole = where / "cifar-10-python.tar.gz", where / "cifar-10-python (1).tgz"
    as_tar(source, whole, mode="w:gz")
    broken.write_bytes(whole.read_bytes()[:500])
    assert_is(small_cifar, cifar10(where))
    whole.unlink()
    assert message_of(ValueError, cifar10, where).startswith(f"{broken}: damaged")


def test_a_home_is_expanded(source, where, small_cifar, monkeypatch):
    monkeypatch.setenv("HOME", str(where.parent))
    monkeypatch.setenv("USERPROFILE", str(where.parent))
    shutil.copytree(source, where / source.name)
    assert_is(small_cifar, cifar10("~/data"))
    assert_is(small_cifar, cifar10(Path("~") / "data"))
    message = message_of(FileNotFoundError, cifar10, "~nobody-of-this-name/data")
    assert message.startswith("~nobody-of-this-name/data: no CIFAR-10 here")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such permissions")
def test_a_folder_that_nobody_may_read_is_passed_over(
    source, where, small_cifar, monkeypatch
):
    """As lost+found is at the root of a disk; root, who may run this, reads it."""
    shutil.copytree(source, where / "set" / source.name)
    (where / "lost+found").mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert_is(small_cifar, cifar10(where))


def test_what_comes_near_is_named(where):
    (where / "cifar-10-batches-mat").mkdir()
    (where / "cifar-100-python.tar.gz").write_bytes(b"")
    (where / "cifar-10-python.tar.gz.part").write_bytes(b"")
    (where / "letter.txt").write_text("")
    message = message_of(FileNotFoundError, cifar10, where)
    assert (
        "the nearest things there are cifar-10-batches-mat/, "
        "cifar-10-python.tar.gz.part, cifar-100-python.tar.gz (" in message
    )


def test_the_archive_of_cifar100_or_for_matlab_is_not_opened(where):
    for name in ("cifar-100-binary.tar.gz", "cifar-10-matlab.tar.gz"):
        (where / name).write_text("not an archive")
    assert "nearest" in message_of(FileNotFoundError, cifar10, where)


def test_labels_pickled_again_as_an_array_are_read(small_cifar, tmp_path):
    def dump(batch):
        if "labels" in batch:
            batch = {**batch, "labels": np.array(batch["labels"])}
        return pickle.dumps(batch, 5)

    small_cifar.write_python(tmp_path, dump)
    assert_is(small_cifar, cifar10(tmp_path))


# A zip is no safer than a tar.


def zip_of(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("../outside", b"", "member '../outside' leads out of the archive"),
        ("/etc/npresnet", b"", "member '/etc/npresnet' leads out of the archive"),
        (link("a/b"), b"/etc/passwd", "member 'a/b' is a link"),
        ("x/data_batch_1.bin", bytes(30_730_001), "expected no more than 30,730,000"),
        ("x/movie", bytes(1024 * 1024 + 1), "expected no more than 1,048,576"),
    ],
)
def test_a_zip_with_a_member_out_of_place_is_refused(member, content, message, where):
    archive = zip_of(where / "cifar-10.zip", (member, content))
    text = message_of(ValueError, cifar10, where)
    assert text.startswith(f"{archive}: refused: ")
    assert text.endswith(message)


@pytest.mark.parametrize("large", [False, True], ids=["many", "more than 65,535"])
def test_a_zip_with_too_many_members_is_refused_unread(large, where, monkeypatch):
    archive = zip_of(where / "a.zip", *((f"{i}", b"") for i in range(65)))
    if large:  # numbers of more than 16 bits stand in a record of their own
        content = archive.read_bytes()
        end = content[-22:]
        end = end[:8] + b"\x01\x00\x01\x00" + end[12:]
        locator = b"PK\x06\x07" + bytes(16)
        archive.write_bytes(content[:-22] + locator + end)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # would read all their names
    message = message_of(ValueError, cifar10, archive)
    assert message == f"{archive}: refused: has more than 64 members"


def test_a_damaged_zip_is_refused(source, where):
    archive = where / "cifar-10.zip"
    as_zip(source, archive)
    whole = archive.read_bytes()
    middle = len(whole) // 2
    for content in (
        whole[:middle],
        whole[:middle] + bytes(1000) + whole[middle + 1000 :],
        whole[:-30] + bytes(30),
    ):
        archive.write_bytes(content)
        message = message_of(ValueError, cifar10, where)
        assert message.startswith(
            f"{archive}: damaged or not a .tar.gz, .tar or .zip ("
        )
