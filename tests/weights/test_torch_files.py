"""Files that PyTorch writes load without it, and PyTorch loads ours."""

import math
import os
import time
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from npresnet import weights


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def through_a_file(request, tmp_path, torch):
    """Save an object with torch.save, and load it with npresnet."""

    def save_and_load(value, **options):
        path = tmp_path / "w.pth"
        torch.save(value, path, _use_new_zipfile_serialization=request.param, **options)
        return weights.load(path)

    return save_and_load


def assert_equal(got, tensor):
    expected = tensor.detach().numpy()
    assert type(got) is np.ndarray
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert got.tobytes() == expected.tobytes()
    assert got.flags.writeable and got.flags.c_contiguous


def network(torch):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, (3, 1), bias=False),
        torch.nn.BatchNorm2d(5),
        torch.nn.Sequential(torch.nn.Linear(5, 4)),
    )
    net[1](torch.randn(2, 5, 3, 3))  # running statistics that are not 0 and 1
    return net


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dict_equals_torchs(through_a_file, torch, protocol):
    state = network(torch).state_dict()
    assert state._metadata
    loaded = through_a_file(state, pickle_protocol=protocol)
    assert type(loaded) is OrderedDict and list(loaded) == list(state)
    for name, tensor in state.items():
        assert_equal(loaded[name], tensor)
    assert loaded["1.num_batches_tracked"].shape == ()


def test_parameters_are_their_tensors(through_a_file, torch):
    net = network(torch)
    noted = torch.nn.Parameter(torch.randn(3))
    noted.note = "an attribute of its own"
    loaded = through_a_file([*net.parameters(), noted])
    for got, parameter in zip(loaded, [*net.parameters(), noted], strict=True):
        assert_equal(got, parameter)


def test_a_nested_checkpoint_keeps_its_shape(through_a_file, torch):
    net = network(torch)
    optimizer = torch.optim.AdamW(net.parameters())
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    checkpoint = {
        "state_dict": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best_prec1": 91.5,
        "epoch": 7,
        "arch": "résnet20",
        "history": [(0, 2.3), (1, math.inf)],
        "flags": [True, False, None],
        "bytes": b"\x00\xff",
        "nothing": b"",
        "big": 2**100,
        "size": torch.Size([2, 3]),
    }
    loaded = through_a_file(checkpoint)
    assert list(loaded) == list(checkpoint)
    for name in list(checkpoint)[2:]:
        assert loaded[name] == checkpoint[name]
        assert type(loaded[name]) is (tuple if name == "size" else type(loaded[name]))
    for name, tensor in checkpoint["state_dict"].items():
        assert_equal(loaded["state_dict"][name], tensor)
    moments = checkpoint["optimizer"]["state"]
    assert list(loaded["optimizer"]["state"]) == list(moments)
    for index, entry in moments.items():
        for name, tensor in entry.items():
            assert_equal(loaded["optimizer"]["state"][index][name], tensor)


@pytest.mark.parametrize(
    "name",
    [
        "float32",
        "float64",
        "float16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "bool",
    ],
)
def test_every_type_equals_torchs(through_a_file, torch, name):
    torch.manual_seed(0)
    dtype = getattr(torch, name)
    tensors = [
        (torch.randn(3, 4) * 50).to(dtype),
        torch.tensor(1).to(dtype),
        torch.empty(0, dtype=dtype),
        torch.empty(2, 0, 3, dtype=dtype),
    ]
    for got, tensor in zip(through_a_file(tensors), tensors, strict=True):
        assert_equal(got, tensor)


def test_special_values_keep_their_bits(through_a_file, torch):
    special = torch.tensor([math.nan, -math.nan, math.inf, -math.inf, -0.0, 1e-45])
    for dtype in (torch.float16, torch.float32, torch.float64):
        assert_equal(through_a_file(special.to(dtype)), special.to(dtype))


def test_every_bfloat16_becomes_the_same_number(through_a_file, torch):
    every = torch.arange(-(2**15), 2**15).to(torch.int16).view(torch.bfloat16)
    loaded = through_a_file({"t": every.reshape(256, 256).T, "s": every[16000]})
    expected = every.reshape(256, 256).T.to(torch.float32).contiguous().numpy()
    numbers = ~np.isnan(expected)
    assert loaded["t"].dtype == np.float32 and loaded["t"].flags.c_contiguous
    assert (np.isnan(loaded["t"]) == ~numbers).all()
    assert (loaded["t"][numbers] == expected[numbers]).all()
    assert loaded["s"].shape == () and loaded["s"] == float(every[16000])


def test_views_and_shared_storages_equal_torchs(through_a_file, torch):
    base = torch.randn(4, 5, 6)
    tensors = [
        base,
        base.permute(2, 0, 1),
        base[1:, ::2, 3],
        base[2],
        base.as_strided((3, 3), (1, 1), 2),  # overlaps itself
        base[:, :0],
        base[0, 0, :1].expand(6),
    ]
    for got, tensor in zip(through_a_file(tensors), tensors, strict=True):
        assert_equal(got, tensor)


def test_a_tensor_saved_under_two_names_loads_under_both(through_a_file, torch):
    tied = torch.nn.Parameter(torch.randn(3, 3))
    loaded = through_a_file({"a": tied, "b": tied, "c": tied.detach().T})
    assert_equal(loaded["a"], tied)
    assert_equal(loaded["b"], tied)
    assert_equal(loaded["c"], tied.T)


def test_a_whole_module_is_refused(through_a_file, torch):
    with pytest.raises(ValueError, match=r"a whole object \(torch\.nn\.modules\.con"):
        through_a_file(network(torch))


def test_a_scripted_module_is_refused(tmp_path, torch):
    path = tmp_path / "scripted.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.ones(1)), path)
    with pytest.raises(ValueError, match="TorchScript archive, which is a program"):
        weights.load(path)


def test_torch_loads_what_save_writes(tmp_path, torch):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "w.safetensors"
    source, target = network(torch), network(torch)
    arrays = {name: t.numpy() for name, t in source.state_dict().items()}
    weights.save(path, arrays, metadata={"format": "pt"})
    for parameter in target.parameters():
        torch.nn.init.zeros_(parameter)
    missing, unexpected = safetensors.load_model(target, path, strict=True)
    assert not missing and not unexpected
    for name, tensor in target.state_dict().items():
        assert_equal(arrays[name], tensor)
    assert target.state_dict()["1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
def test_a_hundred_megabytes_load_in_under_a_second(in_zip, tmp_path, torch):
    path = tmp_path / "w.pth"
    tensors = {str(i): torch.full((2_500_000,), float(i)) for i in range(10)}
    torch.save(tensors, path, _use_new_zipfile_serialization=in_zip)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        loaded = weights.load(path)
        seconds.append(time.perf_counter() - began)
        assert loaded["7"].shape == (2_500_000,) and (loaded["7"] == 7).all()
    assert min(seconds) < 1


def test_the_published_resnet20_loads_as_torch_loads_it(torch):
    if "NPRESNET_DATA_DIR" not in os.environ:
        pytest.skip("NPRESNET_DATA_DIR is not set")
    folder = Path(os.environ["NPRESNET_DATA_DIR"]).parent / "checkpoints"
    path = folder / "resnet20-12fca82f.th"
    if not path.is_file():
        pytest.skip(f"there is no {path.name} beside NPRESNET_DATA_DIR")
    loaded = weights.load(path)
    expected = torch.load(path, map_location="cpu", weights_only=True)
    assert list(loaded) == list(expected)
    assert loaded["best_prec1"] == expected["best_prec1"]
    assert list(loaded["state_dict"]) == list(expected["state_dict"])
    for name, tensor in expected["state_dict"].items():
        assert name.startswith("module.")
        assert_equal(loaded["state_dict"][name], tensor)
