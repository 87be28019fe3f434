"""Downloads, from a server on this machine."""

import hashlib
import http.server
import importlib
import socket
import threading

import numpy as np
import pytest

from npresnet.data import cifar10, download_cifar10, load

download = importlib.import_module("npresnet.data.download")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A web server whose only file is `server.content`; None is "not found"."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            web.requests += 1
            if web.content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(web.length or len(web.content)))
            self.end_headers()
            self.wfile.write(web.content)

        def log_message(self, *arguments):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.content, web.length, web.requests = b"", None, 0
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url = f"http://127.0.0.1:{web.server_port}/cifar-10-binary.tar.gz"
    monkeypatch.setattr(download, "URL", url)
    yield web
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def archive(server, small_cifar, make_archive, tmp_path, monkeypatch):
    """The bytes of a small CIFAR-10, which the server offers as the official one."""
    folder = small_cifar.write_binary(tmp_path / "source")
    path = make_archive(folder, tmp_path / "source" / "a.tar.gz")
    server.content = path.read_bytes()
    monkeypatch.setattr(download, "MD5", hashlib.md5(server.content).hexdigest())
    return server.content


def test_the_official_address_and_checksum_are_those_of_the_authors():
    assert download.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert download.MD5 == "c32a1d4ab5d03f1284b67883e8d87530"


def test_what_was_downloaded_is_loaded(archive, small_cifar, tmp_path, capsys):
    where = tmp_path / "new" / "folder"
    train, test = cifar10(where, download=True)
    images = small_cifar.images
    np.testing.assert_array_equal(train.images, images[:5].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(test.images, images[5])
    assert [one.name for one in where.iterdir()] == ["cifar-10-binary.tar.gz"]
    captured = capsys.readouterr()
    assert captured.out == "" and "100%" in captured.err


def test_nothing_is_downloaded_twice(archive, server, tmp_path):
    load("cifar10", tmp_path / "data", download=True)
    load("cifar10", tmp_path / "data", download=True)
    path = download_cifar10(tmp_path / "data")
    assert path.read_bytes() == archive
    assert server.requests == 1


def test_progress_can_be_silent(archive, tmp_path, capsys):
    download_cifar10(tmp_path / "data", progress=False)
    assert "%" not in capsys.readouterr().err


@pytest.mark.parametrize("exists", [True, False])
def test_another_archive_is_refused_and_nothing_is_left(
    exists, archive, server, tmp_path
):
    where = tmp_path / "data" / "deep"
    if exists:
        where.mkdir(parents=True)
    server.content = archive[:-1] + b"!"
    with pytest.raises(ValueError) as raised:
        cifar10(where, download=True)
    assert str(raised.value) == (
        f"{download.URL}: what came is not the official archive (its MD5 is not "
        f"{download.MD5}); nothing was kept"
    )
    if exists:
        assert list(where.iterdir()) == []
    else:
        assert not where.parent.exists()


@pytest.mark.parametrize("trouble", ["no server", "not found", "cut short"])
def test_a_failed_download_says_what_to_do_by_hand(
    trouble, archive, server, tmp_path, monkeypatch
):
    if trouble == "no server":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound but not listening: refuses
            free = taken.getsockname()[1]
        monkeypatch.setattr(download, "URL", f"http://127.0.0.1:{free}/a.tar.gz")
    elif trouble == "not found":
        server.content = None
    else:
        server.length = len(archive) + 1000
    where = tmp_path / "data"
    with pytest.raises(ConnectionError) as raised:
        cifar10(where, download=True)
    text = str(raised.value)
    assert text.startswith(f"cannot download {download.URL} (")
    target = where / "cifar-10-binary.tar.gz"
    assert text.endswith(f"); fetch it by hand and put it at {target}")
    assert "\n" not in text
    assert not where.exists()


def test_a_file_that_is_there_is_never_overwritten(archive, server, tmp_path):
    target = tmp_path / "cifar-10-binary.tar.gz"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError) as raised:
        download_cifar10(tmp_path)
    assert str(raised.value) == (
        f"{target}: not the official archive (its MD5 is not {download.MD5}); "
        "move it away to download another"
    )
    assert target.read_bytes() == b"mine" and server.requests == 0


def test_a_data_dir_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        download_cifar10(tmp_path / "file" / "data")
    assert server.requests == 0
