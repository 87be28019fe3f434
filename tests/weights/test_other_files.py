"""Files that are no weights, but are named so: what they are is said in one line."""

import gzip
import json
import os
import pickle
import struct
import warnings

import numpy as np
import pytest

from npresnet import weights

from .craft import archive, tensor, zip_of

NEITHER = "neither a safetensors, an npz nor a PyTorch file: it is "


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.npz", "w"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"my weights\n", f"{NEITHER}a text that begins with 'my weights'"),
        (b"<!DOCTYPE html>\n<html>", f"{NEITHER}a page of HTML, perhaps an error"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
            f"{NEITHER}a pointer of Git LFS, which stands for a file that was not",
        ),
        (
            gzip.compress(archive(tensor()), mtime=0),
            f"{NEITHER}a file compressed by gzip; unp",
        ),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), f"{NEITHER}an HDF5 file (weights of Keras"),
        (b"\x08\x07\x12\x07pytorch\x1a\x03", f"{NEITHER}an ONNX model"),
        (
            pickle.dumps({"w": np.zeros(3)}),
            "refused: a bare pickle, which is a program",
        ),
        (json.dumps({"weight_map": {}}).encode(), f"{NEITHER}an index of weights"),
        (bytes(64), "npz nor a PyTorch file: nothing known"),
        (
            zip_of(("word/document.xml", b"x")),
            "archive, but neither npz nor PyTorch's (it holds 'word/document.xml')",
        ),
        (
            zip_of(("resnet20/model.pth", b"x")),
            "archive, but neither npz nor PyTorch's (it holds 'resnet20/model.pth')",
        ),
    ],
)
def test_a_file_of_another_kind_is_named(name, content, says, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (weights.load, weights.read_metadata):
        if read is weights.read_metadata and content[:2] == b"PK":
            continue  # without notes, whatever else it is
        with pytest.raises(ValueError) as raised:
            read(path)
        assert str(raised.value).startswith(f"{path}: ")
        assert says in str(raised.value)


def test_a_folder_is_named(tmp_path):
    for read in (weights.load, weights.read_metadata):
        with pytest.raises(ValueError, match="is a folder, not a file"):
            read(tmp_path)


def test_a_scripted_module_is_named(tmp_path, torch):
    path = tmp_path / "w.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), path)
    with pytest.raises(ValueError, match="a TorchScript archive, which is a program"):
        weights.load(path)


# --- safetensors --------------------------------------------------------------------


def safetensors(header, data=b"", size=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (safetensors({}, size=200), "truncated: its safetensors header is cut off"),
        (
            safetensors({}, size=90_000_000),
            "header takes 90,000,000 bytes, more than weights need (8,388,608)",
        ),
        (safetensors(b"{" + b"[" * 100_000), "nested more than 32 deep"),
        (safetensors(b'{"a":' * 100_000), "nested more than 32 deep"),
        (safetensors(b"{" + b'"a":{},' * 500_000 + b"}"), "more than 400,000 values"),
        (safetensors(b'{"a": NaN}'), "it has no NaN"),
        (safetensors(b"{" + b"9" * 99), "not readable as JSON"),
        (safetensors(b"{\xff"), "not UTF-8"),
        (safetensors({"__metadata__": 5}), "are not texts"),
        (safetensors({"__metadata__": {"a": {"b": 1}}}), "are not texts"),
    ],
)
def test_a_header_of_safetensors_is_bounded_before_the_library_reads_it(
    content, says, tmp_path
):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        weights.read_metadata(path)
    assert says in str(raised.value) and str(raised.value).isprintable()
    with pytest.raises(ValueError) as raised:
        weights.load(path)
    assert len(str(raised.value)) < len(str(path)) + 300
    assert str(raised.value).isprintable()


def test_names_and_types_that_act_on_a_terminal_are_escaped(tmp_path):
    nasty = "conv1\x1b]0;owned\x07" + "x" * 10_000
    entry = {"dtype": "\x1b[2J", "shape": [1], "data_offsets": [0, 1]}
    files = {
        "type.safetensors": safetensors({"a": entry}, b"x"),
        "name.safetensors": safetensors(
            {nasty: {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"x"
        ),
        "twice.safetensors": safetensors(
            b'{"\\u001b[2J": {"dtype":"F32","shape":[9],"data_offsets":[0,1]}}', b"x"
        ),
        "record.npz": zip_of((nasty, b"x")),
        "npy.npz": zip_of((nasty + ".npy", b"x")),
        "global.pth": archive(b"cos\nsystem\x1b[2J\n."),
        "text.pth": nasty.encode(),
        "\x1b[2J.pth": b"x",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError) as raised:
            weights.load(path)
        told = str(raised.value)
        assert told.isprintable(), name
        assert len(told) < len(str(path)) + 400, name


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.timeout(20)
def test_metadata_of_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="is a pipe, not a file"):
        weights.read_metadata(tmp_path / "w.safetensors")
