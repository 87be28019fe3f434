"""The second process that compiles: what it makes, when it starts, how it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

import npresnet as nr
from npresnet.backend.kernels import ahead

TRAIN = """
import numba.core.event as event
import numpy as np
import npresnet as nr

class Names(event.Listener):
    def __init__(self):
        self.names = []
    def on_start(self, e):
        self.names.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e):
        pass

model, loss = nr.models.create("resnet20"), nr.nn.CrossEntropyLoss()
optimizer = nr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
x = np.zeros((32, 3, 32, 32), np.float32)
forward, backward = Names(), Names()
with event.install_listener("numba:compile", forward):
    loss(model(x), np.zeros(32, np.int64))
assert "_statistics" in forward.names
with event.install_listener("numba:compile", backward):
    model.backward(loss.backward(), input_grad=False)
    optimizer.step()
print(*backward.names)
"""

COLD = """
import sys, time
import numpy as np
import npresnet as nr
from npresnet.backend.kernels import ahead

start = ahead.subprocess.Popen
def popen(*arguments, **options):
    helper = start(*arguments, **options)
    print(helper.pid, flush=True)
    return helper
ahead.subprocess.Popen = popen
nr.functional.relu_forward(np.zeros(3, np.float32))
print("done", flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(process):
    deadline = time.monotonic() + 60
    while is_there(process):
        assert time.monotonic() < deadline, (
            "the second process goes on without the first"
        )
        time.sleep(0.05)


def start_cold(folder, then, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", COLD, then],
        env={
            **os.environ,
            "NPRESNET_CACHE_DIR": str(folder),
            "NPRESNET_NUM_THREADS": "2",
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    )


needs_two = pytest.mark.skipif(
    nr.backend.available_threads() < 2, reason="one processor: nobody could help"
)


@pytest.mark.slow
@needs_two
def test_the_way_back_of_a_resnet_needs_nothing_else(tmp_path):
    environment = {
        **os.environ,
        "NPRESNET_CACHE_DIR": str(tmp_path),
        "NPRESNET_NUM_THREADS": "2",
    }
    code = "from npresnet.backend.kernels import ahead; ahead.compile_way_back()"
    for program in (code, TRAIN):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
    assert done.stdout.split() == []


@needs_two
def test_it_ends_with_the_first_process(tmp_path):
    process = start_cold(tmp_path, "exit")
    helper, done = process.communicate()[0].split()
    assert done == "done"
    assert not is_there(int(helper))


@needs_two
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_it_ends_when_the_first_process_is_killed(tmp_path):
    process = start_cold(tmp_path, "wait")
    helper = int(process.stdout.readline())
    assert process.stdout.readline() == "done\n"
    assert is_there(helper)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until_gone(helper)


@pytest.mark.parametrize(
    "environment", [{"NPRESNET_NUM_THREADS": "1"}, {"NUMBA_DISABLE_JIT": "1"}]
)
def test_it_does_not_start_where_it_is_of_no_use(tmp_path, environment):
    process = start_cold(tmp_path, "exit", **environment)
    assert process.communicate()[0] == "done\n"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Put the processes that are started here into a list, instead of starting them;
    nothing is compiled yet, and there is a processor to help."""
    calls = []

    def refuse(arguments, **options):
        calls.append(arguments)
        raise OSError("no more processes")

    monkeypatch.setattr(ahead, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(ahead, "get_threads", lambda: 2)
    monkeypatch.setattr(ahead.subprocess, "Popen", refuse)
    return calls


def test_where_no_process_can_be_started_nothing_is_said(started):
    ahead.start_if_cold()
    assert [arguments[:2] for arguments in started] == [[sys.executable, "-c"]]


def test_it_does_not_start_where_kernels_are_there(started, tmp_path):
    (tmp_path / "kernel.nbc").touch()
    ahead.start_if_cold()
    assert started == []


@pytest.mark.parametrize("program", ["/usr/bin/blender", "", None])
def test_no_program_but_an_interpreter_is_started(started, program, monkeypatch):
    monkeypatch.setattr(sys, "executable", program)
    ahead.start_if_cold()
    assert started == []
