"""Where the table goes: a few rows into the README, all of them into docs/speed.md.

A page has two lines between which the table goes. In the README it is one that needs no
explanation. In docs/speed.md there is a section for every host that was measured, the
latest first; measuring again on a host replaces its section and leaves the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks import document
from benchmarks.measurement import Measurement
from benchmarks.rows import ROWS
from benchmarks.sides import EAGER, OURS
from benchmarks.table import Measured, figure, markdown, quantity, range_of, table
from npresnet.backend import available_threads
from npresnet.training import machine

COMMAND = "python -m benchmarks.compare"
HOSTS = f"{COMMAND}, host by host"

SHORT = {
    "resnet20-training": "Training step of ResNet-20, 32x32, batch 128",
    "resnet18-training": "Training step of ResNet-18, 224x224, batch 16",
    "resnet18-inference-1": "Inference, ResNet-18, 224x224, one image",
    "first-step-cold": (
        "First training step ever: start, compile everything, one step of ResNet-20"
    ),
}
"""The rows of the README, by name, in a newcomer's words."""

_SHORT_HEADINGS = "", "npresnet", "PyTorch", "ours / theirs", "range"
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "neon": "NEON"}


def host() -> str:
    """Name this machine by what makes it fast or slow."""
    _, features = machine.compiled_for()
    vectors = [name for feature, name in _VECTORS.items() if feature in features][:1]
    count = available_threads()
    processors = f"{count} processor{'s' * (count != 1)}"
    return ", ".join([machine.processor(), *vectors, processors])


def check(page: Path, chosen: Collection[str]) -> None:
    """Refuse a page before anything is measured.

    Raises
    ------
    NoPlaceError
        If the page has no place for a table.
    ValueError
        If rows that belong there are not to be measured.
    OSError
        If the page cannot be read.
    """
    wanted = [row.name for row in ROWS] if _has_hosts(page) else list(SHORT)
    if missing := [name for name in wanted if name not in chosen]:
        raise ValueError(f"{page}: the row {missing[0]!r} belongs there, too")


def write(page: Path, measured: Measured, footnote: str) -> None:
    """Put a table into a page, in place of the older one.

    Raises
    ------
    ValueError
        If one of the README's rows could not be measured.
    """
    if _has_hosts(page):
        text = f"### {host()}\n\n{table(measured)}\n\n{footnote}"
        others = [
            section
            for section in _sections(document.written(page, HOSTS))
            if section.splitlines()[0] != text.splitlines()[0]
        ]
        document.write(page, HOSTS, "\n\n".join([text, *others]))
    else:
        text = f"{short_table(measured)}\n\n{host()}; {footnote}"
        document.write(page, COMMAND, text)


def short_table(measured: Measured) -> str:
    """Write the README's rows.

    Raises
    ------
    ValueError
        If one of them was not measured.
    """
    outcomes = {row.name: outcome for row, outcome in measured}
    lines: list[Sequence[str]] = [_SHORT_HEADINGS]
    for name, label in SHORT.items():
        outcome = outcomes[name]
        if not isinstance(outcome, Measurement):
            raise ValueError(f"{name} was not measured: {outcome}")
        unit = outcome.taken.unit
        ours = quantity(outcome.part(OURS), unit)
        theirs = [outcome.part(side) for side in EAGER if side in outcome.taken.parts]
        if theirs:
            ratio = f"**{figure(outcome.figure, outcome)}**"
            cells = [ours, quantity(min(theirs), unit), ratio]
        else:
            cells = [ours, "", ""]
        lines.append([label, *cells, range_of(outcome)])
    return markdown(lines)


def _has_hosts(page: Path) -> bool:
    """Tell which of the two pages it is."""
    try:
        document.check_place(page, HOSTS)
    except document.NoPlaceError:
        document.check_place(page, COMMAND)
        return False
    return True


def _sections(text: str) -> list[str]:
    parts = re.split(r"^(?=### )", text, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]
