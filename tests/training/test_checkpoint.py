"""Checkpoints: what was written comes back, and what was changed is noticed."""

import json
import struct

import numpy as np
import pytest

from npresnet.training import checkpoint as checkpoints
from npresnet.training.checkpoint import Checkpoint, PartOfEpoch
from tests.training.small import assert_same_bits


@pytest.fixture
def state():
    rng = np.random.default_rng(0)
    return Checkpoint(
        model={
            "conv.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
            "bn.num_batches_tracked": np.array(7),
        },
        optimizer={"steps": np.array(7), "0.momentum_buffer": np.array([1e-45, -0.0])},
        history=[{"epoch": 1, "lr": 0.1, "loss": 1 / 3, "accuracy": None}],
        part=PartOfEpoch(3, 0.1 + 0.2, 11, 2.5),
        run="a run",
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def test_a_checkpoint_comes_back_to_the_last_bit(state, path):
    checkpoints.save(path, state)
    loaded = checkpoints.load(path)
    assert_same_bits(loaded, state)
    assert loaded.history == state.history
    assert loaded.part == state.part
    assert loaded.run == "a run"
    assert loaded.epoch == 1


def test_the_one_before_is_kept(state, path):
    checkpoints.save(path, state)
    newer = Checkpoint({}, {}, [*state.history, {"epoch": 2}])
    checkpoints.save(path, newer)
    assert checkpoints.load(path).epoch == 2
    assert_same_bits(checkpoints.load(checkpoints.previous_path(path)), state)
    assert len(list(path.parent.iterdir())) == 2


def test_any_flipped_bit_and_any_cut_is_noticed(state, path):
    checkpoints.save(path, state)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        place = int(rng.integers(len(content)))
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            loaded = checkpoints.load(path)
        except ValueError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        else:  # nothing but the space around the header's JSON means nothing
            assert_same_bits(loaded, state)
            assert content[place : place + 1].isspace()
    for _ in range(50):
        path.write_bytes(content[: int(rng.integers(len(content)))])
        with pytest.raises(ValueError, match=r"checkpoint\.safetensors: "):
            checkpoints.load(path)


def edited(content, change):
    """Change the notes in a file's header, and nothing else."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda notes: notes.update(sha256="0" * 64), "do not match its checksum"),
        (
            lambda notes: notes.update(state=notes["state"].replace("11", "12")),
            "do not match its checksum",
        ),
        (lambda notes: notes.pop("sha256"), "not a checkpoint"),
        (lambda notes: notes.pop("state"), "not a checkpoint"),
        (lambda notes: notes.update(state="[]"), "not a checkpoint"),
        (lambda notes: notes.update(state='{"part": {"x": 1}}'), "not a checkpoint"),
    ],
)
def test_edited_notes_are_noticed(state, path, change, message):
    checkpoints.save(path, state)
    path.write_bytes(edited(path.read_bytes(), change))
    with pytest.raises(ValueError, match=message):
        checkpoints.load(path)


def test_the_latest_that_is_whole_is_found(state, path):
    assert checkpoints.load_latest(path) == (None, None)
    checkpoints.save(path, state)
    checkpoints.save(path, Checkpoint({}, {}, []))
    latest, damaged = checkpoints.load_latest(path)
    assert (latest.epoch, damaged) == (0, None)
    path.write_bytes(path.read_bytes()[:-1])
    latest, damaged = checkpoints.load_latest(path)
    assert_same_bits(latest, state)
    assert damaged.startswith(f"{path}: ")
    path.unlink()
    latest, damaged = checkpoints.load_latest(path)
    assert_same_bits(latest, state)
    assert damaged is None
    checkpoints.previous_path(path).write_bytes(b"")
    with pytest.raises(ValueError, match="previous"):
        checkpoints.load_latest(path)


def test_a_damaged_one_never_takes_the_place_of_the_one_before(state, path):
    checkpoints.save(path, state)
    checkpoints.save(path, state)
    path.write_bytes(b"damaged")
    aside = checkpoints.set_aside(path)
    checkpoints.save(path, Checkpoint({}, {}, []))
    assert_same_bits(checkpoints.load(checkpoints.previous_path(path)), state)
    assert checkpoints.load(path).epoch == 0
    assert aside.read_bytes() == b"damaged"
    assert aside.name == "checkpoint-damaged.safetensors"


def test_the_first_number_that_is_not_finite_is_found(state):
    assert state.first_not_finite() is None
    state.optimizer["0.momentum_buffer"][1] = np.nan
    name, array = state.first_not_finite()
    assert name == "0.momentum_buffer"
    assert array is state.optimizer["0.momentum_buffer"]
