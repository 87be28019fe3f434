"""Run folders that somebody edited are refused in one line that names the file."""

import csv
import hashlib
import io
import json
import math
import os
import random
import shutil
import struct

import numpy as np
import pytest
from click.testing import CliRunner

import npresnet as nr
from npresnet._forms import mismatch
from npresnet.cli import main
from npresnet.training import RunFolder, checkpoint, evaluate, loop
from npresnet.training.report import page
from npresnet.training.run_folder import read_config
from npresnet.untrusted import json_text

VARIANTS, CHUNKS = 250, 10
VALUES = (
    *(None, True, 0, 3, -1, 2**70, 0.5, 1e308, math.inf, math.nan),
    *("", "x", "\x1b[31m", "9" * 5000, "2026-01-01"),
    *([], [1], [[1]], ["x", 3], {}, {"x": 1}, [None] * 3, [10**400]),
)


def invoke(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module", autouse=True)
def _reference_backend():
    with nr.using_backend("reference"), nr.using_algorithm("direct"):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of one step."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = ("--epochs", 1, "--set", "max_steps=1", "--quiet")
    result = invoke("train", *settings, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def measured(finished):
    """What a run's last measurement gives."""
    model = nr.models.create("resnet8", num_classes=10)
    model.load_state_dict(nr.weights.load(finished / "weights.safetensors"))
    return evaluate(model, nr.data.digits()[1])


@pytest.fixture
def folder(finished, measured, tmp_path, monkeypatch):
    """A copy of the folder; what costs time, and reads no file, is left out."""
    for module in (loop, nr.training):
        monkeypatch.setattr(module, "evaluate", lambda *args, **options: measured)
    monkeypatch.setattr(page, "_curves", lambda history: ([], ""))
    monkeypatch.setattr(RunFolder, "write_curves", lambda self, history: None)
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


# ----------------------------------------------------------------------- edits


def places(value):
    """Go through all places in plain data: each a container and a key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(pairs):
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


def change(value, chance):
    """Remove an entry, or put something else there."""
    container, key = chance.choice(list(places(value)))
    if chance.random() < 0.3:
        del container[key]
    else:
        container[key] = chance.choice(VALUES)


def edit_config(folder, chance):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if chance.random() < 0.1:
        config = chance.choice(VALUES)
    else:
        # Sections alike, however many entries they have.
        section = chance.choice([config, *(v for v in config.values() if v)])
        change(section if isinstance(section, dict) else config, chance)
    path.write_text(json.dumps(config))
    return path


def edit_metrics(folder, chance):
    path = folder / "metrics.csv"
    rows = list(csv.reader(io.StringIO(path.read_text())))
    row = chance.choice(rows)
    what = chance.randrange(4)
    if what == 0:
        del row[chance.randrange(len(row))]
    elif what == 1:
        rows.remove(row)
    elif what == 2:
        rows.append(list(row))
    else:
        row[chance.randrange(len(row))] = str(chance.choice(VALUES))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue())
    return path


def edit_checkpoint(folder, chance):
    """Edit the state in the header, and forge the checksum."""
    path = folder / "checkpoint.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    state = json.loads(header["__metadata__"]["state"])
    if chance.random() < 0.1:
        state = chance.choice(VALUES)
    else:
        change(state, chance)
    facts = json.dumps(state)
    tensors = nr.weights.load(path)
    header["__metadata__"] = {
        "state": facts,
        "sha256": checkpoint._digest(tensors, facts),
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    (folder / "checkpoint-previous.safetensors").unlink()
    return path


EDITS = [edit_config] * 7 + [edit_metrics] * 2 + [edit_checkpoint]


def contents(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


def assert_answered(result, path):
    """Either it went on, or one line names the file; and no escape sequence."""
    assert result.exit_code in (0, 2), (result.output, result.exception)
    if result.exit_code == 2:
        (line,) = result.stderr.splitlines()
        assert line.startswith("npresnet: error: ")
        assert str(path.parent) in line, line
        assert "\x1b" not in line
        assert len(line) < 600
    assert "Traceback" not in result.output


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_edited_folders_are_answered_in_one_line(folder, finished, chunk):
    refused = 0
    for variant in range(chunk, VARIANTS, CHUNKS):
        chance = random.Random(variant)
        path = chance.choice(EDITS)(folder, chance)
        before = contents(folder)
        report = invoke("report", folder)
        assert_answered(report, path)
        resumed = invoke("train", "--resume", folder, "--quiet")
        assert_answered(resumed, path)
        if resumed.exit_code == 2 == report.exit_code:
            refused += 1
            assert contents(folder) == before
        shutil.rmtree(folder)
        shutil.copytree(finished, folder)
    assert refused > 5


@pytest.mark.parametrize("command", [("report",), ("train", "--resume")])
@pytest.mark.parametrize(
    "entry",
    [
        *("environment", "created", "npresnet", "seed", "recipe", "model", "dataset"),
        *("numerics", "environment.threads", "environment.platform"),
        *("dataset.test", "dataset.std", "model.parameters", "recipe.epochs"),
    ],
)
def test_an_entry_that_is_missing_is_named_before_anything_is_done(
    folder, command, entry
):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    *sections, name = entry.split(".")
    inside = config
    for section in sections:
        inside = inside[section]
    del inside[name]
    path.write_text(json.dumps(config))
    before = contents(folder)
    result = invoke(*command, folder)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert str(path) in line
    assert name in line
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mean", [0.1, 0.2], "one for each of 3 channels"),
        ("std", [1.0, 1.0, 0.0], "numbers above 0"),
        ("std", [1.0, 1.0, None], "expected a finite number"),
        ("image_shape", [3, 8], "three whole numbers"),
        ("image_shape", [3, 8, -8], "three whole numbers"),
        ("classes", ["0", 1], r"'dataset.classes\[1\]': expected a text, found 1"),
        ("train", True, "a whole number from 1, found True"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_entry(
    finished, tmp_path, name, value, words
):
    config = json.loads((finished / "config.json").read_text())
    config["dataset"][name] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=rf"config\.json: the entry .*{words}"):
        read_config(path)


def test_the_mean_may_be_that_of_every_pixel(finished, tmp_path):
    config = json.loads((finished / "config.json").read_text())
    config["dataset"]["mean"] = np.full((3, 8, 8), 0.5).tolist()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_config(tmp_path / "config.json") == config


def test_what_is_no_json_file_is_refused(tmp_path):
    path = tmp_path / "config.json"
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b'{"a": %s}' % (b"9" * 9999)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json: not readable as JSON"):
            json_text.read(path)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(ValueError, match="is a pipe, not a file"):
            json_text.read(path)


def test_names_of_a_file_are_shown_cut_and_escaped():
    text = mismatch({"\x1b[31m" * 1000: "\n" * 1000}, {"a": 1} and checkpoint.MapOf([]))
    assert text.isprintable()
    assert len(text) < 200


def test_quiet_does_not_hide_that_a_checkpoint_is_damaged(folder):
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    result = invoke("train", "--resume", folder, "--quiet")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{path}: ")
    assert line.endswith(
        "going on from the one before it (it is now checkpoint-damaged.safetensors)"
    )


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_a_loop_of_links_is_one_line(folder, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for command in (
        ("train", "--out", loop),
        ("train", "--resume", loop),
        ("train", "--dataset", "cifar10", "--data-dir", loop),
        ("report", loop),
        ("eval", loop),
        ("lens", "filters", loop),
        ("lens", "filters", "resnet8", "--out", loop),
        ("predict", folder / "weights.safetensors", loop),
        ("course", loop),
    ):
        result = invoke(*command)
        assert result.exit_code == 2, (command, result.output, result.exception)
        assert "Traceback" not in result.output
        assert "loop" in result.stderr.splitlines()[-1]
    result = invoke("train", "--resume", folder, "--data-dir", loop, "--quiet")
    assert result.exit_code == 0, result.output  # the digits need none
