"""Saving, loading and what happens in between."""

import os
import stat
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from npresnet import weights

from .craft import (
    ORDERED_DICT,
    archive,
    call,
    legacy,
    mapping,
    number,
    numbers,
    sequence,
    storage,
    tensor,
    text,
)

SIX = np.arange(6, dtype=np.float32).reshape(2, 3)
DTYPES = [
    *["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"],
    *["float16", "float32", "float64"],
]


def assert_same(got, expected):
    assert isinstance(got, np.ndarray)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()  # NaNs and signs of zeros too
    assert got.flags.writeable and got.flags.c_contiguous
    assert got.dtype.isnative


@pytest.fixture(params=[".safetensors", ".npz"])
def path(request, tmp_path):
    return tmp_path / f"w{request.param}"


# --- what save writes, load returns -----------------------------------------------


@given(
    array=st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0))
    ),
    suffix=st.sampled_from([".safetensors", ".npz"]),
)
def test_every_array_comes_back_bit_for_bit(array, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / f"w{suffix}"
    weights.save(path, {"a.weight": array})
    loaded = weights.load(path)
    assert list(loaded) == ["a.weight"]
    assert_same(loaded["a.weight"], array)


def test_awkward_arrays_come_back_contiguous_and_native(path, rng):
    x = rng.standard_normal((4, 6, 5)).astype(np.float32)
    awkward = {
        "transposed": x.T,
        "strided": x[::2, ::-1, 1:],
        "fortran": np.asfortranarray(x),
        "broadcast": np.broadcast_to(x[0, 0], (3, 5)),
        "big_endian": x.astype(">f4"),
        "scalar": np.float64(2.5),
    }
    weights.save(path, awkward)
    loaded = weights.load(path)
    assert set(loaded) == set(awkward)
    for name, array in awkward.items():
        native = np.asarray(array, array.dtype.newbyteorder("="), order="C")
        assert_same(loaded[name], native)


@pytest.mark.parametrize("name", ["file", "a/b", "a.npy", "é", " ", "allow_pickle"])
def test_names_come_back_as_they_are(name, path):
    weights.save(path, {name: SIX})
    assert list(weights.load(path)) == [name]


def test_num_batches_tracked_is_a_scalar_of_int64(path):
    given = {"bn.num_batches_tracked": np.array([7], dtype=np.int32)}
    weights.save(path, given)
    expected = np.array(7, dtype=np.int64)
    assert_same(weights.load(path)["bn.num_batches_tracked"], expected)


def test_an_object_with_a_state_dict_is_saved(path):
    class Model:
        def state_dict(self):
            return {"fc.weight": SIX}

    weights.save(path, Model())
    assert_same(weights.load(path)["fc.weight"], SIX)


def test_no_arrays_are_a_file_too(path):
    weights.save(path, {})
    assert weights.load(path) == {}


def test_numpy_reads_the_npz_and_load_reads_numpys(tmp_path, rng):
    arrays = {"a": SIX, "b": np.asfortranarray(rng.standard_normal((3, 4)))}
    path = tmp_path / "w.npz"
    weights.save(path, arrays)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array)
    for write in (np.savez, np.savez_compressed):
        write(path, **arrays)
        for name, array in weights.load(path).items():
            assert_same(array, np.asarray(arrays[name], order="C"))


def test_metadata_comes_back(tmp_path):
    path = tmp_path / "w.safetensors"
    weights.save(path, {"a": SIX}, metadata={"model": "resnet20", "note": "zwölf"})
    assert weights.read_metadata(path) == {"model": "resnet20", "note": "zwölf"}
    assert list(weights.load(path)) == ["a"]
    weights.save(path, {"a": SIX})
    assert weights.read_metadata(path) == {}


def test_bfloat16_in_safetensors_becomes_float32(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    bits = np.array([0x3F80, 0xC040, 0x7F80], dtype="<u2")  # 1, -3, infinity
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bits.tobytes())
    assert_same(weights.load(path)["a"], np.array([1, -3, np.inf], dtype=np.float32))


# --- errors of save ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["w.pth", "w", "w.safetensors.bak", "w.NPZ"])
def test_other_suffixes_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"suffix has to be \.safetensors or \.npz"):
        weights.save(tmp_path / name, {"a": SIX})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([SIX], TypeError, "has to be a dict"),
        ({"a": [1.0]}, TypeError, "'a' has to be an ndarray, not list"),
        ({1: SIX}, TypeError, "name of an array"),
        ({"a": np.array([None])}, ValueError, "'a' has dtype object"),
        ({"a": np.array(["x"])}, ValueError, "'a' has dtype <U1"),
        ({"a": np.zeros(1, np.complex64)}, ValueError, "'a' has dtype complex64"),
    ],
)
def test_what_is_no_array_of_numbers_is_not_saved(given, error, says, path):
    path.write_bytes(b"old")
    with pytest.raises(error, match=says):
        weights.save(path, given)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_metadata_that_has_no_place_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="metadata needs a"):
        weights.save(tmp_path / "w.npz", {"a": SIX}, metadata={"a": "b"})
    with pytest.raises(TypeError, match="metadata has to map str to str"):
        weights.save(tmp_path / "w.safetensors", {"a": SIX}, metadata={"epoch": 3})
    with pytest.raises(ValueError, match="__metadata__"):
        weights.save(tmp_path / "w.safetensors", {"__metadata__": SIX})
    with pytest.raises(ValueError, match="cannot be saved"):
        weights.save(tmp_path / "w.npz", {"../a": SIX})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder") as error:
        weights.save(tmp_path / "nowhere" / "w.npz", {"a": SIX})
    assert str(tmp_path) in str(error.value)


# --- a save that fails changes nothing --------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file(step, failure, path, monkeypatch):
    weights.save(path, {"a": SIX})
    before = path.read_bytes()

    def fail(*args, **named):
        raise failure

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(failure)):
        weights.save(path, {"a": SIX + 1})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_new_bytes_are_on_disk_before_the_old_file_goes(path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):  # and not the folder, afterwards
            done.append(("fsync", found.st_size))
        fsync(descriptor)

    def noted_replace(source, target, **folders):
        assert Path(source).parent == Path(target).parent
        assert len(set(folders.values())) <= 1
        size = os.stat(source, dir_fd=folders.get("src_dir_fd")).st_size
        done.append(("replace", size))
        replace(source, target, **folders)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    weights.save(path, {"a": SIX})
    size = path.stat().st_size
    assert done == [("fsync", size), ("replace", size)]


@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
def test_a_saved_file_has_ordinary_permissions_and_links_stay_links(path):
    weights.save(path, {"a": SIX})
    ordinary = path.with_name("ordinary")
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode
    link = path.with_name("link" + path.suffix)
    link.symlink_to(path)
    weights.save(link, {"b": SIX})
    assert link.is_symlink() and list(weights.load(path)) == ["b"]


# --- errors of load ---------------------------------------------------------------


def test_a_missing_file_is_named_in_one_line(tmp_path):
    path = tmp_path / "w.pth"
    with pytest.raises(FileNotFoundError) as error:
        weights.load(path)
    assert str(error.value) == f"{path}: there is no such file"


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError) as error:
        weights.load(tmp_path)
    assert str(error.value) == f"{tmp_path}: is a folder, not a file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.timeout(10)
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe, not a file"):
        weights.load(tmp_path / "pipe")


# --- PyTorch's formats, without PyTorch -------------------------------------------


@pytest.fixture(params=[archive, legacy], ids=["zip", "legacy"])
def container(request, tmp_path):
    def load(*args, **kwargs):
        path = tmp_path / "w.pth"
        path.write_bytes(request.param(*args, **kwargs))
        return weights.load(path)

    return load


def test_plain_values_come_back(container):
    value = mapping(
        none=b"N",
        flags=sequence(b"\x88", b"\x89"),
        numbers=numbers(0, -1, 255, 70_000, 2**40, -(2**100)),
        epsilon=b"G" + struct.pack(">d", 1e-5),
        latin=call("_codecs", "encode", text("abc\xff"), text("latin1")),
        size=call("torch", "Size", numbers(2, 3)),
        ordered=ORDERED_DICT + b")R" + text("a") + b"K\x01s",
        python2=call("collections", "OrderedDict", b"](](U\x01aK\x01ee"),
    )
    assert container(value, {}) == {
        "none": None,
        "flags": (True, False),
        "numbers": (0, -1, 255, 70_000, 2**40, -(2**100)),
        "epsilon": 1e-5,
        "latin": b"abc\xff",
        "size": (2, 3),
        "ordered": OrderedDict(a=1),
        "python2": OrderedDict(a=1),
    }


def test_a_tensor_is_a_view_of_its_storage(container):
    loaded = container(
        sequence(
            tensor(),
            tensor(size=numbers(3, 2), stride=numbers(1, 3)),
            tensor(offset=number(4), size=numbers(), stride=numbers()),
            tensor(size=numbers(0, 5), stride=numbers(5, 1)),
            tensor(size=numbers(2, 3), stride=numbers(0, 1)),
            tensor(
                storage(view=sequence(text("9"), number(2), number(4))),
                offset=number(1),
                size=numbers(3),
                stride=numbers(1),
            ),
        )
    )
    assert_same(loaded[0], SIX)
    assert_same(loaded[1], np.ascontiguousarray(SIX.T))
    assert_same(loaded[2], np.array(4, dtype=np.float32))
    assert_same(loaded[3], np.empty((0, 5), dtype=np.float32))
    assert_same(loaded[4], np.stack([SIX[0], SIX[0]]))
    assert_same(loaded[5], np.arange(3, 6, dtype=np.float32))


def test_tensors_of_one_storage_share_no_memory(container):
    first, second = container(sequence(tensor(), tensor()))
    first[:] = 9
    assert_same(second, SIX)


def test_a_parameter_of_early_pytorch_is_its_tensor(container):
    state = sequence(b"\x88", b"\x89", ORDERED_DICT + b")R")
    loaded = container(call("torch.nn.parameter", "Parameter", tensor()) + state + b"b")
    assert_same(loaded, SIX)
