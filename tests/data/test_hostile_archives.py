"""Archives and batches that would take all memory, or that are no data at all."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest

from npresnet.data import cifar10
from npresnet.untrusted import _pickle_machine, pickles

from .conftest import pack, python2_pickle

MEBIBYTE = 1 << 20


def refusal(path):
    """Return the message without the path, and the peak of Python's memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as raised:
            cifar10(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(raised.value)
    assert text.startswith(f"{path}") and text.isprintable() and len(text) < 500
    return text[len(str(path)) :].removeprefix(": "), peak


def extension(kind, size, content=b""):
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def member(name="readme.html"):
    return tarfile.TarInfo(name).tobuf() + bytes(1024)


def pax(**fields):
    text = b""
    for key, value in fields.items():
        body = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(body) + 2
        text += str(length + (len(str(length)) > 2)).encode() + body
    return extension(tarfile.XHDTYPE, len(text), text)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    ],
)
def test_a_header_of_200_megabytes_is_not_read(kind, tmp_path):
    archive = tmp_path / "a.tar.gz"
    size = 200 * MEBIBYTE
    with gzip.open(archive, "wb", 1) as file:
        file.write(extension(kind, size))
        file.write(bytes(MEBIBYTE))  # never reached
    message, peak = refusal(archive)
    assert message == (
        "refused: has a header of 209,715,200 bytes, expected no more than 4,096"
    )
    assert peak < 2 * MEBIBYTE


@pytest.mark.parametrize(
    "header",
    [
        extension(tarfile.GNUTYPE_SPARSE, 0),
        pax(GNU__sparse__map="0,1", GNU__sparse__size="1") + member(),
        pax(GNU__sparse__size="1") + member(),
        pax(GNU__sparse__major="1", GNU__sparse__minor="0") + member(),
    ],
)
def test_files_with_holes_are_refused_in_all_forms(header, tmp_path):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(header))
    assert refusal(archive)[0] == "refused: has a member with holes"


def test_a_chain_of_headers_ends_in_one_line(tmp_path):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(pax(comment="x") * 3_000))
    message, peak = refusal(archive)
    assert "(header follows header, and no file)" in message
    assert peak < 40 * MEBIBYTE


def test_names_that_move_the_cursor_are_shown_as_escapes(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("../\x1b[2J\x1b]0;owned\x07" + "a" * 3000)
        tar.addfile(info)
    message, _ = refusal(archive)
    assert message.startswith(r"refused: member '../\x1b[2J\x1b]0;owned\x07aaa")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><title>429</title>", "it is a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"no such bucket", "it is a text that begins with 'no such bucket'"),
        (b"PK\3\4" + bytes(60), "it is a zip archive"),
    ],
)
def test_an_archive_that_is_something_else_is_named(content, says, tmp_path):
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        cifar10(tmp_path)
    assert says in str(raised.value)


def test_a_batch_that_is_something_else_is_named(small_cifar, tmp_path):
    for write, name in (
        (small_cifar.write_binary, "data_batch_3.bin"),
        (small_cifar.write_python, "data_batch_3"),
    ):
        folder = write(tmp_path / name)
        (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(ValueError) as raised:
            cifar10(folder)
        assert str(raised.value).startswith(
            f"{folder / name}: not a batch of CIFAR-10: it is a pointer of Git LFS"
        )


# --- batches ------------------------------------------------------------------------


def colliding_keys():
    prime = (1 << 61) - 1  # Python hashes integers modulo this one
    for i in range(1, 5_000):
        number = (i * prime).to_bytes(10, "little", signed=True)
        yield b"\x8a\x0a" + number + b"N"


BOMBS = {
    "keys that collide": lambda: b"\x80\x02}(" + b"".join(colliding_keys()) + b"u.",
    "empty lists": lambda: b"\x80\x02(" + b"]" * 2_000_000 + b"t.",
    "deep": lambda: b"\x80\x02" + b"]" * 2_000 + b"a" * 1_999 + b".",
    "marks": lambda: b"\x80\x02" + b"(" * 2_000_000 + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_batch_that_is_a_bomb_costs_no_more_than_its_steps(
    name, small_cifar, tmp_path, monkeypatch
):
    monkeypatch.setattr(_pickle_machine, "MAX_STEPS", 100_000)  # of 2,000,000
    folder = small_cifar.write_python(tmp_path)
    batch = folder / "data_batch_1"
    batch.write_bytes(BOMBS[name]())
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="refused: ") as raised:
            cifar10(folder)
        # the file twice, and 80 bytes for every step
        most = 2 * batch.stat().st_size + 80 * 100_000 + MEBIBYTE
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert str(raised.value).startswith(f"{batch}: refused: ")


def test_a_batch_with_a_stranger_beside_the_data_is_read(small_cifar, tmp_path):
    folder = small_cifar.write_python(tmp_path)
    path = folder / "data_batch_2"
    batch = pickle.loads(path.read_bytes(), encoding="bytes")
    batch[b"notes"] = {np.float64(1.5), 2.5}
    batch[b"made by"] = io.StringIO  # a class
    path.write_bytes(pickle.dumps(batch, 4))
    train, _ = cifar10(folder)
    np.testing.assert_array_equal(
        train.images.reshape(5, -1), small_cifar.images[:5].reshape(5, -1)
    )


# --- what is no file ----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["data_batch_2.bin", "batches.meta.txt"])
def test_a_pipe_among_the_batches_is_not_waited_for(name, small_cifar, tmp_path):
    folder = small_cifar.write_binary(tmp_path)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    if name == "batches.meta.txt":  # may be missing
        assert len(cifar10(folder)) == 2
        return
    with pytest.raises(FileNotFoundError, match=r"missing data_batch_2\.bin"):
        cifar10(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_the_data_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 here"):
        cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 here"):
        cifar10(tmp_path / "cifar-10-binary.tar.gz")


def test_the_archive_of_a_folder_still_loads(small_cifar, tmp_path):
    folder = small_cifar.write_python(tmp_path / "in", python2_pickle)
    archive = pack(folder, tmp_path / "cifar-10-python.tar.gz")
    train, test = cifar10(archive)
    np.testing.assert_array_equal(train.images[:20], small_cifar.images[0])
    np.testing.assert_array_equal(test.labels, small_cifar.labels[5])


def test_python_2_pixels_that_happen_to_be_text_are_pixels_all_the_same():
    for pixels in (np.full((2, 6), 65, np.uint8), np.array([[0xC3, 0xA9]], np.uint8)):
        value, _ = pickles.read_pickle(python2_pickle({"data": pixels}))
        np.testing.assert_array_equal(value["data"], pixels)


def test_a_length_of_four_gigabytes_is_a_line(small_cifar, tmp_path):
    folder = small_cifar.write_python(tmp_path)
    (folder / "test_batch").write_bytes(b"\x80\x02T" + struct.pack("<I", 2**32 - 1))
    with pytest.raises(ValueError, match=r"test_batch: .*does not end within"):
        cifar10(folder)


def test_names_of_folders_that_act_on_a_terminal_are_escaped(small_cifar, tmp_path):
    folder = small_cifar.write_binary(tmp_path / "\x1b[2J\u202e")
    (folder / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError) as raised:
        cifar10(tmp_path)
    assert str(raised.value).isprintable()
    assert r"/\x1b[2J\u202e/cifar-10-batches-bin: missing test_b" in str(raised.value)
