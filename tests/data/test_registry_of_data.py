import subprocess
import sys

import numpy as np
import pytest

from npresnet.data import digits, load, names


def test_every_name_is_known_to_load(tmp_path):
    assert names() == ("digits", "cifar10")
    for name in names():
        try:
            train, _ = load(name, tmp_path)
        except FileNotFoundError as error:
            assert name == "cifar10" and str(tmp_path) in str(error)
        else:
            assert train.name == name


def test_digits_need_no_folder(monkeypatch):
    monkeypatch.delenv("NPRESNET_DATA_DIR", raising=False)
    for one, other in zip(load("digits"), digits(), strict=True):
        np.testing.assert_array_equal(one.images, other.images)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError) as raised:
        load("mnist")
    assert str(raised.value) == "name: expected one of digits, cifar10, got 'mnist'"


@pytest.mark.parametrize("value", [None, ""])
def test_cifar10_asks_for_its_folder(value, monkeypatch):
    monkeypatch.delenv("NPRESNET_DATA_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("NPRESNET_DATA_DIR", value)
    with pytest.raises(ValueError) as raised:
        load("cifar10")
    assert str(raised.value) == (
        "data_dir: cifar10 needs the folder that holds it; give data_dir, or set "
        "NPRESNET_DATA_DIR"
    )


def test_the_environment_names_the_folder_unless_the_caller_does(
    small_cifar, tmp_path, monkeypatch
):
    small_cifar.write_binary(tmp_path / "theirs")
    monkeypatch.setenv("NPRESNET_DATA_DIR", str(tmp_path / "theirs"))
    train, _ = load("cifar10")
    assert train.name == "cifar10"
    with pytest.raises(FileNotFoundError, match="mine"):
        load("cifar10", tmp_path / "mine")


def test_opening_the_room_loads_nothing_heavy():
    heavy = "numba, pooch, requests, tqdm, matplotlib, PIL, tarfile"
    code = (
        "import sys, npresnet.data\n"
        f"print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
