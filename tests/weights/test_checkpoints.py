"""The table of checkpoints: what people save, and what is read of it.

``python -m tests.weights.test_checkpoints`` writes ``docs/checkpoints.md`` anew.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from npresnet import nn, weights
from npresnet.untrusted.pickle_values import Placeholder

from .checkpoints import ROWS, save, value_of
from .craft import archive, legacy, tensor

DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoints.md"
START = "<!-- from here on written by tests/weights/test_checkpoints.py -->\n"


def outcome(path):
    """Load a file; return what was read, or None, and what is to be told of it."""
    try:
        value = weights.load(path)
    except ValueError as error:
        return None, str(error).removeprefix(f"{path}: ")
    return value, value


def placeholders(value, where=()):
    """List what was not built, with where it is."""
    if isinstance(value, Placeholder):
        return [(where, value.type)]
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple | set):
        parts = enumerate(value)
    else:
        return []
    return [one for key, part in parts for one in placeholders(part, (*where, key))]


def described(path):
    """Return the two cells of the table: whether it is read, and what is to be told."""
    value, told = outcome(path)
    if value is None:
        return "refused", told
    left = placeholders(value)
    if not left:
        return "read", ""
    names = ", ".join(
        f"`{'.'.join(map(str, where))}` is {kind}" for where, kind in left[:4]
    )
    kept = "in part" if _weights_in(value) else "nothing to load"
    return kept, f"placeholders: {names}" + (", ..." if len(left) > 4 else "")


def _weights_in(value):
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, Mapping):
        value = value.values()
    return isinstance(value, list | tuple | type({}.values())) and any(
        map(_weights_in, value)
    )


def table(torch, folder):
    lines = []
    group = None
    for name, (its_group, maker, _) in ROWS.items():
        if its_group != group:
            group = its_group
            lines += ["", f"## {group}", "", "| what is saved | read? | what is told |"]
            lines += ["|---|---|---|"]
        path = folder / f"{name}.pth"
        save(torch, name, path)
        read, told = described(path)
        told = told.replace("|", "\\|").replace("tests.weights.checkpoints", "script")
        lines.append(f"| {maker.__doc__} | {read} | {told} |")
    return "\n".join(lines) + "\n"


def test_the_table_in_the_documentation_is_what_happens(torch, tmp_path):
    assert len(ROWS) >= 40
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.partition(START)[2] == table(torch, tmp_path)


def equal(got, expected, torch):
    """Compare what was loaded with what PyTorch saved, value by value."""
    if isinstance(got, Placeholder):
        return True
    if isinstance(expected, torch.Tensor):
        expected = expected.detach().resolve_conj().resolve_neg()
        if expected.dtype == torch.bfloat16:
            expected = expected.float()
        expected = expected.numpy()
        return (
            type(got) is np.ndarray
            and got.dtype == expected.dtype
            and got.shape == expected.shape
            and got.tobytes() == expected.tobytes()
            and got.flags.writeable
            and got.flags.c_contiguous
        )
    if isinstance(expected, np.ndarray):
        native = expected.astype(expected.dtype.newbyteorder("="))
        return got.dtype == native.dtype and np.array_equal(got, native)
    if isinstance(expected, Mapping):
        return list(got) == list(expected) and all(
            equal(got[key], expected[key], torch) for key in expected
        )
    if isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(
            equal(one, other, torch) for one, other in zip(got, expected, strict=True)
        )
    return type(got) is type(expected) and got == expected


@pytest.mark.parametrize("name", ROWS)
def test_what_is_read_of_a_checkpoint_is_what_was_saved(name, torch, tmp_path):
    path = tmp_path / "w.pth"
    save(torch, name, path)
    value, _ = outcome(path)
    if value is not None:
        assert equal(value, value_of(torch, name), torch)


# Those that torch.load(weights_only=True) reads: nothing of them may be missing here
# but what NumPy has no numbers for, and PyTorch's own words for kinds of things.
WITHOUT_ARRAYS = "tensor", "torch.device", "torch.float32"


@pytest.mark.parametrize("name", ROWS)
def test_whatever_weights_only_reads_is_read_here(name, torch, tmp_path):
    path = tmp_path / "w.pth"
    save(torch, name, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of protocols, and of PyTorch's own storages
        try:
            torch.load(path, weights_only=True, map_location="cpu")
        except (pickle.UnpicklingError, RuntimeError):
            return
    value, told = outcome(path)
    assert value is not None, told
    for _, kind in placeholders(value):
        assert kind.endswith(WITHOUT_ARRAYS) or kind.startswith("tensor without")


@pytest.mark.parametrize(
    "name", ["state_dict", "data_parallel", "compiled", "averaged", "model_and_ema"]
)
def test_a_network_takes_the_names_of_wrappers(name, torch, tmp_path):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            for index, layer in (
                ("0", nn.Conv2d(3, 4, 3, bias=False)),
                ("1", nn.BatchNorm2d(4)),
                ("4", nn.Linear(4, 2)),
            ):
                setattr(self, index, layer)

    path = tmp_path / "w.pth"
    save(torch, name, path)
    network = Network()
    network.load_state_dict(weights.load(path))
    expected = value_of(torch, "state_dict")
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value, expected[key].numpy())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "module_in_a_dict",
            r"'net'\] .* <torch\.nn\.modules\.container\.Sequential, ",
        ),
        (
            "quantised_weights",
            r"'0\.weight'\] .* <torch\.float8_e5m2 tensor, not built>",
        ),
    ],
)
def test_a_network_that_needs_a_placeholder_says_which(name, says, torch, tmp_path):
    path = tmp_path / "w.pth"
    save(torch, name, path)
    with pytest.raises(TypeError, match=says):
        nn.Linear(4, 2).load_state_dict(weights.load(path))


def test_a_big_endian_file_is_refused(tmp_path):
    for content in (
        archive(tensor(), extra=[("archive/byteorder", b"big")]),
        legacy(tensor(), system=b"\x89"),
    ):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"byte order|big-endian"):
            weights.load(tmp_path / "w.pth")


if __name__ == "__main__":
    import tempfile

    import torch as torch_

    with tempfile.TemporaryDirectory() as scratch:
        text = DOCUMENT.read_text(encoding="utf-8").partition(START)[0]
        DOCUMENT.write_text(
            text + START + table(torch_, Path(scratch)), encoding="utf-8"
        )
