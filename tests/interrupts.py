"""Something that happens at every moment at which Python looks for signals.

Python calls a signal's handler between two instructions: where a function begins (or
a generator goes on), where a loop goes back, and after every call. `striking` lets
something happen at one such moment, and `moments` counts through them all.
"""

import dis
import functools
import signal
import sys
from contextlib import contextmanager

_LOOKS = {"RESUME", "JUMP_BACKWARD"}


@functools.cache
def _looks_for_signals(code):
    """Tell where in a function Python looks: offsets of instructions."""
    return {
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname in _LOOKS or instruction.opname.startswith("CALL")
    }


class _Strike:
    def __init__(self, place, what, files):
        self.place, self.what, self.files = place, what, files
        self.seen, self.before = 0, {}

    @property
    def struck(self):
        return self.seen > self.place

    def enter(self, frame, event, argument):
        """Trace those functions that are in the files."""
        del argument
        if event != "call" or not frame.f_code.co_filename.endswith(self.files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.step

    def step(self, frame, event, argument):
        del argument
        if event == "opcode" and not self.struck:
            last = self.before.get(frame)
            self.before[frame] = frame.f_lasti
            if last in _looks_for_signals(frame.f_code):
                self.seen += 1
                if self.struck:
                    self.before.clear()
                    self.what()
        return self.step


@contextmanager
def striking(place, what, files):
    """Call `what` at one moment within a ``with`` block, in functions of some files.

    Yields what tells, as ``.struck``, whether there was such a moment.
    """
    strike = _Strike(place, what, files)
    before = sys.gettrace()
    sys.settrace(strike.enter)
    try:
        yield strike
    finally:
        sys.settrace(before)


def moments(deed, what, *files):
    """Do something again and again, with `what` at its first moment, its second ...

    Yields after each time, with the exception that came of it, or None.
    """
    for place in range(100_000):
        caught = None
        with striking(place, what, files) as strike:
            try:
                deed()
            except KeyboardInterrupt as error:
                caught = error.with_traceback(None)
        if not strike.struck:
            assert place > 0, "there was not one moment"
            return
        yield caught


def ctrl_c():
    """Press it: KeyboardInterrupt at once, or later where signals are held back."""
    signal.raise_signal(signal.SIGINT)
