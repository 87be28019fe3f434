"""Ctrl-C and its like: the batch under way is finished, and nothing is lost."""

import contextvars
import errno
import os
import signal
import sys
import threading

import pytest

import npresnet as nr
from npresnet.training import TrainingInterrupted, interruption, loop
from tests.training.small import (
    STEPS,
    Watch,
    assert_same_bits,
    assert_same_run,
    resume,
    run,
    stopping,
    tensors,
)

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's"),
]

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if hasattr(signal, "SIGHUP"):
    SIGNALS.append(signal.SIGHUP)


def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def place(folder):
    kept = tensors(folder)
    return kept.epoch, kept.part.steps


@pytest.mark.parametrize(
    ("epoch", "batch", "number"),
    [
        (1, 0, signal.SIGINT),
        (1, 1, signal.SIGTERM),
        (2, 3, signal.SIGINT),
        (3, 0, signal.SIGTERM),
        (4, STEPS, SIGNALS[-1]),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_bits(
    data, whole, tmp_path, epoch, batch, number
):
    # Under nohup, a closed terminal is ignored: not so here.
    inherited = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(TrainingInterrupted) as stopped:
            run(data, tmp_path / "cut", progress=stopping(epoch, batch, number))
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, inherited)
    assert stopped.value.folder == tmp_path / "cut"
    assert stopped.value.signal_number == number
    cause = "Ctrl-C" if number == signal.SIGINT else f"signal {int(number)}"
    where = f"after step {batch} of 5" if batch else "before its first step"
    assert str(stopped.value) == (
        f"stopped by {cause} in epoch {epoch} of 4, {where}; nothing is lost; "
        f"continue with: npresnet train --resume {tmp_path / 'cut'}"
    )
    assert place(tmp_path / "cut") == (epoch - 1, batch)

    resume(data, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


def test_a_run_that_is_interrupted_after_every_batch_ends_with_the_same_bits(
    data, whole, tmp_path
):
    seen = []

    def act(epoch, batch):
        if batch and (not seen or (epoch, batch) > seen[-1]):
            seen.append((epoch, batch))
            interrupt()

    with pytest.raises(TrainingInterrupted):
        run(data, tmp_path / "cut", progress=Watch(act))
    for _ in range(4 * STEPS - 1):
        with pytest.raises(TrainingInterrupted):
            resume(data, tmp_path / "cut", progress=Watch(act))
    resume(data, tmp_path / "cut", progress=Watch(act))
    assert seen == [(e, b) for e in range(1, 5) for b in range(1, STEPS + 1)]
    assert_same_run(whole, tmp_path / "cut")


def test_measuring_is_not_waited_for(data, whole, tmp_path, monkeypatch):
    measure = loop.evaluate

    def interrupted(model, dataset, **options):
        interrupt()
        pytest.fail("went on measuring")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", interrupted)
        with pytest.raises(TrainingInterrupted, match="after step 5 of 5; nothing is"):
            run(data, tmp_path / "cut")
    assert loop.evaluate is measure
    assert place(tmp_path / "cut") == (0, STEPS)
    resume(data, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


class InterruptedForward:
    """Sends signals while the n-th forward pass of a run is under way."""

    def __init__(self, number, signals=1):
        self.left, self.signals = number, signals

    def __call__(self, module, inputs, output):
        if isinstance(module, nr.nn.Linear):
            self.left -= 1
            if self.left == 0:
                for _ in range(self.signals):
                    interrupt()


def test_the_first_step_is_not_waited_for(data, whole, tmp_path):
    # It may be compiling. What is half done is thrown away; the disk has the rest.
    with (
        nr.nn.watching(InterruptedForward(1)),
        pytest.raises(TrainingInterrupted, match="before its first step; nothing is"),
    ):
        run(data, tmp_path / "cut")
    assert place(tmp_path / "cut") == (0, 0)
    with pytest.raises(TrainingInterrupted):
        resume(data, tmp_path / "cut", progress=stopping(2, 2))
    kept = tensors(tmp_path / "cut")
    with (
        nr.nn.watching(InterruptedForward(1)),
        pytest.raises(TrainingInterrupted, match="after step 2 of 5; nothing is lost"),
    ):
        resume(data, tmp_path / "cut")
    assert_same_bits(kept, tensors(tmp_path / "cut"))
    resume(data, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


def test_the_same_ctrl_c_twice_is_one(data, tmp_path):
    with (
        nr.nn.watching(InterruptedForward(3, signals=2)),
        pytest.raises(TrainingInterrupted, match="after step 3 of 5; nothing is lost"),
    ):
        run(data, tmp_path / "cut")
    assert place(tmp_path / "cut") == (0, 3)


def test_who_insists_is_not_kept_waiting(data, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "_SECONDS_TO_A_SECOND_REQUEST", 0)
    with (
        nr.nn.watching(InterruptedForward(3, signals=2)),
        pytest.raises(TrainingInterrupted) as stopped,
    ):
        run(data, tmp_path / "cut")
    assert "after step 2 of 5; kept: epoch 1 after its step 0; " in str(stopped.value)
    assert place(tmp_path / "cut") == (0, 0)
    resume(data, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


@pytest.mark.parametrize("call", [1, 2, 3, 5])
def test_what_is_being_written_is_finished(data, whole, tmp_path, monkeypatch, call):
    save, calls = loop.checkpoint.save, []

    def interrupted(path, checkpoint):
        calls.append(path)
        if len(calls) == call:
            interrupt()
        save(path, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", interrupted)
        with pytest.raises(TrainingInterrupted) as stopped:
            run(data, tmp_path / "cut")
    assert len(calls) == call
    assert place(tmp_path / "cut") == (call - 1, 0)
    if call == 5:
        assert str(stopped.value) == (
            "stopped by Ctrl-C after the last epoch: this run is complete"
        )
    resume(data, tmp_path / "cut")
    assert_same_run(whole, tmp_path / "cut")


def test_a_checkpoint_that_cannot_be_written_is_said(data, tmp_path, monkeypatch):
    save = loop.checkpoint.save

    def full(path, checkpoint):
        if checkpoint.part.steps:
            raise OSError(28, "No space left on device")
        save(path, checkpoint)

    monkeypatch.setattr(loop.checkpoint, "save", full)
    with pytest.raises(TrainingInterrupted) as stopped:
        run(data, tmp_path / "cut", progress=stopping(2, 3))
    assert "kept: epoch 2 after its step 0 (" in str(stopped.value)
    assert "No space left on device" in str(stopped.value)
    assert place(tmp_path / "cut") == (1, 0)


def test_a_closed_terminal_is_ignored_where_it_is_to_be(data, tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        run(data, tmp_path / "run", epochs=1, progress=stopping(1, 2, signal.SIGHUP))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_in_a_thread_leaves_signals_alone(data, whole, tmp_path):
    before = [signal.getsignal(number) for number in SIGNALS]
    seen, failed = [], []

    def act(epoch, batch):
        seen.extend(signal.getsignal(number) for number in SIGNALS)

    def work():
        try:
            run(data, tmp_path / "run", progress=Watch(act))
        except BaseException as error:
            failed.append(error)

    here = contextvars.copy_context()  # with the suite's switches
    thread = threading.Thread(target=here.run, args=(work,))
    thread.start()
    thread.join()
    assert not failed
    assert all(handler in before for handler in seen)
    assert_same_run(whole, tmp_path / "run")


def lost(number, *, after, also=lambda: None):
    """Watch a run whose output is lost after a batch of its second epoch."""

    def act(*place):
        if place == after:
            also()
            raise OSError(number, os.strerror(number))

    return Watch(act)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_output_that_nobody_reads_stops_a_run_with_a_checkpoint(
    data, whole, tmp_path, number
):
    folder = tmp_path / "run"
    with pytest.raises(OSError) as raised:
        run(data, folder, progress=lost(number, after=(2, 3)))
    assert raised.value.errno == number
    assert tensors(folder).epoch == 1
    assert tensors(folder).part.steps == 3
    resume(data, folder)
    assert_same_run(whole, folder)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has none")
def test_a_closed_terminal_is_a_hangup_also_where_nothing_can_be_shown_any_more(
    data, tmp_path
):
    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)

    class Closed(Watch):
        def close(self):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    watch = lost(errno.EIO, after=(2, 3), also=hang_up)
    closed = Closed(watch.act)
    with pytest.raises(TrainingInterrupted) as raised:
        run(data, tmp_path / "run", progress=closed)
    assert raised.value.signal_number == signal.SIGHUP
    assert tensors(tmp_path / "run").epoch == 1
