"""Damaged files load or are refused in one line; they never crash, hang or act."""

import io
import pickletools  # noqa: F401  (imported where an error is worded)
import random
import struct
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from npresnet import weights

from .craft import (
    MAGIC,
    ORDERED_DICT,
    archive,
    legacy,
    mapping,
    number,
    numbers,
    sequence,
    tensor,
    text,
)

SIX = np.arange(6, dtype=np.float32).reshape(2, 3)
_acts = None


def _listen(event, args):
    if _acts is not None and event.startswith(
        ("exec", "import", "os.system", "subprocess", "socket", "pickle")
    ):
        _acts.append((event, args))


sys.addaudithook(_listen)


def good_file():
    return mapping(
        state_dict=ORDERED_DICT + b")R" + text("w") + tensor() + b"s",
        best=b"G" + struct.pack(">d", 91.5),
        epoch=number(7),
        views=sequence(*[tensor(stride=numbers(1, 2))] * 3),
    )


def safetensors(_):
    return save({"w": SIX, "n": np.array(3)})


def npz(_, write=np.savez):
    stream = io.BytesIO()
    write(stream, w=SIX, n=np.array(3))
    return stream.getvalue()


def npz_compressed(_):
    return npz(_, np.savez_compressed)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("build", [archive, legacy, safetensors, npz, npz_compressed])
@pytest.mark.parametrize("damage", ["flip", "cut", "both", "swap"])
def test_a_damaged_file_loads_or_is_a_value_error(build, damage, tmp_path, monkeypatch):
    good = build(good_file())
    path = tmp_path / "w.pth"
    draw = random.Random(f"{build.__name__} {damage}")
    acts = []
    refused = 0
    times = 4 * settings().max_examples  # 160, or 400 in the thorough run
    for _ in range(times):
        data = bytearray(good)
        if damage == "swap":
            i, j = sorted(draw.sample(range(len(data)), 2))
            data[i], data[j] = data[j], data[i]
        if damage in ("flip", "both"):
            for _ in range(draw.choice([1, 1, 1, 2, 5])):
                data[draw.randrange(len(data))] = draw.randrange(256)
        if damage in ("cut", "both"):
            del data[draw.randrange(len(data)) :]
        path.write_bytes(data)
        began = time.monotonic()
        monkeypatch.setattr(sys.modules[__name__], "_acts", acts)
        try:
            weights.load(path)
        except ValueError as error:
            refused += 1
            assert type(error) is ValueError
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        finally:
            monkeypatch.setattr(sys.modules[__name__], "_acts", None)
        assert time.monotonic() - began < 5
    assert not acts
    assert refused > 0.15 * times


@given(st.binary(max_size=200))
def test_random_opcodes_load_or_are_a_value_error(tmp_path_factory, program):
    path = tmp_path_factory.mktemp("w") / "w.pth"
    for data in (archive(program), legacy(program), MAGIC + program, program):
        path.write_bytes(data)
        try:
            weights.load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
