"""Files of others are opened if they are files, and are told by how they begin."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import socket
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from npresnet.untrusted.files import kind_of, opened, read_bytes
from npresnet.untrusted.text import RefusedFile

POSIX = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")


def refusal(path):
    with pytest.raises(ValueError) as raised, opened(path):
        pytest.fail("it was opened")
    return str(raised.value)


def test_a_file_is_opened_and_a_link_to_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    for one in (path, tmp_path / "link", str(path)):
        with opened(one) as file:
            assert file.read() == b"abc"


@POSIX
@pytest.mark.timeout(20)
def test_a_pipe_a_socket_a_device_and_a_folder_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == f"{tmp_path}/pipe: is a pipe, not a file"
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)  # a socket's name may not be long
        listener.bind("socket")
    assert refusal("socket") == "socket: is a socket, not a file"
    for device in ("/dev/null", "/dev/zero"):
        assert refusal(device) == f"{device}: is a device, not a file"
    assert refusal(tmp_path) == f"{tmp_path}: is a folder, not a file"


@POSIX
@pytest.mark.timeout(20)
def test_a_pipe_that_takes_a_files_place_at_the_last_moment_is_not_waited_for(
    tmp_path, monkeypatch
):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    real = os.stat
    ordinary = os.stat_result((stat.S_IFREG, *[0] * 9))
    monkeypatch.setattr(
        os, "stat", lambda one, **kw: ordinary if one == path else real(one, **kw)
    )
    assert "is a pipe" in refusal(path)


def test_what_is_not_there_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_bytes(tmp_path / "none", 10)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read: " in refusal(tmp_path / "loop")
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be read: " in refusal(tmp_path / "file" / "below")


def test_a_name_that_acts_is_escaped(tmp_path):
    path = tmp_path / "\x1b[2J\u202e.pth"
    path.mkdir()
    assert refusal(path) == rf"{tmp_path}/\x1b[2J\u202e.pth: is a folder, not a file"


def test_errors_within_the_block_name_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    for error, says in (
        (RefusedFile("broken: x"), "broken: x"),
        (MemoryError(), "needs more memory than there is"),
        (OSError(5, "Input/output error"), "cannot be read: Input/output error"),
    ):
        with pytest.raises(ValueError) as raised, opened(path):
            raise error
        assert str(raised.value) == f"{path}: {says}"


def test_no_more_is_read_than_allowed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert read_bytes(path, 3) == b"abc"
    with pytest.raises(ValueError, match="3 bytes, expected no more than 2"):
        read_bytes(path, 2)
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # a file with a hole, of a tebibyte
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes"):
        read_bytes(path, 100)


def picture(kind):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


def packed(kind):
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("a/b.txt", "x")
    else:
        with tarfile.open(fileobj=stream, mode="w") as file:
            file.addfile(tarfile.TarInfo("a/b.txt"))
    return stream.getvalue()


def npy():
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.0.0:\xf0\x01"  # as torch.onnx.export begins


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "empty"),
        (b"hello, these are my weights\n", "a text that begins with 'hello, these are"),
        ("des poids".encode("utf-16"), "a text that begins with 'des poids'"),
        (b"\xef\xbb\xbfx,y\n1,2\n", "a text that begins with 'x,y'"),
        ("\u732b".encode() * 170 + b"\xe7\x8c", "a text"),
        (b"\n\n<!DOCTYPE html><html>404", "a page of HTML"),
        (b"<HTML><body>", "a page of HTML"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "a text in XML"),
        (b'{"weight_map": {"a": "model-00001.safetensors"}}', "an index of weights"),
        (b'{"architectures": ["ResNet"]}', "a text that begins with '{"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "Git LFS"),
        (gzip.compress(b"x", mtime=0), "gzip"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (packed("zip"), "a zip archive"),
        (packed("tar")[:512], "a tar archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (ONNX, "an ONNX model"),
        (npy(), "a single array of NumPy"),
        (pickle.dumps({"a": 1}, 4), "a bare pickle"),
        (picture("PNG"), "a PNG picture"),
        (picture("JPEG"), "a JPEG picture"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"GGUF\3\0\0\0", "a GGUF"),
    ],
)
def test_a_file_is_told_by_how_it_begins(head, says):
    assert says in kind_of(head[:512])


@pytest.mark.parametrize("head", [bytes(512), bytes(range(256)), b"\x08\x01\x02" * 9])
def test_what_is_nothing_known_is_not_guessed(head):
    assert kind_of(head) is None


def test_a_text_that_acts_is_escaped_in_what_is_told():
    assert kind_of("a\u202e\x85b".encode()) == r"a text that begins with 'a\u202e'"
