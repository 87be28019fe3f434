"""A process that answers questions: each side of a measurement runs in one of its own.

Threads, memory and compiled code of one side cannot get in the way of the other's, and
while one is asked the other sleeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

Ask = Callable[[object], Any]

_READY = "ready"


class MeasurementError(Exception):
    """Something cannot be measured."""


class CannotRun(MeasurementError):
    """A side cannot run here: something that it needs is not there."""


@contextmanager
def answering(
    module: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Iterator[Ask]:
    """Start ``python -m module``, which answers each line of input by one of JSON.

    It says ``"ready"`` first, unasked, or why it cannot begin. What it prints to
    standard error is shown.

    Raises
    ------
    CannotRun
        If it says why it cannot begin.
    MeasurementError
        If it ends before it has answered.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        start_new_session=True,  # Ctrl-C is for the one who asks
    )
    assert process.stdin is not None and process.stdout is not None
    question, answer = process.stdin, process.stdout

    def listen() -> Any:
        line = answer.readline()
        if not line:
            raise MeasurementError(
                f"{' '.join(command[1:])} ended with status {process.wait()}"
            )
        return json.loads(line)

    def ask(text: object) -> Any:
        with suppress(BrokenPipeError):  # no answer will say more
            question.write(f"{text}\n")
            question.flush()
        return listen()

    try:
        if (first := listen()) != _READY:
            raise CannotRun(first)
        yield ask
    except BaseException:
        process.kill()
        raise
    finally:
        with suppress(BrokenPipeError):
            question.close()  # the process ends where there is nothing more to read
        process.wait()
        answer.close()


def answer_all(reply: Callable[[str], Any]) -> None:
    """Be that process: say "ready", and reply to every line until there are no more."""
    print(json.dumps(_READY), flush=True)
    for line in sys.stdin:
        print(json.dumps(reply(line.strip())), flush=True)


def say_why_not(reason: CannotRun) -> None:
    """Be that process, and say why it cannot begin."""
    print(json.dumps(str(reason)), flush=True)
