"""Do the whole experiment and write it down: ``python -m tests.bug_lab.kill_table``.

Takes a few minutes; prints the name of each bug as it is caught.
"""

import re
from pathlib import Path

from npresnet.lens import bugs
from npresnet.lens.bugs.registry import replacements
from tests.bug_lab.experiment import run

ENOUGH = 3  # tests that are named for each bug
OUT = Path(__file__).parents[2] / "docs" / "kill_table.md"
TESTS = re.compile(r"`(tests/[\w/]+\.py)`: (`\w+`(?:, `\w+`)*)")

HEAD = """# The kill table

`nr.lens.bugs` has {count} bugs that other people made, or easily could; this table
shows which tests of the ordinary suite catch them. Each bug was injected, the test
files that mirror its place were run until {enough} tests had failed; without a bug none
did. `python -m tests.bug_lab.kill_table` writes this file again, and
`pytest -m slow tests/bug_lab` does the experiment anew, with PyTorch and without it:
finite differences, definitions and numbers worked out by hand catch every bug, too.
Five of the bugs take part in every ordinary run.

Caught: {caught} of {count}.
"""


def about(bug):
    """Put a bug into three cells: what is wrong, how it shows, whose it was."""
    cells = (bug.wrong, bug.symptom, bug.seen_in)
    return " | ".join(cell.replace("|", "\\|") for cell in cells)


def _tests(failed):
    files = {}
    for name in failed:
        path, _, test = name.partition("::")
        files.setdefault(path, []).append(f"`{test}`")
    cells = [f"`{path}`: {', '.join(tests)}" for path, tests in files.items()]
    return "; ".join(cells) or "**none**"


def write(caught, out=OUT):
    """Write the table, a section for every file of wrong versions."""
    count = len(caught)
    killed = sum(bool(tests) for tests in caught.values())
    parts = [HEAD.format(count=count, enough=ENOUGH, caught=killed)]
    section = None
    for name, tests in caught.items():
        bug = bugs.describe(name)
        room = replacements(name)[bug.where].__module__.rpartition(".")[2]
        if room != section:
            section = room
            parts.append(f"\n## {room}\n\n| bug | what goes wrong | what one sees |")
            parts.append(" who made it | caught by |\n|---|---|---|---|---|\n")
        parts.append(f"| `{name}` | {about(bug)} | {_tests(tests)} |\n")
    out.write_text("".join(parts), encoding="utf-8")


def main():
    """Run everything."""
    caught = {}
    for name, tests in run(bugs.names(), ENOUGH):
        print(f"{name}: {', '.join(tests) or 'nothing fails'}", flush=True)
        caught[name] = tests
    if caught.pop("none"):
        raise SystemExit("tests fail without any bug; nothing was written")
    write(caught)


if __name__ == "__main__":
    main()
