"""A process that starts others, so that a test can kill them by the dozen.

``python -m tests.training.lives BACKEND`` has everything loaded, reads a task per
line from standard input, and does each in a fork of itself, which is there at once.
It answers with how the fork ended: its exit status, or minus the signal.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

import npresnet as nr
from npresnet.training import checkpoint as checkpoints
from npresnet.training import fit
from tests.training import small
from tests.training.pictures import not_drawn


class Lives:
    """The test's side: starts the process, gives it tasks, reads the answers."""

    def __init__(self, backend):
        # One thread from the start: a process with several may not fork.
        alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.lives", backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **alone, "NPRESNET_NUM_THREADS": "1"},
        )
        self.ask()

    def ask(self, **task):
        """Have a task done, or wait until the process is ready; return the end."""
        if task:
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def train(self, folder, **options):
        """Train in a folder, from the start or from where it is, until killed."""
        return self.ask(task="train", folder=str(folder), **options)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@contextmanager
def lives(backend):
    started = Lives(backend)
    try:
        yield started
    finally:
        started.close()


def train(folder, data, checkpoint_seconds=0.0, epochs=3, compiled=True):
    folder = Path(folder)
    resume = folder if (folder / "config.json").exists() else None
    # Whoever goes on from a checkpoint need not have the first weights.
    model = small.new_model(5 if list(folder.glob("checkpoint*")) else 0)
    fit(
        model,
        *data,
        recipe="digits-quick" if resume else small.RECIPE.changed(epochs=epochs),
        seed=0 if resume else 3,
        out=folder,
        resume=resume,
        quiet=True,
        compiled=compiled,
        checkpoint_seconds=checkpoint_seconds,
    )


def save(folder, data):
    """Write a checkpoint where there are two already."""
    checkpoints.save(Path(folder) / "checkpoint.safetensors", numbered(3))


def numbered(number):
    """A checkpoint that is not like another one."""
    weights = np.full(1000, number, np.float32)
    return checkpoints.Checkpoint({"w": weights}, {}, [{"epoch": 1.0}] * number)


def kill_at(call, before):
    """Die at the n-th call that brings something to the disk."""
    count = 0

    def dying(function):
        def called(*args, **kwargs):
            nonlocal count
            count += 1
            if before and count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            if not before and count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return called

    os.replace, os.fsync = dying(os.replace), dying(os.fsync)


def do(task, data):
    """Do a task in a fork; kill that after a time, or let it kill itself."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if "call" in task:
                kill_at(task["call"], task["before"])
            own = ("task", "call", "before", "seconds", "writing")
            options = {name: task[name] for name in task.keys() - set(own)}
            {"train": train, "save": save}[task["task"]](data=data, **options)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    if "seconds" in task and outlives(pid, task):
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def outlives(pid, task):
    """Wait for the moment at which a fork is to be killed; False if it ends first."""
    deadline = time.monotonic() + task["seconds"]
    while True:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        if time.monotonic() >= deadline:
            if not task["writing"]:
                return True
            with suppress(FileNotFoundError):
                if any("new-" in name for name in os.listdir(task["folder"])):
                    return True
        time.sleep(0.0002)


def main():
    nr.set_backend(sys.argv[1])
    data = small.small_data()
    with not_drawn():
        # Compiles, loads and imports all that a run needs; leaves nothing behind.
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder) / "first", data)
        assert threading.active_count() == 1
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            print(json.dumps(do(json.loads(line), data)), flush=True)


if __name__ == "__main__":
    main()
