"""Same seed, same bits: in another process, with other threads, after a pause."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import npresnet as nr
from npresnet.backend.threads import setting
from npresnet.training import TrainingInterrupted
from tests.training.small import (
    RECIPE,
    assert_same_run,
    new_model,
    resume,
    run,
    stopping,
    tensors,
)

# As a user trains: compiled kernels, algorithms of their choice.
FAST = RECIPE.changed(epochs=2)


@pytest.fixture(autouse=True)
def _as_a_user(_strict_arithmetic_exact_convolutions):
    with nr.using_backend("numba"), nr.using_algorithm("auto"):
        yield


@pytest.fixture(scope="module")
def once(data, tmp_path_factory):
    """The folder of a run on one thread."""
    folder = tmp_path_factory.mktemp("once") / "run"
    before = nr.get_threads()
    with nr.using_backend("numba"), nr.using_algorithm("auto"):
        nr.set_threads(1)
        run(data, folder, recipe=FAST)
    nr.set_threads(before)
    return folder


@pytest.fixture
def many_threads(monkeypatch):
    """Use more threads than there may be processors."""

    def choose(count):
        monkeypatch.setattr(setting, "_threads", count)

    return choose


def test_same_seed_same_bits_and_another_seed_others(data, once, tmp_path):
    run(data, tmp_path / "same", recipe=FAST)
    assert_same_run(once, tmp_path / "same")
    run(data, tmp_path / "other", recipe=FAST, seed=4)
    ours, theirs = tensors(once), tensors(tmp_path / "other")
    assert (ours.model["fc.weight"] != theirs.model["fc.weight"]).any()


def test_another_process_comes_to_the_same_bits(once, tmp_path):
    program = (
        "from tests.training.small import RECIPE, run, small_data\n"
        f"run(small_data(), {str(tmp_path / 'run')!r}, "
        "recipe=RECIPE.changed(epochs=2))\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "1", "NPRESNET_NUM_THREADS": "2"},
    )
    assert_same_run(once, tmp_path / "run")


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_number_of_threads_does_not_matter(
    data, once, tmp_path, many_threads, count
):
    many_threads(count)
    run(data, tmp_path / "run", recipe=FAST)
    assert_same_run(once, tmp_path / "run")


def test_a_run_goes_on_with_other_threads_to_the_same_bits(
    data, once, tmp_path, many_threads
):
    for epoch, batch, count in ((1, 1, 2), (1, 4, 3), (2, 2, 5)):
        many_threads(count)
        with pytest.raises(TrainingInterrupted):
            progress = stopping(epoch, batch)
            if not (tmp_path / "run").exists():
                run(data, tmp_path / "run", recipe=FAST, progress=progress)
            else:
                resume(data, tmp_path / "run", progress=progress)
    resume(data, tmp_path / "run")
    assert_same_run(once, tmp_path / "run")


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_when_checkpoints_are_written_does_not_matter(data, once, tmp_path, seconds):
    run(data, tmp_path / "run", recipe=FAST, checkpoint_seconds=seconds)
    assert_same_run(once, tmp_path / "run")


def test_what_the_caller_drew_before_does_not_matter(data, once, tmp_path):
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    first = new_model(9)
    first(next(nr.data.batches(data[0], 8, shuffle=False))[0])
    run(data, tmp_path / "run", recipe=FAST)
    assert_same_run(once, tmp_path / "run")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_projections_and_other_precisions_go_on_to_the_same_bits(data, tmp_path, dtype):
    def model(seed):
        return nr.models.resnet8(dtype=dtype, shortcut="B", seed=seed)

    recipe = RECIPE.changed(epochs=1, flip=True)
    options = {"recipe": recipe, "quiet": True}
    nr.training.fit(model(0), *data, out=tmp_path / "whole", **options)
    options["progress"] = stopping(1, 2)
    with pytest.raises(TrainingInterrupted):
        nr.training.fit(model(0), *data, out=tmp_path / "cut", **options)
    nr.training.fit(model(1), *data, resume=tmp_path / "cut", quiet=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
