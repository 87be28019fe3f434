"""A process that does nothing, or cannot even do that: for test_processes.py."""

import sys

from benchmarks import memory
from benchmarks.asking import CannotRun, answer_all, say_why_not

if __name__ == "__main__":
    if reasons := sys.argv[1:]:
        say_why_not(CannotRun(*reasons))
    else:
        answer_all(lambda question: memory.peak())
