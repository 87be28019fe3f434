"""`python -m tests.oracle.parity`: every comparison with PyTorch, long ones included.

Counts them and prints the worst errors; fails if one is beyond its limit, or if
none was made. Arguments go to pytest.
"""

import sys

import pytest

from tests.oracle.compare import TALLY


def main(arguments):
    status = pytest.main(["-q", "-m", "torch and not network", *arguments])
    if status == pytest.ExitCode.OK and TALLY.total == 0:
        print("nothing was compared: is PyTorch installed?", file=sys.stderr)
        return 1
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
