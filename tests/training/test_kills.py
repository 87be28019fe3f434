"""SIGKILL, at any moment: what is on the disk goes on to the same bits."""

import random
import signal
import sys

import pytest

from npresnet.training import RunFolder
from npresnet.training import checkpoint as checkpoints
from tests.training.lives import lives, numbered
from tests.training.small import STEPS, assert_same_bits, assert_same_run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and SIGKILL")

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def started():
    with lives("reference") as process:
        yield process


@pytest.fixture(scope="module")
def undisturbed(started, tmp_path_factory):
    """The folder of a run that was never killed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert started.train(folder, checkpoint_seconds=1e9) == 0
    return folder


def place(folder):
    """How far a run has come, as the disk tells it: (epochs, steps)."""
    latest, damaged = checkpoints.load_latest(RunFolder(folder).checkpoint_path)
    assert damaged is None  # a kill never tears a file that has its name
    return (latest.epoch, latest.part.steps) if latest else (0, 0)


def kill_and_resume(process, folder, moments, kills):
    """Kill runs in a folder so many times; return how many died while writing."""
    run, writing, done = 0, 0, 0
    while done < kills:
        path = folder / str(run)
        before = place(path) if path.exists() else (0, 0)
        end = process.train(
            path,
            seconds=moments.uniform(0, 0.7),
            writing=moments.random() < 0.5,  # wait until a file is being written
            # Checkpoints after every batch, after some, or after epochs only.
            checkpoint_seconds=moments.choice((0.0, 0.05, 1e9)),
        )
        if end == 0:
            run += 1
            continue
        assert end == KILLED
        done += 1
        writing += any(path.glob(".*new-*"))
        assert place(path) >= before  # nothing that was kept is lost
    for number in range(run + 1):
        assert process.train(folder / str(number)) == 0
    return writing


def test_killed_at_random_moments_a_run_ends_with_the_same_bits(
    started, undisturbed, tmp_path
):
    kill_and_resume(started, tmp_path, random.Random(0), kills=8)
    for folder in tmp_path.iterdir():
        assert_same_run(undisturbed, folder)
        assert not list(folder.glob(".*"))  # nor is rubbish left


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_killed_at_fifty_random_moments_runs_end_with_the_same_bits(backend, tmp_path):
    with lives(backend) as process:
        # Layer by layer; what is killed and goes on takes steps as programs.
        whole = {"checkpoint_seconds": 1e9, "compiled": False}
        assert process.train(tmp_path / "undisturbed", **whole) == 0
        (tmp_path / "runs").mkdir()
        moments = random.Random(1)
        writing = kill_and_resume(process, tmp_path / "runs", moments, kills=50)
        for folder in (tmp_path / "runs").iterdir():
            assert_same_run(tmp_path / "undisturbed", folder)
        assert writing >= 10
        print(f"50 kills, {writing} of them while a file was being written")


def disk_calls(process, ask):
    """Go through the calls at which a task can die, from the first to the last."""
    for before in (True, False):
        call = 0
        while True:
            call += 1
            end = ask(call=call, before=before)
            if end == 0:
                break
            assert end == KILLED
            yield
        assert call > 4


def test_a_save_that_is_killed_at_any_call_leaves_a_checkpoint_that_is_whole(
    started, tmp_path
):
    path = tmp_path / "checkpoint.safetensors"

    def ask(**options):
        for number in (1, 2):
            checkpoints.save(path, numbered(number))
        return started.ask(task="save", folder=str(tmp_path), **options)

    seen = set()
    for _ in disk_calls(started, ask):
        latest, damaged = checkpoints.load_latest(path)
        assert damaged is None
        assert_same_bits(latest, numbered(latest.epoch))
        seen.add(latest.epoch)
    assert seen == {2, 3}  # the one before, or the new one


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_at_any_call_goes_on_to_the_same_bits(started, tmp_path):
    assert started.train(tmp_path / "undisturbed", epochs=1) == 0
    number = 0

    def ask(**options):
        nonlocal number
        number += 1
        return started.train(tmp_path / str(number), epochs=1, **options)

    for _ in disk_calls(started, ask):
        folder = tmp_path / str(number)
        assert started.train(folder, epochs=1) == 0
        assert_same_run(tmp_path / "undisturbed", folder)
    # Before and after each of four calls a checkpoint, one of those after each step.
    assert number > 2 * 4 * STEPS
    print(f"{number - 2} deaths")
