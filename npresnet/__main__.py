"""The program: ``npresnet``, or ``python -m npresnet``."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C while it is still being loaded is one line, too."""
    # A handler that ends the process, since an exception might strike in code that
    # cannot cope with it: much of what is imported first is not Python.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    from npresnet.cli import main as program

    try:
        if signal.getsignal(signal.SIGINT) is _stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise SystemExit(program())
    except KeyboardInterrupt:  # where the program itself does not expect it
        _stop()


def _stop(number: int = signal.SIGINT, frame: FrameType | None = None) -> NoReturn:
    os.write(2, b"npresnet: stopped by Ctrl-C\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
